"""Writing and editing files: what is kept of them, what is refused, what undoes it."""

from __future__ import annotations

import os
import resource
import signal
import threading
import unicodedata
from pathlib import Path

import pytest

from stead.agent.files.back import Conflict, diff_of
from stead.agent.files.book import Limits, set_limits
from stead.agent.files.tree import Refused, Tree
from tests.unit.agent.files.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "secret.txt").write_text("the secret\n")
    (tmp_path / "outside").mkdir()
    return Desk(tmp_path)


def test_write_edit_and_back(desk: Desk) -> None:
    """A file is written with its folders, edited, and each change is taken back in turn; the
    taking back can be taken back too."""
    assert "new, 12 bytes" in desk.use("write_file", path="a/b.txt", content="hello\nworld\n")
    assert "in line 2" in desk.use("edit_file", path="a/b.txt", old="world", new="moon")
    assert (desk.work / "a" / "b.txt").read_text() == "hello\nmoon\n"
    desk.use("write_file", path="a/b.txt", content="more", append=True)
    pictures = [desk.picture()]
    ids = desk.changes()
    for ident in ids:
        desk.undo(ident)
        pictures.append(desk.picture())
    assert pictures[1]["a/b.txt"] == (b"hello\nmoon\n", 0o644)
    assert pictures[2]["a/b.txt"] == (b"hello\nworld\n", 0o644)
    assert pictures[3] == {}
    for back in range(2, -1, -1):
        desk.undo(desk.changes()[2 * (2 - back)])
        assert desk.picture() == pictures[back]


def test_mode_and_form_are_kept(desk: Desk) -> None:
    """Mode, line ends, byte order mark and encoding of a file outlive a change."""
    place = desk.work / "f.txt"
    for data, old, new, want in (
        (b"one\r\ntwo\r\nthree\r\n", "one\ntwo", "1\n2", b"1\r\n2\r\nthree\r\n"),
        (b"\xef\xbb\xbfone\n", "one", "eins", b"\xef\xbb\xbfeins\n"),
        ("naïve\n".encode("cp1252"), "na", "Na", "Naïve\n".encode("cp1252")),
        ("\ufeffone\n".encode("utf-16-le"), "one", "öne", "\ufefföne\n".encode("utf-16-le")),
        (b"a\nb\r\nc\n", "c", "d", b"a\nb\r\nd\n"),
        (b"\x81\x8d\n", "\x81", "x", b"x\x8d\n"),
    ):
        place.write_bytes(data)
        place.chmod(0o750)
        desk.use("edit_file", path="f.txt", old=old, new=new)
        assert place.read_bytes() == want
        assert place.stat().st_mode & 0o7777 == 0o750
    place.write_bytes(b"x\r\ny\r\n")
    desk.use("write_file", path="f.txt", content="a\nb\nc\n")
    assert place.read_bytes() == b"a\r\nb\r\nc\r\n"
    place.write_bytes("café\n".encode("latin-1"))
    assert "cannot hold" in desk.refused("edit_file", path="f.txt", old="caf", new="\u2603")


def test_no_set_user_id_bit_lives_on(desk: Desk) -> None:
    """What a model wrote never runs as somebody else."""
    (desk.work / "tool").write_text("#!/bin/sh\n")
    (desk.work / "tool").chmod(0o4755)
    desk.use("write_file", path="tool", content="#!/bin/sh\necho\n")
    assert (desk.work / "tool").stat().st_mode & 0o7777 == 0o755


def test_an_edit_that_does_not_fit_says_where(desk: Desk) -> None:
    """No match: the nearest text and its line; several: their lines; nothing is changed."""
    (desk.work / "f.py").write_text("def one():\n    return 1\n\ndef two():\n    return 1\n")
    before = desk.picture()
    assert "line 4" in desk.refused("edit_file", path="f.py", old="def tow():", new="x")
    told = desk.refused("edit_file", path="f.py", old="return 1", new="return 2")
    assert "2 times" in told
    assert "lines 2, 5" in told
    assert "same" in desk.refused("edit_file", path="f.py", old="one", new="one")
    assert "empty" in desk.refused("edit_file", path="f.py", old="", new="one")
    assert "Nothing in it is like" in desk.refused("edit_file", path="f.py", old="§§§§", new="")
    assert desk.picture() == before
    assert "2 places" in desk.use("edit_file", path="f.py", old="return 1", new="pass", all=True)


