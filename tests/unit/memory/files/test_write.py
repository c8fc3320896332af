"""Files of memory are written whole or not at all, and never over what others wrote."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import BadRequest, NotFound
from stead.memory.daily import append_lines
from stead.memory.files import cards, write
from stead.memory.files.marks import Marks
from stead.memory.files.read import entries_of
from stead.memory.files.write import ChangesMuch, Guards, Shrinks, Stale, TooLong, load, save

CARD = "memory/cards/boiler.md"
CALLS = ("write", "fsync", "rename", "replace", "unlink", "link", "fchmod")
NOW = int(datetime(2026, 11, 21, 12).timestamp() * 1000)
THEN = int(datetime(2026, 3, 14, 12).timestamp() * 1000)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "memory" / "cards").mkdir(parents=True)
    return tmp_path


def lines(count: int, word: str = "entry") -> str:
    return "".join(f"- {word} number {number}\n" for number in range(count))


def test_a_file_is_made_and_changed(home: Path) -> None:
    """What was saved is what is loaded, for the owner's eyes alone; nothing else is left behind."""
    base = save(home, CARD, "- a\n", base="")
    assert load(home, CARD) == write.Text(CARD, "- a\n", base)
    again = save(home, CARD, "- a\n- b\n", base=base)
    assert load(home, CARD).base == again != base
    assert (home / CARD).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (home / "memory" / "cards").iterdir()] == ["boiler.md"]


def test_what_others_wrote_meanwhile_stays(home: Path) -> None:
    """A file that was changed, made or removed since it was read is not written over."""
    base = save(home, CARD, "- a\n", base="")
    (home / CARD).write_text("- by hand\n")
    with pytest.raises(Stale, match="boiler"):
        save(home, CARD, "- b\n", base=base)
    with pytest.raises(Stale):
        save(home, CARD, "- b\n", base="")
    assert (home / CARD).read_text() == "- by hand\n"
    (home / CARD).unlink()
    with pytest.raises(Stale):
        save(home, CARD, "- b\n", base=base)
    assert not (home / CARD).exists()


@pytest.mark.parametrize("swaps", [True, False])
def test_an_editor_that_saves_in_the_last_moment(
    home: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool
) -> None:
    """An edit by hand between the last look and the rename is found, and stays."""
    base = save(home, CARD, "- a\n", base="")
    real = write._replace

    def late(path: str, temporary: Path, file: Path, base: str) -> None:
        file.write_text("- in the last moment\n")
        real(path, temporary, file, base)

    monkeypatch.setattr(write, "_replace", late)
    if not swaps:
        monkeypatch.setattr(write, "_exchanged", lambda one, other: False)
    with pytest.raises(Stale):
        save(home, CARD, "- b\n", base=base)
    assert (home / CARD).read_text() == "- in the last moment\n"
    assert len(list((home / "memory" / "cards").iterdir())) == 1


def test_many_writers(home: Path) -> None:
    """Of many that change the same file at once none undoes what another did."""
    save(home, CARD, "", base="")

    def add(number: int) -> None:
        while True:
            held = load(home, CARD)
            try:
                save(home, CARD, held.text + f"- {number}\n", base=held.base)
                return
            except Stale:
                continue

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted((home / CARD).read_text().splitlines()) == [f"- {number}" for number in range(8)]


