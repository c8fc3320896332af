"""A power cut takes what was not synced, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from stead.chaos.faults import power
from tests.unit.chaos.shimmed import Shimmed

COMMITS = """
import apsw, os, sys
db = apsw.Connection("state.db")
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE IF NOT EXISTS kept (n INTEGER PRIMARY KEY, more)")
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
os.fsync(os.open(".", os.O_RDONLY))
db.execute("PRAGMA synchronous = " + sys.argv[1])
db.execute("PRAGMA wal_autocheckpoint = 40")
n = db.execute("SELECT coalesce(max(n), 0) FROM kept").get
for n in range(n + 1, 100_000):
    db.execute("INSERT INTO kept VALUES (?, randomblob(700))", (n,))
    print(n)
"""


def commits(shimmed: Shimmed, synchronous: str, count: int) -> int:
    """Commit until a number was acknowledged, ``kill -9`` wherever that is; the last one told."""
    said = shimmed.until_killed(COMMITS, synchronous, line=str(count))
    return max([count, *(int(line) for line in said if line.isdigit())])


def kept(home: Path) -> list[int]:
    db = apsw.Connection(str(home / "state.db"))
    try:
        assert db.execute("PRAGMA integrity_check").get == "ok"
        return [row[0] for row in db.execute("SELECT n FROM kept ORDER BY n")]
    finally:
        db.close()


@pytest.mark.parametrize("mode", ["all", "some"])
def test_what_was_acknowledged_is_there(shimmed: Shimmed, mode: power.Mode) -> None:
    """With synchronous=FULL every commit that was acknowledged outlives power cut after power cut,
    at any instant, torn or not; at most the one under way is there besides."""
    last = 0
    for seed in range(4):
        told = commits(shimmed, "FULL", last + 60 + 17 * seed)
        shimmed.cut_power(seed, mode)
        there = kept(shimmed.home)
        assert there in (list(range(1, told + 1)), list(range(1, told + 2)))
        last = len(there)


def test_what_was_never_synced_is_not(shimmed: Shimmed) -> None:
    """The shim bites: with synchronous=OFF acknowledged commits are lost."""
    told = commits(shimmed, "OFF", 100)
    loss = shimmed.cut_power(0, "all")
    assert loss.files
    db = apsw.Connection(str(shimmed.home / "state.db"))
    assert db.execute("SELECT count(*) FROM kept").get < told
    db.close()


def test_a_kill_alone_takes_nothing(shimmed: Shimmed) -> None:
    """SIGKILL without a power cut leaves everything, synced or not; and what an earlier process
    left unsynced is made durable by the sync of a later one."""
    shimmed.until_killed(
        "open('a', 'w').write('first'); print('done', flush=True); input()", line="done"
    )
    assert (shimmed.home / "a").read_text() == "first"
    shimmed.until_killed(
        "import os; f = open('a', 'a'); f.write(' second'); f.flush(); os.fsync(f.fileno());"
        "os.fsync(os.open('.', os.O_RDONLY)); print('done', flush=True); input()",
        line="done",
    )
    assert not shimmed.cut_power(0, "all")
    assert (shimmed.home / "a").read_text() == "first second"


NAMES = """
import os
def put(name, text, sync):
    with open(name, "w") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())
folder = os.open(".", os.O_RDONLY)
put("old", "old", True)
put("gone", "gone", True)
os.fsync(folder)
put("new", "new", True)
os.replace("new", "old")
put("made", "made", True)
os.unlink("gone")
put("empty", "no content", False)
{sync}
print("done", flush=True)
input()
"""


def test_names_last_from_the_sync_of_their_folder_on(shimmed: Shimmed) -> None:
    """A rename, a new file and a removal are undone unless their folder was synced."""
    shimmed.until_killed(NAMES.format(sync=""), line="done")
    loss = shimmed.cut_power(0, "all")
    assert {path.name for path in shimmed.home.iterdir()} == {"old", "gone"}
    assert (shimmed.home / "old").read_text() == "old"
    assert {"old", "made", "gone"} <= set(loss.names)

    shimmed.until_killed(NAMES.format(sync="os.fsync(folder)"), line="done")
    shimmed.cut_power(0, "all")
    there = {path.name: path.read_text() for path in shimmed.home.iterdir()}
    assert there == {"old": "new", "made": "made", "empty": ""}


def test_a_rename_is_whole(shimmed: Shimmed) -> None:
    """Of an unsynced rename either both sides happened or none; which one is drawn."""
    seen = set()
    for seed in range(12):
        shimmed.until_killed(NAMES.format(sync=""), line="done")
        shimmed.cut_power(seed, "some")
        seen.add((shimmed.home / "old").read_text())
        assert not (shimmed.home / "new").exists()
    assert seen == {"old", "new"}


def test_a_sync_of_the_data_may_bring_the_name(shimmed: Shimmed) -> None:
    """With ``names_with_data`` a new file that was synced is there without a sync of its folder."""
    shimmed.control.modes(names_with_data=True)
    program = """
import os
for name in ("with", "without"):
    file = open(name, "w"); file.write(name); file.flush()
    if name == "with": os.fdatasync(file.fileno())
