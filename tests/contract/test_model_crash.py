"""A storage that is cut off at any write, or whose disk fails: all of an operation, or nothing.

The stories of the models run over a disk that is looked at after every single write, and that
fails in the middle of each commit before it is let through. SQLite's storage only, as the disk is
put under SQLite.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from stead.core.errors import StoreUnusable
from stead.store.sqlite import writer as writer_room
from stead.store.sqlite.writer import Writer
from tests.contract.machine import flow_stories, queue_stories
from tests.contract.machine.disk import Disk, disk, image, rows_in, rows_of
from tests.contract.machine.flow_machine import FlowMachine
from tests.contract.machine.profile import deep
from tests.contract.machine.queue_machine import QueueMachine

_commit = Writer._commit

#: The ways in which a disk fails.
WAYS = (apsw.SQLITE_FULL, apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_FSYNC)

TOLD: list[Callable[[], None]] = [
    *((lambda one=one: queue_stories.tell(one, QueueMachine)) for one in queue_stories.STORIES),
    *((lambda one=one: flow_stories.tell(one, FlowMachine)) for one in flow_stories.STORIES),
]
NAMES = [one.__name__ for one in (*queue_stories.STORIES, *flow_stories.STORIES)]


@pytest.fixture
def under() -> Iterator[Disk]:
    with disk() as made:
        yield made


@pytest.mark.parametrize("story", TOLD, ids=NAMES)
def test_a_kill_at_any_write_leaves_all_or_nothing(
    story: Callable[[], None], under: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each write of each commit the files hold the state before or the one after, and once
    it is acknowledged a power cut leaves the one after."""
    numbers = itertools.count()
    looked = 0
    wrong: list[str] = []  # this runs in the writer's thread, where nobody would see it raised

    def commit(self: Writer, batch: list[Any]) -> None:
        nonlocal looked
        folder = Path(self._path).parent
        left: list[Any] = []
        before = rows_in(self._connection)
        under.on_write = lambda: left.append(image(folder))
        try:
            _commit(self, batch)
        finally:
            under.on_write = None
        after = rows_in(self._connection)
        keep = left if deep() else [left[n] for n in {0, len(left) // 2, len(left) - 1} if left]
        seen = [rows_of(one, tmp_path / str(next(numbers)), under.base) for one in keep]
        if not all(rows in (before, after) for rows in seen):
            wrong.append("half of an operation")
        if left and before != after:
            acknowledged = rows_of(under.synced, tmp_path / str(next(numbers)), under.base)
            wrong.extend(["not durable"] * (acknowledged != after))
        looked += len(seen)

    monkeypatch.setattr(Writer, "_commit", commit)
    story()
    assert wrong == [] and looked > 10


@pytest.mark.parametrize("story", TOLD, ids=NAMES)
def test_a_failing_disk_undoes_all_of_an_operation(
    story: Callable[[], None], under: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit fails first, at one write or another: nothing of it is there, whoever asked is
    told; then the disk is well again and the same goes through, as if nothing had been."""
    turns = itertools.count()
    undone = 0
    wrong: list[str] = []

    def commit(self: Writer, batch: list[Any]) -> None:
        nonlocal undone
        turn = next(turns)
        before = rows_in(self._connection)
        under.fail_with, under.fail_after = WAYS[turn % 3], turn % 4
        under.failed = 0
        monkeypatch.setattr(Writer, "_commit", _commit)  # it calls itself
        try:
            _commit(self, batch)
        finally:
            under.fail_after = -1
            monkeypatch.setattr(Writer, "_commit", commit)
        if under.failed:
            undone += 1
            # Of several some may have had nothing to write.
            if not any(isinstance(one.error, StoreUnusable) for one in batch):
                wrong.append("nobody was told")
            if rows_in(self._connection) != before:
                wrong.append("half of an operation")
        elif rows_in(self._connection) != before:
            return  # it went through: fewer writes than were let pass
        for one in batch:
            one.error = one.result = None
        _commit(self, batch)

    monkeypatch.setattr(Writer, "_commit", commit)
    monkeypatch.setattr(writer_room.log, "disabled", True)
    story()
    assert wrong == [] and undone > 3
