"""What holds for every kind of walls, tried from the inside."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from stead.sandbox.box import Bounds, Box, Mount, Walls
from stead.sandbox.errors import BadBox, NoSandbox
from stead.sandbox.walls import walls_here
from tests.unit.sandbox.kinds import run, walls_of


@pytest.fixture(params=["bubblewrap", "podman"])
async def walls(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Walls]:
    made = walls_of(request.param, tmp_path_factory.mktemp("run"))
    report = await made.tested()
    assert report.ok, report.why
    yield made
    await made.aclose()


async def test_only_what_is_mounted_for_writing_is_written(walls: Walls, tmp_path: Path) -> None:
    """A file lands in the workspace and belongs to its owner, and nowhere beside it."""
    mine, shown = tmp_path / "mine", tmp_path / "shown"
    mine.mkdir()
    shown.mkdir()
    (shown / "a").write_text("a word")
    box = Box("t", (Mount(mine, write=True), Mount(shown)), cwd=mine)
    script = (
        f"cat {shown}/a; echo 1 > f; for d in {shown} {tmp_path} /usr /etc / /proc/sys/kernel; do"
        " echo 2 > $d/f; done; exit 3"
    )
    ended, said = await run(walls, box, script)
    assert ended.code == 3
    assert said.startswith("a word")
    assert (mine / "f").read_text() == "1\n"
    assert (mine / "f").stat().st_uid == os.getuid()
    assert not (shown / "f").exists() and not (tmp_path / "f").exists()


async def test_nothing_of_it_lives_on(walls: Walls, tmp_path: Path) -> None:
    """What went into a session of its own is gone when the command has ended."""
    mark = f"{1000 + os.getpid()}.{id(tmp_path) % 10**6}"
    box = Box("t", (Mount(tmp_path, write=True),), cwd=tmp_path)
    script = (
        f"setsid sleep {mark} >/dev/null & (setsid sh -c 'sleep {mark} >/dev/null & ' &) ; true"
    )
    ended, _ = await run(walls, box, script)
    assert ended.code == 0
    assert not [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or ())]


async def test_kill_ends_all(walls: Walls) -> None:
    """When kill returns, no process of the call is left, and its pipe is at its end."""
    script = ["sh", "-c", "setsid sleep 77 & echo on; sleep 77"]
    boxed = await walls.start(Box("t"), script, stdout=PIPE)
    assert boxed.stdout is not None
    assert await boxed.stdout.readline() == b"on\n"
    ended = await boxed.kill()
    assert ended.code == -9
    assert await boxed.stdout.read() == b""
    assert boxed.ended == ended


async def test_there_is_no_network(walls: Walls) -> None:
    """Only a loopback of its own, on which nothing of the machine listens."""
    _, said = await run(walls, Box("t"), "cat /proc/net/dev")
    assert [line.split(":")[0].strip() for line in said.splitlines()[2:]] == ["lo"]


async def test_it_sees_no_process_but_its_own(walls: Walls) -> None:
    """Process 1 is its own, and there is hardly another."""
    _, said = await run(walls, Box("t"), "ls /proc | grep -c '^[0-9]'")
    assert int(said) < 8


async def test_it_has_no_rights(walls: Walls) -> None:
    """No capabilities, none to be had, and a filter of system calls."""
    _, said = await run(walls, Box("t"), "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status")
    status = dict(line.split(":\t") for line in said.splitlines())
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


async def test_its_environment_is_clean(walls: Walls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this process's environment is in it; what the box says is, whatever its value."""
    monkeypatch.setenv("STEAD_SECRET", "hidden")
    odd = "a b\nc='\"$x"
    _, said = await run(walls, Box("t", env={"ODD": odd}), 'echo "$ODD"; env')
    assert said.startswith(odd + "\n")
    assert "STEAD_SECRET" not in said and "hidden" not in said


async def test_it_is_stopped_when_its_time_is_over(walls: Walls) -> None:
    """The reason is told in words."""
    ended, _ = await run(walls, Box("t", bounds=Bounds(wall_s=1)), "sleep 3600")
    assert (ended.code, ended.why) == (-9, "ran longer than 1 s")


async def test_streams_both_ways(walls: Walls) -> None:
    """What is written to it arrives, binary and large, and its end is seen."""
    boxed = await walls.start(Box("t"), ["cat"], stdin=PIPE, stdout=PIPE)
    assert boxed.stdin is not None and boxed.stdout is not None
    data = bytes(range(256)) * 4096
    reading = asyncio.ensure_future(boxed.stdout.read())
    boxed.stdin.write(data)
    await boxed.stdin.drain()
    boxed.stdin.close()
    async with asyncio.timeout(60):
        assert await reading == data
        assert (await boxed.wait()).code == 0


async def test_a_missing_folder_is_said(walls: Walls, tmp_path: Path) -> None:
    """A folder that is needed and missing is refused by its name; one that is not is left out."""
    with pytest.raises(BadBox, match="nowhere does not exist"):
        await walls.start(Box("t", (Mount(tmp_path / "nowhere"),)), ["true"])
    ended, _ = await run(walls, Box("t", (Mount(tmp_path / "nowhere", needed=False),)), "true")
    assert ended.code == 0


async def test_a_folder_that_cannot_be_granted_is_refused(walls: Walls, tmp_path: Path) -> None:
    """The whole machine, a relative path and one with ``..`` in it."""
    for path in (Path("/"), Path("workspace"), tmp_path / ".." / "x"):
        with pytest.raises(BadBox):
            await walls.start(Box("t", (Mount(path),)), ["true"])


async def test_where_there_are_none_all_is_refused(tmp_path: Path) -> None:
    """Switched off, or not there: the reason is told, and nothing runs."""
    for kind, why in (("none", "switched off"), ("seatbelt", "macOS"), ("podman", "image")):
        made = walls_here(tmp_path, kind=kind)
        assert not made.works
        assert why in (await made.tested()).why or "podman" in (await made.tested()).why
        with pytest.raises(NoSandbox):
            await made.start(Box("t"), ["true"])
        await made.aclose()