def test_a_file_is_not_shrunk_by_the_way(desk: Desk) -> None:
    """A model that writes "..." over a long file is stopped, unless it means it."""
    (desk.work / "long.md").write_text("text\n" * 500)
    assert "overwrite=true" in desk.refused("write_file", path="long.md", content="...")
    assert (desk.work / "long.md").stat().st_size == 2500
    desk.use("write_file", path="long.md", content="...", overwrite=True)
    desk.undo()
    assert (desk.work / "long.md").stat().st_size == 2500


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "/etc/stead-test", "link.txt", "away/x", "a/../../x", "dangling", "x\0y", ""],
)
def test_nothing_outside_is_written(desk: Desk, path: str) -> None:
    """No way of writing a path and no link leads out of the workspace."""
    (desk.work / "link.txt").symlink_to(desk.top / "secret.txt")
    (desk.work / "away").symlink_to(desk.top / "outside")
    (desk.work / "dangling").symlink_to(desk.top / "not-there")
    (desk.work / "a").mkdir()
    desk.refused("write_file", path=path, content="mine", overwrite=True)
    desk.refused("edit_file", path=path, old="secret", new="mine")
    assert (desk.top / "secret.txt").read_text() == "the secret\n"
    assert not (desk.top / "not-there").exists()
    assert os.listdir(desk.top / "outside") == []
    assert not Path("/etc/stead-test").exists()


def test_odd_files_are_refused(desk: Desk) -> None:
    """Pipes, sockets' kin, folders and files of stead's own and git's own are not written to."""
    os.mkfifo(desk.work / "pipe")
    (desk.work / "folder").mkdir()
    (desk.work / ".git").mkdir()
    for path in ("pipe", "folder", ".stead-abc.tmp", ".git/hooks/post-commit"):
        desk.refused("write_file", path=path, content="x")
    (desk.work / "fixed").write_text("x")
    (desk.work / "fixed").chmod(0o444)
    assert "write-protected" in desk.refused("write_file", path="fixed", content="y")
    assert desk.changes() == []


def test_other_names_of_a_file_keep_what_it_was(desk: Desk) -> None:
    """A file with a second name outside (a hard link) is not changed there."""
    os.link(desk.top / "secret.txt", desk.work / "hard")
    desk.use("write_file", path="hard", content="mine\n", overwrite=True)
    assert (desk.top / "secret.txt").read_text() == "the secret\n"


def test_odd_names(desk: Desk) -> None:
    """A name that was shown can be given back: line breaks, bytes that are no UTF-8, blanks."""
    for name in (b"a\nb", b"\xff\xfe.txt", b" blank ", b'"q"', "\u202egpj.exe".encode(), b"t\tt"):
        (desk.work / os.fsdecode(name)).write_text("old")
    told = desk.use("list_files").split("\n")
    assert len(told) == 6
    for line in told:
        shown = line.rpartition(" ")[0].rpartition(" ")[0]
        assert shown.isprintable()
        desk.use("edit_file", path=shown, old="old", new="new")
    assert all(path.read_text() == "new" for path in desk.work.iterdir())
    assert len(os.listdir(desk.work)) == 6


def test_one_name_in_two_normal_forms(desk: Desk) -> None:
    """A file named by another system is found by the name that a model writes."""
    name = unicodedata.normalize("NFD", "Café.txt")
    (desk.work / name).write_text("old")
    desk.use("edit_file", path=unicodedata.normalize("NFC", "Café.txt"), old="old", new="new")
    desk.use("write_file", path=unicodedata.normalize("NFC", "Café.txt"), content="newer")
    assert os.listdir(desk.work) == [name]
    desk.use("write_file", path="Notes.md", content="x")
    assert "'Notes.md'" in desk.refused("edit_file", path="notes.md", old="x", new="y")


def test_an_edit_of_someone_else_is_not_lost(desk: Desk) -> None:
    """While another program saves the file again and again, each change either finds it as it
    was read or is refused; none of the other's is overwritten unseen."""
    place = desk.work / "shared.txt"
    place.write_text("count 0\nother 0\n")
    stop = threading.Event()
    saved = 0

    def other() -> None:
        nonlocal saved
        while not stop.is_set():
            count, said, _ = place.read_text().split("\n")
            if said == f"other {saved}":  # else it was lost, and stays so
                (desk.top / "beside").write_text(f"{count}\nother {saved + 1}\n")
                os.replace(desk.top / "beside", place)
                saved += 1

    thread = threading.Thread(target=other)
    thread.start()
    changed = 0
    try:
        for _ in range(60):
            count = int(place.read_text().split()[1])
            done = desk.call(
                "edit_file", path="shared.txt", old=f"count {count}\n", new=f"count {count + 1}\n"
            )
            changed += done.ok
    finally:
        stop.set()
        thread.join()
    assert place.read_text().split("\n")[1] == f"other {saved}"
    assert saved > 10
    assert os.listdir(desk.work) == ["shared.txt"]


def test_undo_refuses_what_has_changed_since(desk: Desk) -> None:
    """The owner's later edit is shown as a diff and stays, unless he insists; then it is kept."""
    place = desk.work / "f.txt"
    place.write_text("one\n")
    desk.use("write_file", path="f.txt", content="two\n")
    place.write_text("two\nand mine\n")
    with pytest.raises(Conflict) as told:
        desk.undo()
    assert "+and mine" in told.value.diff
    assert place.read_text() == "two\nand mine\n"
    desk.undo(force=True)
    assert place.read_text() == "one\n"
    desk.undo()
    assert place.read_text() == "two\nand mine\n"


