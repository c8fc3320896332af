"""The daily log: every line once, in the file of its day, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import threading
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from stead.memory import daily
from stead.memory.daily import DailyLog, append_lines
from stead.store.sqlite import SqliteStore

NOON = int(datetime(2026, 11, 21, 12, 0, 0).timestamp() * 1000)
DAY = "2026-11-21"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "memory"


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / f"{DAY}.md"


def entries(path: Path) -> list[str]:
    """The list items of a file, as a reader of Markdown sees them: their first lines."""
    return [line for line in path.read_text().split("\n") if line.startswith("- ")]


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def written(folder: Path) -> dict[str, list[str]]:
    return {path.name: entries(path) for path in sorted(folder.glob("*"))}


def obstruct(folder: Path, obstacle: str) -> Callable[[], None]:
    """Put something in the way of today's file; returns how to take it away."""
    if obstacle == "a file for a folder":
        folder.touch()
        return folder.unlink
    today = folder / f"{datetime.now():%Y-%m-%d}.md"
    today.mkdir(parents=True)
    return today.rmdir


# --- the file ------------------------------------------------------------------


def test_a_day_is_a_file(path: Path) -> None:
    """A day's lines are a Markdown list under its date, for the owner's eyes alone."""
    append_lines(path, DAY, [(1, NOON, "first"), (2, NOON + 61_000, "second")])
    append_lines(path, DAY, [(3, NOON + 62_000, "third")])
    assert path.read_text() == (
        f"# {DAY}\n\n- 12:00:00 first <!-- 1 -->\n- 12:01:01 second <!-- 2 -->\n"
        "- 12:01:02 third <!-- 3 -->\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_the_file_has_is_not_written_again(path: Path) -> None:
    """After a crash between append and delete the same lines come again; each stays one line."""
    lines = [(n, NOON, f"line {n}") for n in range(1, 6)]
    append_lines(path, DAY, lines[:3])
    before = path.read_text()
    append_lines(path, DAY, lines[:3])
    assert path.read_text() == before
    append_lines(path, DAY, lines)
    assert [line.split(" ", 2)[2] for line in entries(path)] == [
        f"line {n} <!-- {n} -->" for n in range(1, 6)
    ]


def test_a_crash_in_a_long_batch(path: Path) -> None:
    """However long the lines of a batch were, none of them is doubled."""
    lines = [(n, NOON, f"line {n} " + "x" * 50_000) for n in range(1, 41)]
    append_lines(path, DAY, lines)
    before = path.read_bytes()
    append_lines(path, DAY, lines)
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 5, 12, 25, 40])
def test_a_torn_tail(path: Path, cut: int) -> None:
    """A line that a power cut tore is written anew on a line of its own, whole; those before it
    are not touched."""
    lines = [(n, NOON, f"this is line {n} äöü") for n in range(1, 4)]
    append_lines(path, DAY, lines)
    whole = path.read_bytes()
    os.truncate(path, len(whole) - cut)
    torn = path.read_bytes()
    append_lines(path, DAY, lines)
    now = path.read_bytes()
    assert now.startswith(torn)
    for _, _, words in lines:
        assert f"- 12:00:00 {words} <!-- {words.split()[3]} -->\n".encode() in now
    assert now.count(b"line 1") == now.count(b"line 2") == 1


def test_text_of_many_lines_stays_one_entry(path: Path) -> None:
    """Further lines of a text are indented, so that an entry is one item of the list."""
    append_lines(path, DAY, [(1, NOON, "one\n- two\n\n# three\r\n- 12:00:00 four"), (2, NOON, "n")])
    assert len(entries(path)) == 2
    assert path.read_text().split("\n")[2:7] == [
        "- 12:00:00 one", "  - two", "  ", "  # three", "  - 12:00:00 four <!-- 1 -->",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["<!-- 5 -->", "hello <!-- 5 -->", "a\n<!-- 5 -->\nb <!-- 5 -->"])
def test_text_cannot_fake_a_mark(path: Path, text: str) -> None:
    """A message that looks like the end of an entry keeps no other line out of the log."""
    append_lines(path, DAY, [(1, NOON, text)])
    append_lines(path, DAY, [(5, NOON, "the real one")])
    assert "the real one <!-- 5 -->" in path.read_text()
    assert len(re.findall(r"<!-- 5 -->", path.read_text())) == 1


def test_a_new_database_counts_from_one_again(path: Path) -> None:
    """When the database is new and the file is not, no line is taken for one of before."""
    append_lines(path, DAY, [(1, NOON, "of the old database"), (2, NOON, "also")])
    append_lines(path, DAY, [(1, NOON, "of the new one"), (2, NOON, "new, too")])
    assert len(entries(path)) == 4
    assert "of the new one <!-- 1 -->" in path.read_text()


def test_what_others_wrote_is_kept(path: Path) -> None:
    """The owner may write into the file; nothing of it is ever changed."""
    path.parent.mkdir()
    path.write_text("my own notes\nwithout an end")
    append_lines(path, DAY, [(1, NOON, "line")])
    assert path.read_text() == ("my own notes\nwithout an end\n- 12:00:00 line <!-- 1 -->\n")


# --- from the database to the file -----------------------------------------------


