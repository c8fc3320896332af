"""Landlock, tried in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stead.sandbox import landlock

SCRIPT = """
import json, os, socket, sys
from stead.sandbox import landlock
told = json.loads(sys.argv[1])
version = landlock.restrict(told["read"], told["write"], tcp=told["tcp"])
def can(action):
    try:
        action()
    except OSError:
        return False
    return True
def connect():
    with socket.create_connection(("127.0.0.1", told["port"])):
        pass
print(json.dumps({
    "version": version,
    "reads": [path for path in told["tries"] if can(lambda: open(path).close())],
    "writes": [path for path in told["tries"] if can(lambda: open(path, "a").close())],
    "connects": can(connect),
}))
"""


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_only_what_was_said_can_be_read_and_written(tmp_path: Path) -> None:
    """Of three files one can be read and written, one read, one neither; TCP is shut when it was
    not asked for (since version 4)."""
    for name in ("mine", "shown", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
    tries = [str(tmp_path / name / "f") for name in ("mine", "shown", "other")]
    prefix = [str(Path(sys.prefix)), str(Path(sys.base_prefix)), "/usr", "/etc", "/lib", "/proc"]
    repository = str(Path(__file__).parents[3])
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = {
            "read": [str(tmp_path / "shown"), repository, *prefix, str(tmp_path / "missing")],
            "write": [str(tmp_path / "mine")],
            "tcp": False,
            "tries": tries,
            "port": server.getsockname()[1],
        }
        words = [sys.executable, "-c", SCRIPT, json.dumps(told)]
        done = subprocess.run(
            words, env={"PYTHONPATH": repository}, capture_output=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    assert said["reads"] == tries[:2]
    assert said["writes"] == tries[:1]
    assert said["connects"] is (landlock.version() < 4)