def test_binary_and_diff(desk: Desk) -> None:
    """What was binary comes back byte by byte; a diff only tells of it."""
    data = bytes(range(256)) * 40
    (desk.work / "b.bin").write_bytes(data)
    desk.use("write_file", path="b.bin", content="text", overwrite=True)
    book = desk.book
    line = next(line for line in book.lines() if line.state == "done")
    assert diff_of(book, book.read(line)) == "b.bin: file of 10240 bytes -> file of 4 bytes"
    desk.undo()
    assert (desk.work / "b.bin").read_bytes() == data


def test_a_file_too_large_to_keep_is_not_changed(desk: Desk) -> None:
    """Nothing happens that could not be undone."""
    set_limits(desk.keep / "undo", Limits(max_file_mb=0.001))
    (desk.work / "large.txt").write_text("old" + "x" * 2000)
    assert "max_file_mb" in desk.refused("edit_file", path="large.txt", old="old", new="y")
    desk.refused("write_file", path="large.txt", content="y" * 2000)
    desk.use("write_file", path="small.txt", content="y")
    with (desk.work / "sparse").open("wb") as file:
        file.truncate(5_000_000_000)
    desk.refused("write_file", path="sparse", content="y", overwrite=True)


def test_old_changes_are_forgotten(desk: Desk) -> None:
    """Over its limit the oldest go, and what they kept; the newest can still be undone."""
    set_limits(desk.keep / "undo", Limits(max_mb=0.05))
    for number in range(12):
        desk.use("write_file", path="f.txt", content=os.urandom(6000).hex() + str(number))
    blobs = list((desk.keep / "undo" / "blobs").iterdir())
    assert 1 <= len(blobs) < 9
    assert len(desk.changes()) < 12
    before = (desk.work / "f.txt").read_text()
    desk.undo()
    assert (desk.work / "f.txt").read_text() != before
    set_limits(desk.keep / "undo", Limits(keep_days=0))
    with desk.book.alone():
        desk.book.prune(now=True)
    assert desk.changes() == []
    assert list((desk.keep / "undo" / "blobs").iterdir()) == []


def test_what_a_killed_process_left_is_swept(desk: Desk) -> None:
    """Folders in which an archive was unpacked go a day after; what is new may be in use."""
    left, new = desk.keep / "undo" / "packed-old", desk.keep / "undo" / "packed-new"
    for folder in (left, new):
        folder.mkdir(parents=True)
        (folder / "0").write_text("x")
    os.utime(left, (0, 0))
    with desk.book.alone():
        desk.book.prune(now=True)
    assert (left.exists(), new.exists()) == (False, True)


def test_a_full_disk_leaves_the_old_file(desk: Desk) -> None:
    """A write that finds no room fails as a whole, wherever the room ends."""
    place = desk.work / "f.txt"
    place.write_text("old\n" * 10)
    before = desk.picture()
    for most in (0, 100, 700, 4000, 20_000):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
                done = desk.call("write_file", path="f.txt", content="x" * 30_000)
                code = 0 if not done.ok and "full" in done.text else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert desk.changes() == []
        assert desk.picture() == before


def test_what_was_kept_is_checked(desk: Desk) -> None:
    """A copy that is damaged is not put into the owner's file."""
    (desk.work / "f.txt").write_text("old " * 100)
    desk.use("write_file", path="f.txt", content="new", overwrite=True)
    blob = next((desk.keep / "undo" / "blobs").iterdir())
    blob.write_bytes(blob.read_bytes()[:-6] + b"abcdef")
    with pytest.raises(Refused):
        desk.undo()
    assert (desk.work / "f.txt").read_text() == "new"
    assert os.listdir(desk.work) == ["f.txt"]


def test_the_same_call_is_made_once(desk: Desk) -> None:
    """A job that is resumed makes its last call again: it is answered, not done again; another
    call at that place is."""
    (desk.work / "f.txt").write_text("a")
    first = desk.use("edit_file", job="j", step=4, path="f.txt", old="a", new="aa")
    assert desk.use("edit_file", job="j", step=4, path="f.txt", old="a", new="aa") == first
    assert (desk.work / "f.txt").read_text() == "aa"
    desk.use("edit_file", job="j", step=4, path="f.txt", old="aa", new="b")
    desk.use("edit_file", job="k", step=4, path="f.txt", old="b", new="bb")
    assert (desk.work / "f.txt").read_text() == "bb"


def test_names_in_the_tree(desk: Desk) -> None:
    """A link inside is written through; the link itself stays."""
    (desk.work / "real.txt").write_text("x")
    (desk.work / "here").symlink_to("real.txt")
    desk.use("write_file", path="here", content="y")
    assert (desk.work / "here").is_symlink()
    assert (desk.work / "real.txt").read_text() == "y"
    assert Tree(desk.work).find("workspace/real.txt") == ("real.txt",)