def test_guards(home: Path) -> None:
    """No step by itself takes more than a fifth of a file, or changes more than so many entries;
    additions are free. The owner's own hand may."""
    text = lines(100)
    base = save(home, CARD, text, base="")
    with pytest.raises(Shrinks, match="stead memory edit"):
        save(home, CARD, text[: len(text) // 2], base=base, guards=Guards())
    with pytest.raises(Shrinks):
        save(home, CARD, "", base=base, guards=Guards())
    with pytest.raises(ChangesMuch):
        save(home, CARD, lines(100, "trick"), base=base, guards=Guards(entries=99))
    with pytest.raises(BadRequest):
        save(home, "memory/2026-11-20.md", "x", base="", guards=Guards())
    assert (home / CARD).read_text() == text
    base = save(home, CARD, text + lines(500, "new"), base=base, guards=Guards())
    save(home, CARD, "- one\n", base=base)


def test_memory_md_is_kept_short(home: Path) -> None:
    """MEMORY.md is not made longer than it may be, and never cut: it is said. One that the owner
    made longer may be changed, but not grow."""
    guards = Guards(memory_md_bytes=1000)
    path = "memory/MEMORY.md"
    base = save(home, path, lines(10), base="", guards=guards)
    with pytest.raises(TooLong, match="memory_md_kb"):
        save(home, path, lines(100), base=base, guards=guards)
    assert write.too_long(home, guards) == ""
    base = save(home, path, lines(100), base=base)
    assert "1000" in write.too_long(home, guards)
    save(home, path, lines(99), base=base, guards=guards)


def test_secrets_are_masked_before_they_are_written(home: Path) -> None:
    """No card holds a key or the number of a card."""
    (home / "secrets").mkdir()
    (home / "secrets" / "x.secret").write_text("battery staple")
    save(home, CARD, "- 4111 1111 " + "1111 1111, battery staple\n", base="")
    assert (home / CARD).read_text() == (
        "- [masked: card number ending in 1111], [masked: secret x]\n"
    )


def test_bytes_that_are_no_text_survive(home: Path) -> None:
    """A change of one line costs no byte of the others, whatever they are."""
    (home / CARD).write_bytes(b"- caf\xe9\r\n- b\r\n")
    held = load(home, CARD)
    save(home, CARD, held.text + "- c\n", base=held.base, guards=Guards())
    assert (home / CARD).read_bytes() == b"- caf\xe9\r\n- b\r\n- c\n"


def test_a_link_stays_a_link(home: Path) -> None:
    """A file that is linked in from elsewhere is written where it lies, and keeps its mode."""
    real = home / "real.md"
    real.write_text("a\n")
    real.chmod(0o640)
    (home / CARD).symlink_to(real)
    save(home, CARD, "b\n", base=load(home, CARD).base)
    assert (home / CARD).is_symlink() and real.read_text() == "b\n"
    assert real.stat().st_mode & 0o777 == 0o640


# --- bad luck --------------------------------------------------------------------------------


def run_and_die(at: int, work: Callable[[], object], half: bool) -> bool:
    """Do the work in a process that is killed at the ``at``-th call of the system, before it or, if
    ``half``, after it (of a write: when half of it is written). Whether it lived to the end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _deadly(at, half)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert status == 0
    return True


def _deadly(at: int, half: bool) -> None:
    count = 0

    def wrap(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count != at:
                return real(*args, **more)
            if half and name == "write":
                args = (args[0], bytes(args[1])[: max(1, len(args[1]) // 2)])
            try:
                if half:
                    real(*args, **more)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name), name))
    write._exchanged = wrap(write._exchanged, "rename")


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("old", ["", lines(50)])
def test_killed_anywhere(home: Path, old: str, half: bool) -> None:
    """Killed before or after (or in the midst of) each write, sync and rename, the file is the old
    or the new one, whole; the next write succeeds and leaves nothing behind."""
    new = lines(60)
    ends = set()
    at, lived = 0, False
    while not lived:
        at += 1
        for file in (home / "memory" / "cards").iterdir():
            file.unlink()
        base = save(home, CARD, old, base="") if old else ""
        lived = run_and_die(at, lambda base=base: save(home, CARD, new, base=base), half)  # type: ignore[misc]
        held = load(home, CARD)
        assert held.text in (old, new), f"killed at {at}"
        ends.add(held.text)
        assert list(entries_of(home, CARD)) if held.base else not held.text
        save(home, CARD, lines(70), base=held.base)
        assert [file.name for file in (home / "memory" / "cards").iterdir()] == ["boiler.md"]
    assert ends == {old, new} and at > 4


@pytest.mark.parametrize("half", [False, True])
def test_the_daily_log_killed_anywhere(home: Path, half: bool) -> None:
    """Killed at each write and sync, a batch of lines that is then written again is read as each
    line once, whole."""
    texts = [f"line {number} ä" for number in range(5)]
    batch = [
        (number, NOW, f"**owner** (cli, main) [job {number}, x]: {text}")
        for number, text in enumerate(texts)
    ]
    path = "memory/2026-11-21.md"
    at, lived = 0, False
    while not lived:
        at += 1
        (home / path).unlink(missing_ok=True)
        append_lines(home / path, "2026-11-21", batch[:2])
        lived = run_and_die(at, lambda: append_lines(home / path, "2026-11-21", batch), half)
        append_lines(home / path, "2026-11-21", batch)
        assert [entry.text for entry in entries_of(home, path)] == texts, f"killed at {at}"
    assert at > 2


def test_a_full_disk(home: Path) -> None:
    """Where there is no room the error says so, and the old file is whole."""
    old = lines(50)
    base = save(home, CARD, old, base="")
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from stead.memory.files.write import save\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try:\n"
        f"    save(Path(sys.argv[1]), {CARD!r}, 'x' * 20000, base=sys.argv[2])\n"
        "except OSError as error:\n"
        "    print(error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home), base], capture_output=True, text=True, check=True
    )
    assert done.stdout == "File too large\n"
    assert (home / CARD).read_text() == old and resource
    assert [file.name for file in (home / "memory" / "cards").iterdir()] == ["boiler.md"]


# --- cards -----------------------------------------------------------------------------------


def test_a_new_card_is_read_back(home: Path) -> None:
    """What a card is made of is what its entries say, whatever words they are."""
    marks = Marks(since=THEN, source="memory/2026-03-14.md#L41@1a2b3c4d", confidence=0.8,
                  people=("Anna", "Bob"), ident="review-1")  # fmt: skip
    words = "It is red. <!-- until 2020-01-01 -->\n- really\n# no heading"
    text = cards.new("Über: den [Kessel]", [cards.item(words, marks), cards.item("b")], now_ms=NOW,
                     tags=["house", "a, b"], source="x", confidence=0.5)  # fmt: skip
    path = cards.path_of("Über: den [Kessel]")
    assert path == "memory/cards/ueber-den-kessel.md"
    save(home, path, text, base="")
    first, second = entries_of(home, path)
    assert first.title == "Über: den [Kessel]" and first.tags == (
        "house",
        "a b",
    )
    assert first.text == words.replace("<!--", "<!- -")
    assert (first.at, first.until, first.confidence) == (THEN, 0, 0.8)
    assert first.people == ("Anna", "Bob") and first.ident == "review-1"
    assert second.text == "b" and second.confidence == 0.5 and second.at == NOW
    assert cards.path_of("日本") != cards.path_of("中国")


def test_an_entry_is_closed(home: Path) -> None:
    """What ceased to hold stays, with its dates and why; its words are not rewritten."""
    text = cards.new("Net", [cards.item("The router is at 1.\nIn the hall.", Marks(since=THEN)),
                             cards.item("other")], now_ms=THEN)  # fmt: skip
    save(home, CARD, text, base="")
    entry, other = entries_of(home, CARD)
    assert cards.close(home, entry, NOW, "it is at 2", commit=False)
    closed, still = entries_of(home, CARD)
    assert "The router is at 1." in closed.text and "(until 2026-11-21: it is at 2)" in closed.text
    assert (closed.at, closed.until) == (THEN, NOW) and still.text == other.text
    assert "updated: 2026-11-21" in (home / CARD).read_text() and not still.until
    assert not cards.close(home, entry, NOW, commit=False)
    with pytest.raises(NotFound):
        cards.closed("---\n", other, NOW)


def test_cards_are_merged(home: Path) -> None:
    """Two cards become one with every entry once."""
    one = cards.new("A", [cards.item("a"), cards.item("b")], now_ms=THEN, tags=["x"])
    two = cards.new("B", [cards.item("b"), cards.item("c")], now_ms=THEN, tags=["x", "y"])
    save(home, CARD, cards.merged(one, two, now_ms=NOW), base="")
    entries = list(entries_of(home, CARD))
    assert [entry.text for entry in entries] == ["a", "b", "c"]
    assert entries[0].title == "A" and entries[0].tags == ("x", "y")
    assert "updated: 2026-11-21" in (home / CARD).read_text()
