"""Groups of processes: what a killed keeper left behind."""

from __future__ import annotations

import contextlib
import subprocess
import time

import pytest

from stead.sandbox.cgroups import V1, groups_here


def test_what_a_killed_keeper_left_is_ended() -> None:
    """The next one ends the processes in its groups, and removes them; those of others stay."""
    groups = groups_here(False)
    if not isinstance(groups, V1):
        pytest.skip("there are no control groups of version 1 here, or not for this user")
    gone = subprocess.Popen(["true"])
    gone.wait()
    group = groups.make("9", 64, 16, 1.0, False)
    top = group.folders[0].parent
    left = subprocess.Popen(["sleep", "600"])
    beside = subprocess.Popen(["sleep", "600"])
    dead = top.parent / f"stead-{gone.pid}"
    (dead / "1").mkdir(parents=True)
    try:
        (dead / "1" / "tasks").write_text(str(left.pid))
        (top / "9" / "tasks").write_text(str(beside.pid))
        assert groups_here(False).kind == "cgroup v1"
        assert left.wait(60) == -9
        assert beside.poll() is None
        until = time.monotonic() + 60
        while dead.exists():  # a group empties a moment after its process has ended
            assert time.monotonic() < until
            groups_here(False)
    finally:
        for process in (left, beside):
            process.kill()
            process.wait()
        for folder in (dead / "1", dead):
            with contextlib.suppress(OSError):
                folder.rmdir()
        while not group.remove():
            time.sleep(0.01)
        groups.close()
