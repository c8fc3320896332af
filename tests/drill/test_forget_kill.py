"""A forgetting that is killed anywhere is ended at the next start, without its words."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from stead.memory.forget import tomb
from stead.memory.forget.forgetter import Forgetter
from stead.memory.forget.prove import Seeker, search
from stead.memory.forget.words import Phrase
from stead.store.sqlite import SqliteStore
from tests.unit.memory.forget.homes import NAME, OTHER, Home

ROOT = Path(__file__).parents[2]
POINTS = 7

#: Forgets, and kills itself before the n-th change of a file; prints how many there were.
DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from stead.memory.daily import DailyLog
from stead.memory.forget.forgetter import Forgetter
from stead.memory.forget.wish import Wish
from stead.store.sqlite import SqliteStore

home, name, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
count = 0

def watched(real):
    def call(*args, **more):
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)
    return call

for what in ("fsync", "replace", "unlink", "rename", "pwrite"):
    setattr(os, what, watched(getattr(os, what)))
store = SqliteStore(home / "state.db", home / "backups")
store.forget, store.forget_clean = watched(store.forget), watched(store.forget_clean)
daily = DailyLog(home / "memory", store)
forgetter = Forgetter(home, store, still=daily.still, flush=daily.write_pending)
asyncio.run(forgetter.run(Wish("person", name)))
store.close()
print(count)
"""


def forget_in(home: Path, at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DIES, str(home), NAME, str(at)],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def holding(home: Path) -> list[str]:
    return search(home, Seeker([Phrase.of(NAME)])).paths


async def test_killed_anywhere(tmp_path: Path) -> None:
    """Wherever it is killed, before any change of a file or of the database: until it was said what
    goes, all is as before; after that the next start ends it, though nobody has the words any more.
    What was said of other things is whole each time."""
    made = Home(tmp_path / "whole")
    await made.everywhere()
    made.commit(f"about {NAME}")
    made.store.close()
    shutil.copytree(made.path, tmp_path / "counted")
    counted = forget_in(tmp_path / "counted", 0)
    assert counted.returncode == 0, counted.stderr
    total, yours = int(counted.stdout), holding(tmp_path / "counted")
    assert total > 20 and len(yours) == 2
    ended = 0
    for point in range(POINTS):
        at = 2 + point * (total - 2) // (POINTS - 1)
        home = tmp_path / f"killed-{at}"
        shutil.copytree(made.path, home)
        assert forget_in(home, at).returncode == -signal.SIGKILL
        begun = tomb.begun(home)
        if begun is not None:
            raw = (home / tomb.UNDER_WAY).read_bytes().lower()
            assert b"roswitha" not in raw and b"gooseberry" not in raw
        store = SqliteStore(home / "state.db", home / "backups")
        receipt = await Forgetter(home, store).resume()
        store.close()
        assert (receipt is None) is (begun is None)
        if receipt is not None:
            ended += 1
            assert holding(home) == yours, f"killed at {at}"
        day = next((home / "memory").glob("20*.md")).read_text()
        assert OTHER in day and "three rooms" in (home / "memory/MEMORY.md").read_text()
        shutil.rmtree(home)
    assert ended >= POINTS - 2
