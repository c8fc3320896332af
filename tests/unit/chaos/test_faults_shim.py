"""The shim's disk and clock: what a program under it sees."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from stead.chaos.faults import shim
from tests.unit.chaos.shimmed import Shimmed

# A program that does what it is told, line by line, and answers in JSON.
TOLD = """
import sys, json, os, time, threading, errno, datetime
import apsw
db = apsw.Connection(":memory:")
def attempt(work):
    try:
        return work()
    except OSError as error:
        return errno.errorcode[error.errno]
print("ready")
for line in sys.stdin:
    print(json.dumps(attempt(lambda: eval(line))))
"""


class Told:
    def __init__(self, shimmed: Shimmed) -> None:
        self._process = shimmed.start(TOLD)
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __call__(self, expression: str) -> object:
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())


@pytest.fixture
def told(shimmed: Shimmed) -> Told:
    return Told(shimmed)


CLOCKS = (
    "[time.time(), db.execute(\"SELECT unixepoch('subsec')\").get, time.time_ns() / 1e9,"
    " datetime.datetime.now().timestamp(), time.clock_gettime(time.CLOCK_REALTIME)]"
)


def ahead(shimmed: Shimmed, told: Told) -> float:
    """How far the program's clocks are ahead, in seconds. They all agree, and are no further off
    from what the control file says than the time that it took to ask."""
    said, before = shimmed.control.ahead_ms / 1000, time.time()
    clocks = told(CLOCKS)
    after, now_said = time.time(), shimmed.control.ahead_ms / 1000
    assert isinstance(clocks, list)
    least, most = min(said, now_said) - 0.01, max(said, now_said) + 0.01
    assert all(before + least <= clock <= after + most for clock in clocks), (before, after, clocks)
    return float(clocks[0]) - before


def test_the_clock_jumps(shimmed: Shimmed, told: Told) -> None:
    """The wall clock of the program, SQLite's too, jumps while it runs; a wait is not changed, and
    nor is the monotonic clock."""
    assert -1 < ahead(shimmed, told) < 60
    shimmed.control.jump(3_600_000)
    assert 3599 < ahead(shimmed, told) < 3660
    shimmed.control.jump(-7_200_000)
    assert -3601 < ahead(shimmed, told) < -3540
    before = time.monotonic()
    assert before <= float(str(told("time.monotonic()"))) <= time.monotonic()
    assert told("threading.Event().wait(0.2) or time.sleep(0.1) or 1") == 1
    shimmed.control.right_clock()
    assert -1 < ahead(shimmed, told) < 60


def test_the_clock_drifts(shimmed: Shimmed, told: Told) -> None:
    """A drift adds up from where the clock was, and what it came to stays when it ends."""
    shimmed.control.jump(60_000)
    shimmed.control.drift(1_000_000)  # twice as fast
    time.sleep(0.3)
    assert ahead(shimmed, told) > 60.29
    shimmed.control.drift(0)
    stays = shimmed.control.ahead_ms
    assert ahead(shimmed, told) > 60.29
    assert shimmed.control.ahead_ms == stays


def test_a_wait_on_the_wall_clock_ends_in_time(shimmed: Shimmed) -> None:
    """A deadline that was made from the shifted clock is not an hour away."""
    shimmed.control.jump(3_600_000)
    program = """
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
class At(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]
sem = ctypes.create_string_buffer(64)
libc.sem_init(sem, 0, 0)
began = time.monotonic()
at = time.time_ns() + 100_000_000
print(libc.sem_timedwait(sem, ctypes.byref(At(at // 10**9, at % 10**9))))
print(0.05 < time.monotonic() - began < 30)
"""
    assert shimmed.run(program) == ["-1", "True"]


WRITE = "os.pwrite(os.open('{name}', os.O_RDWR | os.O_CREAT), b'x' * {length}, {at})"


def test_the_disk_is_full(shimmed: Shimmed, told: Told) -> None:
    """Files grow as far as there is room, then ENOSPC; what only overwrites goes on; new files
    and folders cannot be made; outside of the prefix nothing changes; and it ends."""
    assert told(WRITE.format(name="a", length=1000, at=0)) == 1000
    shimmed.control.fill(500)
    assert told(WRITE.format(name="a", length=1000, at=1000)) == 500
    assert told(WRITE.format(name="a", length=1000, at=1500)) == "ENOSPC"
    assert told(WRITE.format(name="a", length=1000, at=100)) == 1000
    assert told(WRITE.format(name="b", length=1, at=0)) == "ENOSPC"
    assert told("os.mkdir('folder')") == "ENOSPC"
    assert told("os.truncate('a', 5000)") == "ENOSPC"
    assert told("os.posix_fallocate(os.open('a', os.O_RDWR), 0, 5000)") == "ENOSPC"
    assert told("os.write(os.open('a', os.O_WRONLY | os.O_APPEND), b'x')") == "ENOSPC"
    assert told("open('a').seek(0, 2)") == 1500
    outside = str(shimmed.home.parent / "outside")
    assert told(WRITE.format(name=outside, length=7, at=0)) == 7
    assert shimmed.control.counts()["full"] >= 6
    shimmed.control.heal()
    assert told(WRITE.format(name="b", length=10, at=0)) == 10


def test_the_disk_fails(shimmed: Shimmed, told: Told) -> None:
    """Writes and syncs fail at the rate and in the place that was said."""
    sync = "[os.fsync(os.open('{0}', os.O_RDWR | os.O_CREAT)), '{0}'][1]"
    shimmed.control.fail(sync_every=2, under="spool")
    answers = [told(sync.format("spool.jsonl")) for _ in range(6)]
    assert answers.count("EIO") == 3
    assert [told(sync.format("other")) for _ in range(6)] == ["other"] * 6
    shimmed.control.fail(write_ppm=500_000)
    answers = [told(WRITE.format(name="spool.jsonl", length=9, at=0)) for _ in range(60)]
    assert 10 < answers.count("EIO") < 50
    shimmed.control.heal()
    assert told(sync.format("spool.jsonl")) == "spool.jsonl"
    counts = shimmed.control.counts()
    assert counts["sync_eio"] == 3
    assert counts["write_eio"] == answers.count("EIO")


def test_what_a_failed_sync_left_is_lost(shimmed: Shimmed) -> None:
    """As on Linux: a sync that succeeds after one that failed does not bring what that one should
    have; what is written again is there."""
    program = """
import os, sys
from pathlib import Path
fd = os.open("a", os.O_RDWR | os.O_CREAT)
os.fsync(fd); os.fsync(os.open(".", os.O_RDONLY))
print("made"); input()
os.pwrite(fd, b"once", 0)
try:
    os.fsync(fd)
except OSError as error:
    print(error.strerror)
input()
os.pwrite(fd, b"again", 4096)
os.fsync(fd)
print("done"); input()
"""
    process = shimmed.start(program)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "made\n"
    shimmed.control.fail(sync_every=1)
    print(file=process.stdin, flush=True)
    assert process.stdout.readline() == "Input/output error\n"
    shimmed.control.heal()
    print(file=process.stdin, flush=True)
    assert process.stdout.readline() == "done\n"
    process.kill()
    process.wait()
    shimmed.cut_power(0, "all")
    assert (shimmed.home / "a").read_bytes() == bytes(4096) + b"again"


def test_a_slow_disk(shimmed: Shimmed, told: Told) -> None:
    """A sync takes at least as long as was said."""
    shimmed.control.slow(sync_us=50_000)
    told("os.fsync(os.open('a', os.O_RDWR | os.O_CREAT))")
    began = time.monotonic()
    told("[os.fsync(os.open('a', os.O_RDWR)) for _ in range(4)]")
    assert time.monotonic() - began >= 0.2
    assert shimmed.control.counts()["delayed"] == 5


def test_short_writes(shimmed: Shimmed, told: Told) -> None:
    """A write may take only a part; Python's files write the rest by themselves."""
    shimmed.control.shorten(1_000_000)
    short = told(WRITE.format(name="a", length=1000, at=0))
    assert isinstance(short, int)
    assert 0 < short < 1000
    assert told("open('b', 'wb').write(b'y' * 30000) and os.path.getsize('b')") == 30000


def test_the_same_seed_draws_the_same(tmp_path: Path, library: Path) -> None:
    """The same seed fails the same writes; another fails others."""

    def failing(name: str, seed: int) -> list[str]:
        made = Shimmed(tmp_path / name, library, seed)
        made.control.fail(write_ppm=300_000)
        program = """
import os
fd = os.open("a", os.O_RDWR | os.O_CREAT)
for n in range(40):
    try: os.pwrite(fd, b"x", n); print(1)
    except OSError: print(0)
"""
        try:
            return made.run(program)
        finally:
            made.close()

    assert failing("one", 5) == failing("two", 5) != failing("three", 6)


def test_a_wrong_control_file_changes_nothing(shimmed: Shimmed) -> None:
    """A control file of another version is not read as if it were this one."""
    shimmed.control.jump(3_600_000)
    page = bytearray(shimmed.control.path.read_bytes())
    page[8] ^= 0xFF
    shimmed.control.path.write_bytes(page)
    assert abs(float(shimmed.run("import time; print(time.time())")[0]) - time.time()) < 60


def test_a_program_under_the_shim_may_start_others(shimmed: Shimmed) -> None:
    """Forks and children work, and what they sync is kept as well."""
    program = """
import os, subprocess, sys, threading
def work():
    for n in range(200):
        with open(f"t{n % 7}", "ab") as file:
            file.write(b"x" * 100)
thread = threading.Thread(target=work); thread.start()
for n in range(5):
    pid = os.fork()
    if pid == 0:
        fd = os.open(f"child{n}", os.O_RDWR | os.O_CREAT); os.write(fd, b"of a fork"); os.fsync(fd)
        os.fsync(os.open(".", os.O_RDONLY)); os._exit(0)
    os.waitpid(pid, 0)
thread.join()
put = "import os; f = open('other', 'w'); f.write('of a child'); f.flush(); os.fsync(f.fileno());" \
      "os.fsync(os.open('.', os.O_RDONLY))"
subprocess.run([sys.executable, "-c", put], check=True)
"""
    shimmed.run(program)
    shimmed.cut_power(0, "all")
    assert {(shimmed.home / f"child{n}").read_text() for n in range(5)} == {"of a fork"}
    assert (shimmed.home / "other").read_text() == "of a child"


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the shim cannot be made, the reason comes with what would help."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install a C compiler" in shim.available()
    with pytest.raises(shim.ShimUnusable, match="install a C compiler"):
        shim.build(tmp_path)
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'no headers here' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(shim.ShimUnusable, match="no headers here"):
        shim.build(tmp_path / "folder")


def test_the_library_is_made_once(library: Path) -> None:
    """The same sources give the same file, which is not made again."""
    made = library.stat().st_mtime_ns
    assert shim.build(library.parent) == library
    assert library.stat().st_mtime_ns == made
