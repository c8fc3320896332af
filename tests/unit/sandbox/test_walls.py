"""What holds for the walls of this machine, tried from the inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from stead.sandbox.box import Box, Ended, Mount, Walls
from stead.sandbox.errors import BadBox
from stead.sandbox.walls import walls_here

PIPE = asyncio.subprocess.PIPE


@pytest.fixture
async def walls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Walls]:
    made = walls_here(tmp_path_factory.mktemp("run"))
    assert made.works, "these tests need bubblewrap: apt install bubblewrap"
    yield made
    await made.aclose()


async def run(walls: Walls, box: Box, script: str) -> tuple[Ended, str]:
    boxed = await walls.start(
        box, ["sh", "-c", script], stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert boxed.stdout is not None
    async with asyncio.timeout(60):
        said = await boxed.stdout.read()
        return await boxed.wait(), said.decode()


async def test_only_what_is_mounted_for_writing_can_be_written(
    walls: Walls, tmp_path: Path
) -> None:
    """A file lands in the workspace, and nowhere beside it."""
    mine, shown = tmp_path / "mine", tmp_path / "shown"
    mine.mkdir()
    shown.mkdir()
    (shown / "a").write_text("a word")
    box = Box("t", (Mount(mine, write=True), Mount(shown)), cwd=mine)
    ended, said = await run(
        walls, box, f"cat {shown}/a; echo 1 > f; for d in {shown} {tmp_path} /usr /etc / /dev; do"
        " echo 2 > $d/f; done; exit 3",
    )  # fmt: skip
    assert ended.code == 3
    assert said.startswith("a word")
    assert (mine / "f").read_text() == "1\n"
    assert not (shown / "f").exists() and not (tmp_path / "f").exists()


async def test_nothing_of_it_lives_on(walls: Walls, tmp_path: Path) -> None:
    """What went into a session of its own, holding stdout, is gone when the command has ended."""
    mark = f"1000.{tmp_path.name[-3:]}{id(tmp_path) % 10**6}"
    box = Box("t", (Mount(tmp_path, write=True),), cwd=tmp_path)
    ended, _ = await run(walls, box, f"setsid sleep {mark} & (setsid sh -c 'sleep {mark} & ' &)")
    assert ended.code == 0
    assert not [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or ())]


async def test_kill_ends_all(walls: Walls) -> None:
    """When kill returns, no process of the call is left."""
    boxed = await walls.start(
        Box("t"), ["sh", "-c", "setsid sleep 77 & echo on; sleep 77"], stdout=PIPE
    )
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


async def test_a_missing_folder_is_said(walls: Walls, tmp_path: Path) -> None:
    """A folder that is needed and missing is refused by its name; one that is not is left out."""
    with pytest.raises(BadBox, match="nowhere does not exist"):
        await walls.start(Box("t", (Mount(tmp_path / "nowhere"),)), ["true"])
    ended, _ = await run(walls, Box("t", (Mount(tmp_path / "nowhere", needed=False),)), "true")
    assert ended.code == 0
