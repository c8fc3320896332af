"""The node as a process: starts, stops, is killed, and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead.core.states import StepState
from stead.node.spool import FILE
from tests.unit.node.gateway import KEY, Gateway

PROGRAM = textwrap.dedent(
    """
    import logging, sys
    from pathlib import Path
    from stead.node.kinds import KINDS
    from stead.node.main import NodeOptions, run_node
    from tests.unit.node.parts import settle_when_told
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    KINDS["settle_when_told"] = settle_when_told
    home = Path(sys.argv[1])
    sys.exit(run_node(home, NodeOptions(sys.argv[2], home / "node.key", grace_s=0.2)))
    """
)


class Node:
    """A node's process with its output in a file."""

    def __init__(self, home: Path, url: str) -> None:
        self.log = home / "out.txt"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(home), url], stdout=out, stderr=out
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "node.key").write_text(KEY + "\n")
    (tmp_path / "workspace").mkdir()
    return tmp_path


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as gateway:
        yield gateway


def test_starts_works_and_stops_cleanly(home: Path, gateway: Gateway) -> None:
    """A job runs, SIGTERM ends the process with 0 and leaves neither pid file nor reports."""
    job = gateway.add(payload={"text": "ping"})
    node = Node(home, gateway.url)
    gateway.wait(lambda: gateway.finishes(job))
    assert (home / "run" / "node.pid").read_text() == f"{node.process.pid}\n"
    begun = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - begun < 3
    assert not (home / "run" / "node.pid").exists()
    assert (home / "spool" / FILE).stat().st_size == 0
    assert "node stopped" in node.log.read_text()


def test_a_second_node_in_the_same_home_is_refused(home: Path, gateway: Gateway) -> None:
    """It says which process has it, ends with 1, and the first goes on."""
    first = Node(home, gateway.url)
    gateway.wait(lambda: gateway.record.claims)
    second = Node(home, gateway.url)
    assert second.process.wait(10) == 1
    assert f"another node (process {first.process.pid})" in first.log.read_text()
    assert (home / "run" / "node.pid").read_text() == f"{first.process.pid}\n"
    job = gateway.add()
    gateway.wait(lambda: gateway.finishes(job))
    assert first.stop(signal.SIGINT) == 0


def test_no_key_and_a_wrong_key_end_the_start_in_words(home: Path, gateway: Gateway) -> None:
    """One sentence says what is wrong; the exit code is 1."""
    (home / "node.key").write_text("sn_wrong\n")
    node = Node(home, gateway.url)
    assert node.process.wait(10) == 1
    assert "not known" in node.log.read_text()
    (home / "node.key").unlink()
    node = Node(home, gateway.url)
    assert node.process.wait(10) == 1
    assert "node.key cannot be read" in node.log.read_text()
    assert "Traceback" not in node.log.read_text()


def test_started_before_its_gateway(home: Path, gateway: Gateway) -> None:
    """A node waits for a gateway that is not up yet, says so, and begins as soon as it is."""
    gateway.down()
    node = Node(home, gateway.url)
    gateway.wait(lambda: "is away" in node.log.read_text())
    gateway.up()
    gateway.wait(lambda: gateway.record.hellos)
    gateway.wait(lambda: "is back" in node.log.read_text())
    assert node.stop() == 0


def test_killed_with_an_outcome_that_only_its_disk_knows(home: Path, gateway: Gateway) -> None:
    """kill -9 while the gateway is away: the paid step is delivered at the next start, once."""
    go = home / "go"
    job = gateway.add("settle_when_told", payload={"file": str(go)})
    node = Node(home, gateway.url)
    gateway.wait(lambda: gateway.steps(job))
    gateway.down()
    go.touch()
    spool = home / "spool" / FILE
    gateway.wait(lambda: b'\\"paid\\"' in spool.read_bytes())
    os.kill(node.process.pid, signal.SIGKILL)
    node.process.wait(10)
    gateway.up()
    gateway.record.order.clear()
    again = Node(home, gateway.url)
    gateway.wait(lambda: "/node/v1/hello" in gateway.record.order)
    assert gateway.record.order[:2] == ["/node/v1/events", "/node/v1/hello"]
    told = [(one.state, one.output) for one in gateway.steps(job)]
    assert told == [(StepState.INTENT, ""), (StepState.DONE, '"paid"')]
    assert len({hello.boot for hello in gateway.record.hellos}) == 2
    assert again.stop() == 0
    assert spool.stat().st_size == 0
