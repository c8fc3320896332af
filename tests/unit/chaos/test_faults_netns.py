"""Network namespaces: real partitions and losses, and nothing left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from stead.chaos.faults import netns
from stead.chaos.faults.netns import Namespace
from stead.chaos.faults.wires import Wires
from tests.unit.chaos.shimmed import ROOT, needed

# Asks for a line again and again over connections of its own, and tells what came.
ASK = """
import socket, sys
print("ready", flush=True)
for line in sys.stdin:
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(line)) as s:
            s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            print(s.recv(1000)[-2:].decode() or "end", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


class Asked:
    def __init__(self, namespace: Namespace, host: str, port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(
            namespace.command(sys.executable, "-c", ASK, host, str(port)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __call__(self, patience: float = 30.0) -> str:
        assert self.process.stdin is not None
        print(patience, file=self.process.stdin, flush=True)
        return self._line()


@pytest.fixture
def answering() -> Iterator[tuple[str, int]]:
    """A server on loopback that answers ``ok``; it counts nothing and knows nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    needed(netns.available())
    with Namespace(1) as made:
        yield made


@pytest.fixture
def asked(namespace: Namespace, answering: tuple[str, int]) -> Iterator[Asked]:
    with Wires() as wires:
        wire = wires.lay(answering, host=namespace.host, device=namespace.device)
        made = Asked(namespace, wire.host, wire.port)
        yield made
        made.process.kill()
        made.process.communicate()


def test_a_partition(namespace: Namespace, asked: Asked) -> None:
    """What runs inside reaches the proxy, does not while the way is cut, and does again."""
    assert asked() == "ok"
    for _ in range(2):
        namespace.cut()
        assert asked(0.3) in ("TimeoutError", "OSError")
        namespace.heal()
        assert asked() == "ok"


def test_losses(namespace: Namespace, asked: Asked) -> None:
    """Packets are dropped one way, or at random: TCP gets through with some of them lost."""
    needed(netns.loss_available())
    namespace.one_way("answers")
    assert asked(0.3) == "TimeoutError"
    assert namespace.dropped() > 0
    namespace.one_way("requests")
    assert asked(0.3) == "TimeoutError"
    namespace.lose(0.15)
    for _ in range(5):
        assert asked(60) == "ok"
    assert namespace.dropped() > 0
    namespace.heal()
    assert asked() == "ok"
    assert namespace.dropped() == 0


def test_nothing_else_is_reached(
    namespace: Namespace, asked: Asked, answering: tuple[str, int]
) -> None:
    """From inside neither this machine's loopback nor anything beyond it can be reached, and the
    proxy's address there is closed to everything that comes another way."""
    assert asked() == "ok"
    within = Asked(namespace, *answering)
    assert within(2) == "ConnectionRefusedError"
    beyond = Asked(namespace, "192.0.2.1", 80)
    assert beyond(2) == "OSError"
    with Namespace(5) as other:
        route = ["route", "add", namespace.host, "via", other.host]
        subprocess.run(["ip", "-n", other.name, *route], check=True)
        sideways = Asked(other, namespace.host, asked.port)
        assert sideways(2) == "ConnectionRefusedError"
    sideways.process.communicate()
    for one in (within, beyond):
        one.process.kill()
        one.process.communicate()


def test_closing_leaves_nothing(answering: tuple[str, int]) -> None:
    """Closing ends what runs inside and removes namespace and device."""
    needed(netns.available())
    with Namespace(2) as made:
        sleeper = subprocess.Popen(made.command("sleep", "600"))
        while not inside(made.name):
            time.sleep(0.01)
    assert sleeper.wait(30) == -signal.SIGKILL
    assert made.name not in listed()
    assert made.device not in subprocess.check_output(["ip", "link"], text=True)


def inside(name: str) -> str:
    return subprocess.check_output(["ip", "netns", "pids", name], text=True)


def listed() -> str:
    return subprocess.check_output(["ip", "netns", "list"], text=True)


def test_what_a_dead_harness_left_is_swept() -> None:
    """A harness that was killed leaves a namespace and a process in it; the next one removes both,
    and lets alone what belongs to living ones."""
    needed(netns.available())
    program = """
import subprocess, time
from stead.chaos.faults.netns import Namespace
made = Namespace(7); made.open()
process = subprocess.Popen(made.command("sleep", "600"), stdout=subprocess.DEVNULL)
print(made.name, process.pid, flush=True)
time.sleep(600)
"""
    harness = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert harness.stdout is not None
    name, pid = harness.stdout.readline().split()
    while not inside(name):
        time.sleep(0.01)
    with Namespace(3) as mine:
        assert name in listed()
        harness.kill()
        harness.communicate()
        netns.sweep()
        assert name not in listed()
        assert mine.name in listed()
    with pytest.raises(ProcessLookupError):
        while True:
            os.kill(int(pid), 0)
            time.sleep(0.01)


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where namespaces cannot be had, the reason comes with what would help."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "run this as root" in netns.available()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "install iproute2" in netns.available()
    assert "install nftables" in netns.loss_available()
