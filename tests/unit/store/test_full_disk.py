"""A full disk: writes fail in words, nothing is lost, and it goes on when there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead.core.errors import SteadError, StoreUnusable
from stead.core.nouns import Inbound, NewJob
from stead.store.sqlite import SqliteStore


def message(n: int, size: int) -> Inbound:
    return Inbound("cli", str(n), "x" * size)


def job(n: int) -> NewJob:
    return NewJob("chat", {"n": n})


async def fill(store: SqliteStore, size: int = 20_000) -> int:
    """Accept messages until one is refused; how many were accepted."""
    for n in range(10_000):
        try:
            await store.accept(message(n, size), job(n), "")
        except StoreUnusable as error:
            assert "the disk is full" in error.message and "nothing was lost" in error.message
            return n
    raise AssertionError("it never was full")


async def pages(store: SqliteStore, most: int) -> None:
    """Let the file have this many pages more than it has now (0: no limit)."""

    def op(c: object) -> None:
        have = int(store._writer._connection.pragma("page_count"))
        limit = have + most if most else 4294967294
        store._writer._connection.pragma("max_page_count", limit)

    await store.write(op)


async def test_full_and_free_again(tmp_path: Path) -> None:
    """What was accepted before is all there; after space was freed the same message goes in."""
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    await pages(store, 40)
    accepted = await fill(store)
    assert accepted > 0
    assert len((await store.view_jobs(limit=500))["jobs"]) == accepted
    await pages(store, 0)
    assert not (await store.accept(message(accepted, 20_000), job(accepted), "")).duplicate
    store.close()
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    assert len((await store.view_jobs(limit=500))["jobs"]) == accepted + 1
    store.close()


async def test_what_is_small_still_fits(tmp_path: Path) -> None:
    """One large message that does not fit takes none of the small ones of its batch with it."""
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    await pages(store, 40)
    sizes = [10, 10_000_000, 10, 10_000_000, 10]
    results = await asyncio.gather(
        *(store.accept(message(n, size), job(n), "") for n, size in enumerate(sizes)),
        return_exceptions=True,
    )
    assert [isinstance(one, SteadError) for one in results] == [False, True, False, True, False]
    assert len((await store.view_jobs())["jobs"]) == 3
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; skipped where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    """With no byte left on the disk the write is refused; what was accepted can still be read,
    and with room made again it goes on by itself."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 300_000)
    store = SqliteStore(small_disk / "state.db", small_disk / "copies")
    accepted = await fill(store)
    assert accepted > 0
    assert len((await store.view_jobs(limit=500))["jobs"]) == accepted
    ballast.unlink()
    await store.accept(message(accepted, 20_000), job(accepted), "")
    store.close()
    store = SqliteStore(small_disk / "state.db", small_disk / "copies")
    assert len((await store.view_jobs(limit=500))["jobs"]) == accepted + 1
    store.close()
