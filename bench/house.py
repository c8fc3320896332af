"""A house for measuring: real processes in a home of their own, with stead's own defaults."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Place
from bench.wire import Wire, get, post
from stead.core.keys import read_key
from tests.story.house import House

#: Settings of the stories would start leases and backoffs in a hurry; here the defaults hold.
_PLAIN = """
listen = "127.0.0.1:{port}"
[model]
local = "{model}"
[node]
name = "hands"
"""


#: What a message brings to mind has a measure of its own (bench/parts/recall.py); elsewhere it
#: would be in all figures, and depend on what was said before.
_NO_RECALL = """
[memory]
recall = false
"""


class Measured(House):
    """A house whose settings are those that every owner gets."""

    def __init__(self, home: Path, *, model: str = "off", recall: bool = True) -> None:
        super().__init__(home, model=model)
        settings = _PLAIN.format(port=self.port, model=model)
        (home / "stead.toml").write_text(settings + ("" if recall else _NO_RECALL))
        self.node_key = read_key(home / "secrets" / "node.key")

    def pid(self, *words: str) -> int:
        """The process of this house whose command has these words."""
        return self.parts[words[0]].pid

    def gateway_up(self) -> None:
        """The gateway alone, ready."""
        self.start("gateway")
        self.until(self.ready, 20, "the gateway to be ready")

    def model_url(self) -> tuple[int, str]:
        """Port and key of the local model's own server."""
        state = json.loads((self.home / "run" / "model.json").read_text())
        key = Path(state["key_file"]).read_text().strip() if state["key_file"] else ""
        return int(state["url"].split(":")[2].split("/")[0]), key

    def as_owner(self, path: str, body: dict[str, Any]) -> bytes:
        """A request with the owner's key, ready to be sent."""
        return post(path, self.key, json.dumps(body).encode())

    def as_node(self, path: str, body: dict[str, Any]) -> bytes:
        """A request with the node's key, ready to be sent."""
        return post(path, self.node_key, json.dumps(body).encode())


@contextmanager
def house(
    place: Place, *, model: str = "off", name: str = "home", recall: bool = True
) -> Iterator[Measured]:
    """A house that is taken down at the end."""
    made = Measured(place.scratch / name, model=model, recall=recall)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def bare_server() -> Iterator[int]:
    """The peer: the same HTTP server with nothing behind it. Gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], 20)[0]:
            raise RuntimeError("the bare server did not start within 20 s")
        port = int(process.stdout.readline())
        wait_for(lambda: answers(port, "/"), 10, "the bare server")
        yield port
    finally:
        process.kill()
        process.wait(5)


def answers(port: int, path: str) -> bool:
    """Whether something answers 200 there now."""
    try:
        with Wire(port, timeout=2.0) as wire:
            return wire.ask(get(path))[0] == 200
    except (OSError, ValueError):
        return False


def wait_for(holds: Callable[[], bool], most_s: float, what: str, every_s: float = 0.002) -> float:
    """Poll until it holds; the seconds it took."""
    begun = time.perf_counter()
    while not holds():
        if time.perf_counter() - begun > most_s:
            raise RuntimeError(f"waited {most_s:.0f} s in vain for {what}")
        time.sleep(every_s)
    return time.perf_counter() - begun


def python_start() -> float:
    """Seconds to start a Python that does nothing: the floor of every command."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - begun


def connected(port: int) -> socket.socket:
    """A connection without Nagle's delay."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30.0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