print("done", flush=True); input()
"""
    shimmed.until_killed(program, line="done")
    shimmed.cut_power(0, "all")
    assert {path.name: path.read_text() for path in shimmed.home.iterdir()} == {"with": "with"}


WAYS = """
import os, sys
data = bytes(range(256)) * 64
def fd_of(name):
    return os.open(name, os.O_RDWR | os.O_CREAT)
def write(fd): os.write(fd, data)
def pwrite(fd): os.pwrite(fd, data, 5000)
def writev(fd): os.writev(fd, [data[:100], b"", data[100:]])
def pwritev(fd): os.pwritev(fd, [data, data], 9000)
def append(fd): os.write(os.open(f"append-{sys.argv[1]}", os.O_WRONLY | os.O_APPEND), data)
def sendfile(fd): os.sendfile(fd, os.open("source", os.O_RDONLY), 0, len(data))
def copy(fd): os.copy_file_range(os.open("source", os.O_RDONLY), fd, len(data))
def cut(fd): os.write(fd, data); os.ftruncate(fd, 77); os.ftruncate(fd, 9999)
def stretch(fd): os.posix_fallocate(fd, 0, 10000)
def path(fd): os.write(fd, data); os.truncate(f"path-{sys.argv[1]}", 123)
ways = [write, pwrite, writev, pwritev, append, sendfile, copy, cut, stretch, path]
s = fd_of("source"); os.write(s, data); os.fsync(s)
for way in ways:
    fd = fd_of(f"{way.__name__}-{sys.argv[1]}")
    os.write(fd, b"before" * 3000); os.fsync(fd); os.lseek(fd, 0, 0)
os.fsync(os.open(".", os.O_RDONLY))
for way in ways:
    fd = os.open(f"{way.__name__}-{sys.argv[1]}", os.O_RDWR)
    way(fd)
    if sys.argv[1] == "synced":
        os.fdatasync(fd)
print("done", flush=True); input()
"""


def test_every_way_to_write_is_seen(shimmed: Shimmed) -> None:
    """However a file is changed: synced it is kept to the byte, unsynced it is as it was."""
    shimmed.until_killed(WAYS, "synced", line="done")
    written = {path.name: path.read_bytes() for path in shimmed.home.iterdir()}
    assert not shimmed.cut_power(0, "all")
    assert {path.name: path.read_bytes() for path in shimmed.home.iterdir()} == written
    shimmed.until_killed(WAYS, "not", line="done")
    loss = shimmed.cut_power(0, "all")
    after = {path.name: path.read_bytes() for path in shimmed.home.iterdir()}
    lost = {name for name in after if name.endswith("-not")}
    assert len(lost) == 10
    assert {after[name] for name in lost} == {b"before" * 3000}
    assert set(loss.files) == lost - {"stretch-not"}


def test_files_are_torn(shimmed: Shimmed) -> None:
    """Of what was not synced a real disk may keep some: sectors of both, nothing else; the same
    seed tears the same way."""
    program = """
import os
fd = os.open("torn", os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b"a" * 65536, 0); os.fsync(fd); os.fsync(os.open(".", os.O_RDONLY))
os.pwrite(fd, b"b" * 65536, 0)
print("done", flush=True); input()
"""
    outcomes = []
    for seed in (*range(8), *range(8)):
        shimmed.until_killed(program, line="done")
        shimmed.cut_power(seed)
        outcomes.append((shimmed.home / "torn").read_bytes())
        for at in range(0, 65536, 512):
            assert outcomes[-1][at : at + 512] in (b"a" * 512, b"b" * 512)
    assert outcomes[:8] == outcomes[8:]
    assert any(b"a" in torn and b"b" in torn for torn in outcomes)


SPOOL = """
import sys
from pathlib import Path
from stead.core.nouns import Step
from stead.core.states import StepState
from stead.core.wire import Event, Events
from stead.node.spool import Spool
spool = Spool(Path("spool"), compact_bytes=4096)
for left in spool.left:
    print("left", left.id)
start = int(sys.argv[1])
for number in range(start, start + 5000):
    step = Step(number, "tool:clock", "0" * 64, StepState.DONE, output="x" * (number % 300))
    spool.append(Events(f"{number}", "job", 1, [Event(number, "step", step=step)])).result()
    print("kept", number)
    if number % 3:
        print("gone", number)
        spool.acknowledge([f"{number}"])
    if number == start + int(sys.argv[2]):
        print("enough")
"""


def test_the_spool_keeps_what_it_said_it_kept(shimmed: Shimmed) -> None:
    """Every report whose append was done and that was not acknowledged is there after the power
    failed, through compactions and torn ends; no report is there that was never written."""
    owed: set[str] = set()
    written: set[str] = set()
    rng = random.Random(5)
    start = 1
    for seed in range(6):
        said = shimmed.until_killed(SPOOL, str(start), str(rng.randrange(20, 120)), line="enough")
        left = {line.split()[1] for line in said if line.startswith("left")}
        assert owed <= left <= written
        kept = {line.split()[1] for line in said if line.startswith("kept")}
        gone = {line.split()[1] for line in said if line.startswith("gone")}
        owed = (owed | kept) - gone
        start += 5000
        written |= {str(n) for n in range(start - 5000, start)}
        shimmed.cut_power(seed)
