"""What the index does when the world is against it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stead.memory.index.sqlite import SqliteIndex
from stead.memory.nouns import Question
from stead.memory.places import sources_of

_ENV = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": "/usr/bin:/bin"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "memory").mkdir()
    return tmp_path


def opened(home: Path) -> SqliteIndex:
    return SqliteIndex(home, sources_of(home))


def say(home: Path, *texts: str, day: str = "2026-03-14") -> None:
    with (home / "memory" / f"{day}.md").open("a") as file:
        for text in texts:
            file.write(f"- 10:00:00 **owner** (terminal, main) [job j, light]: {text} <!-- 1 -->\n")


def finds(index: SqliteIndex, word: str) -> bool:
    return any(word in hit.entry.text for hit in index.search(Question(word)).hits)


@pytest.mark.parametrize("place", [0, 100, 4096, -1])
def test_a_damaged_file_is_made_anew_and_said(home: Path, place: int) -> None:
    """Wherever it is damaged, and whether it is open or not; no answer is empty without a word."""
    say(home, *(f"boiler number{n}" for n in range(500)))
    index = opened(home)
    index.refresh()
    path = home / "index" / "memory.db"
    index.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        for start in [place] if place >= 0 else range(0, size, 4096):
            file.seek(start)
            file.write(b"\xa5" * 600)
    index = opened(home)
    try:
        found = index.search(Question("boiler"))
        assert found.hits or found.stale
        index.refresh()
        if index.wanted:  # what was damaged was not needed until now
            index.refresh()
        for word in ("boiler", "number77"):
            found = index.search(Question(word))
            assert found.hits or found.stale
        index.refresh()
        assert finds(index, "number77")
    finally:
        index.close()


def test_damage_while_it_runs(home: Path) -> None:
    """The file is overwritten under its hands: said, and made anew by the next look."""
    say(home, *(f"boiler number{n}" for n in range(500)))
    index = opened(home)
    try:
        index.refresh()
        path = home / "index" / "memory.db"
        with path.open("r+b") as file:
            file.write(b"\xa5" * path.stat().st_size)
        for end in ("-wal", "-shm"):
            (home / "index" / f"memory.db{end}").write_bytes(b"rubbish" * 100)
        for _ in range(3):
            found = index.search(Question("number77"))
            assert found.hits or found.stale
            index.refresh()
        say(home, "the chimney smokes")
        index.refresh()
        index.refresh()
        assert finds(index, "chimney")
        assert finds(index, "number77")
    finally:
        index.close()


def test_an_index_of_another_version_is_made_anew(home: Path) -> None:
    """As after an update of stead: another parser, another ranker, other tables."""
    say(home, "the boiler leaks")
    index = opened(home)
    index.refresh()
    assert index._write is not None
    index._write.execute("UPDATE meta SET value = 'older' WHERE name = 'parser'")
    index.close()
    index = opened(home)
    try:
        assert "parser" in index.search(Question("boiler")).stale
        assert index.refresh().rebuilt
        assert finds(index, "boiler")
    finally:
        index.close()


_KILLED = """
import sys
from pathlib import Path
from stead.memory.index.sqlite import SqliteIndex
from stead.memory.places import sources_of
home = Path(sys.argv[1])
index = SqliteIndex(home, sources_of(home))
print("begun", flush=True)
while True:
    index.rebuild()
"""


def test_killed_at_any_moment_of_a_rebuild(home: Path) -> None:
    """What was there before goes on being found, and what the killed one left is swept."""
    for day in range(1, 5):
        say(home, *(f"boiler number{n}" for n in range(200)), day=f"2026-03-{day:02}")
    index = opened(home)
    index.refresh()
    index.close()
    for round_ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(home)], stdout=subprocess.PIPE, env=_ENV
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"begun\n"
        time.sleep(0.02 + 0.05 * round_)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        index = opened(home)
        try:
            assert finds(index, "number77")
            assert index.refresh().total == 800
            assert not list((home / "index").glob("*.new-*"))
        finally:
            index.close()


_FULL = """
import resource, signal, sys
from pathlib import Path
from stead.memory.index.sqlite import SqliteIndex
from stead.memory.nouns import Question
from stead.memory.places import sources_of
home = Path(sys.argv[1])
index = SqliteIndex(home, sources_of(home))
index.refresh()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = (home / "index" / "memory.db").stat().st_size
log = home / "memory" / "2026-03-15.md"
log.write_text("".join(
    f"- 10:00:00 **owner** (t, main) [job j, light]: chimney n{n} w{n * 7} <!-- 1 -->\\n"
    for n in range(5000)
))
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))
said = index.refresh().stale, index.rebuild().stale
hits = index.search(Question("boiler"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
index.refresh()
after = index.search(Question("n4321"))
print(repr((all(said), bool(hits.hits), bool(hits.stale), bool(after.hits), after.stale)))
"""


def test_no_room_on_the_disk(home: Path) -> None:
    """What is there goes on being found, the trouble is said, and it is over with its cause."""
    say(home, *(f"boiler number{n}" for n in range(300)))
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(home)],
        capture_output=True, text=True, env=_ENV, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "(True, True, True, True, '')", done.stderr


_LARGE = """
import sys
from pathlib import Path
from stead.memory.index.sqlite import SqliteIndex
from stead.memory.nouns import Question
from stead.memory.places import sources_of
home = Path(sys.argv[1])
index = SqliteIndex(home, sources_of(home))
index.refresh()
# Not ru_maxrss: Linux has a program begin with the peak of the one that started it.
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(peak[0], bool(index.search(Question("needle")).hits))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_daily_log_without_measure(home: Path) -> None:
    """Lines of megabytes: in bounded memory, and the rest is found."""
    with (home / "memory" / "2026-03-14.md").open("w") as file:
        for n in range(6):
            file.write(f"- 10:00:00 **owner** (t, main) [job j, light]: {'lorem ipsum ' * 120_000}")
            file.write(f"{n}\n")
        file.write("- 10:00:00 **owner** (t, main) [job j, light]: a needle\n")
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(home)],
        capture_output=True, text=True, env=_ENV, timeout=240, check=False,
    )  # fmt: skip
    used, found = done.stdout.split()
    assert found == "True", done.stderr
    assert int(used) < 100_000


def test_clocks_that_jump(home: Path) -> None:
    """A file from the future, one from 1970: what changes in them is found."""
    say(home, "the boiler leaks")
    path = home / "memory" / "2026-03-14.md"
    index = opened(home)
    try:
        for when in (4_000_000_000, 0, 1, 4_000_000_000):
            os.utime(path, (when, when))
            index.refresh()
            say(home, f"again at word{when}")
            os.utime(path, (when, when))
            assert index.refresh().added == 1
        assert finds(index, "boiler")
    finally:
        index.close()
