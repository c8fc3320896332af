"""stead.toml is changed while everything runs: real processes, the commands as they are typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.story.house import House

#: The gateway itself is a model server like any other.
BACKEND = """
[[backend]]
name = "self"
url = "http://127.0.0.1:{}/v1"
key_file = "secrets/owner.key"
models = [{{ name = "stead", alias = "agent" }}]
"""
LANE = '\n[[lane]]\nname = "{}"\nmodels = ["{}"]\n'


def _ask(house: House, model: str) -> tuple[int, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return house.call("POST", "/v1/chat/completions", body)


def test_changed_while_it_runs(house: House) -> None:
    """A new lane can be asked within seconds, a faulty file changes nothing and is told, SIGHUP
    to `stead up` reads the file, and no process was started anew for any of it."""
    file = house.home / "stead.toml"
    sound = file.read_text()
    house.start("up")
    house.until(house.whole, 20, "everything")
    before = {name: child.pid for name, child in house.children().items()}
    assert _ask(house, "quick")[0] == 404

    file.write_text(sound + LANE.format("quick", "auto"))
    house.until(lambda: _ask(house, "quick")[0] == 200, 20, "the new lane, noticed by itself")

    file.write_text(sound + LANE.format("quick", "nobody"))
    done = house.cli("config", "apply")
    assert done.returncode == 1 and "lane[0].models[0]" in done.stderr, done
    assert _ask(house, "quick")[0] == 200
    told = house.cli("status")
    assert "The settings from before hold" in told.stdout, told

    more = BACKEND.format(house.port) + '[nodes]\nmain = "elsewhere"\n'
    file.write_text(sound + LANE.format("other", "auto") + more)
    os.kill(house.parts["up"].pid, signal.SIGHUP)
    house.until(lambda: _ask(house, "other")[0] == 200, 20, "the lane after SIGHUP")
    assert _ask(house, "quick")[0] == 404
    done = house.cli("config", "apply", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["restart"] == ["nodes.main"]
    assert "nodes.main" in " ".join(house.get("/api/v1/status")["not_yet"])
    listed = house.cli("backends")
    assert listed.returncode == 0 and "other" in listed.stdout, listed
    tested = house.cli("backends", "test", "self")
    assert tested.returncode == 0 and "has stead" in tested.stdout, tested
    assert {name: child.pid for name, child in house.children().items()} == before
    assert house.stop("up", 15) == 0


_IN_A_TERMINAL = """
import os, pty, signal, sys, time
pid, master = pty.fork()
if pid == 0:
    from stead.app.hup import terminal
    gone = terminal()
    signal.signal(signal.SIGHUP, lambda *_: None)
    first = gone()
    out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    os.write(1, b"ready")
    for _ in range(1000):
        if gone():
            break
        time.sleep(0.01)
    os.write(out, f"{first} {gone()}".encode())
    os._exit(0)
os.read(master, 100)
os.close(master)
os.waitpid(pid, 0)
"""


def test_a_terminal_that_goes_away(tmp_path: Path) -> None:
    """SIGHUP of a closed terminal still ends stead: that it is gone can be told."""
    out = tmp_path / "said"
    subprocess.run([sys.executable, "-c", _IN_A_TERMINAL, str(out)], check=True, timeout=60)
    assert out.read_text() == "False True"