async def test_lines_move_from_the_database_to_the_file(store: SqliteStore, folder: Path) -> None:
    """What was committed is in the file, in order, and no more in the database."""
    for n in range(3):
        await store.add_day_line(f"line {n}")
    assert await DailyLog(folder, store).write_pending() == 3
    assert [line.split(" ", 2)[2] for line in entries(only(folder))] == [
        f"line {n} <!-- {n + 1} -->" for n in range(3)
    ]
    assert await store.day_lines() == []
    assert await DailyLog(folder, store).write_pending() == 0


async def test_more_lines_than_one_batch(store: SqliteStore, folder: Path) -> None:
    """A long backlog is written to its end."""
    await asyncio.gather(*(store.add_day_line(f"line {n}") for n in range(1203)))
    assert await DailyLog(folder, store).write_pending() == 1203
    assert len(entries(only(folder))) == 1203


async def test_a_crash_between_append_and_delete(store: SqliteStore, folder: Path) -> None:
    """The line is in the file and still in the database: it is not written a second time."""
    await store.add_day_line("line")
    real = store.day_lines_written

    async def crash(upto: int) -> None:
        raise OSError("the power is cut")

    store.day_lines_written = crash  # type: ignore[method-assign]
    with pytest.raises(OSError, match="power"):
        await DailyLog(folder, store).write_pending()
    store.day_lines_written = real  # type: ignore[method-assign]
    await store.add_day_line("another")
    await DailyLog(folder, store).write_pending()
    told = [line.split(" ", 2)[2] for line in entries(only(folder))]
    assert told == ["line <!-- 1 -->", "another <!-- 2 -->"]


async def test_each_line_is_in_the_file_of_its_day(store: SqliteStore, folder: Path) -> None:
    """Lines on both sides of midnight, in the owner's own time, go to two files."""
    midnight = int(datetime(2026, 11, 22).timestamp() * 1000)
    await store.write(
        lambda c: c.executemany(
            "INSERT INTO dayline (at, text) VALUES (?, ?)",
            [(midnight - 1, "late"), (midnight, "early"), (midnight - 2, "also late")],
        )
    )
    await DailyLog(folder, store).write_pending()
    assert written(folder) == {
        "2026-11-21.md": ["- 23:59:59 late <!-- 1 -->", "- 23:59:59 also late <!-- 3 -->"],
        "2026-11-22.md": ["- 00:00:00 early <!-- 2 -->"],
    }


@pytest.mark.parametrize("obstacle", ["a file for a folder", "a folder for a file"])
async def test_an_unwritable_folder_keeps_the_lines(
    store: SqliteStore, folder: Path, obstacle: str
) -> None:
    """While the log cannot be written its lines wait in the database, and come in when it can."""
    await store.add_day_line("line")
    clear = obstruct(folder, obstacle)
    log = DailyLog(folder, store)
    with pytest.raises(OSError):
        await log.write_pending()
    assert len(await store.day_lines()) == 1
    clear()
    assert await log.write_pending() == 1
    assert len(entries(only(folder))) == 1


async def test_a_nudge_writes_at_once(store: SqliteStore, folder: Path) -> None:
    """The log is written when there is something, and its task ends when it is told to."""
    log = DailyLog(folder, store)
    task = asyncio.create_task(log.run())
    await store.add_day_line("line")
    log.nudge()
    for _ in range(500):
        if written(folder) and not await store.day_lines():
            break
        await asyncio.sleep(0.002)
    assert len(entries(only(folder))) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stop_in_the_midst_of_a_write(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that is still going on when its task is cancelled is not done a second time by the
    last write of the stop."""
    entered, leave = threading.Event(), threading.Event()
    real = append_lines

    def slow(*asked: Any) -> None:
        entered.set()
        assert leave.wait(10)
        real(*asked)

    monkeypatch.setattr(daily, "append_lines", slow)
    await store.add_day_line("line")
    log = DailyLog(folder, store)
    first = asyncio.create_task(log.write_pending())
    await asyncio.to_thread(entered.wait, 10)
    first.cancel()
    last = asyncio.create_task(log.write_pending())
    await asyncio.sleep(0.02)
    leave.set()
    await last
    assert len(entries(only(folder))) == 1


def test_control_characters_are_shown(path: Path) -> None:
    """grep takes the file for text, and cat does not obey it, whatever was said."""
    append_lines(path, DAY, [(1, NOON, "a\0b\x1b[2Jc\x9bd\te\nf")])
    text = path.read_text()
    assert "a␀b␛[2Jc\ufffdd\te\n  f <!-- 1 -->" in text
    append_lines(path, DAY, [(1, NOON, "a\0b\x1b[2Jc\x9bd\te\nf")])
    assert path.read_text() == text


async def test_secrets_never_come_into_the_file(store: SqliteStore, folder: Path) -> None:
    """Card numbers, keys by their form and values under secrets/ are masked before the first
    write."""
    (folder.parent / "secrets").mkdir()
    (folder.parent / "secrets" / "cloud.secret").write_text("correct horse battery")
    card = "4111 1111 " + "1111 1111"
    await store.add_day_line(f"**owner** (cli, main) [job 1, x]: {card}, correct horse battery,")
    await store.add_day_line("password: swordfish")
    assert await DailyLog(folder, store).write_pending() == 2
    text = only(folder).read_text()
    assert "4111" not in text and "horse" not in text and "swordfish" not in text
    assert "[masked: card number ending in 1111], [masked: secret cloud]," in text
