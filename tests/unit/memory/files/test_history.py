"""The home's own history: every change is kept, by whom it was, and can be taken back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stead.core.errors import NotFound
from stead.memory.files import cards, history
from stead.memory.files.history import CannotUndo, NoHistory, commit, commits, settle, undo
from stead.memory.files.read import entries_of

CARD = "memory/cards/boiler.md"
DAY = "memory/2026-11-20.md"

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None and not os.environ.get("CI"), reason="git is not installed"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "memory" / "cards").mkdir(parents=True)
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "stead.toml").write_text("x = 1\n")
    return tmp_path


def put(home: Path, path: str, text: str) -> None:
    (home / path).write_text(text)


def told(home: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.message, one.paths) for one in reversed(commits(home, limit=100))]


def test_who_changed_what(home: Path) -> None:
    """Each change of stead's own is a commit; what others did is committed apart, before it; so
    are lines of the daily log. Nothing new: no commit."""
    put(home, DAY, "- a\n")
    put(home, CARD, "- a\n")
    assert len(settle(home)) == 2
    assert settle(home) == []
    put(home, "memory/USER.md", "by hand\n")
    put(home, CARD, "- a\n- b\n")
    put(home, "knowledge/journal.jsonl", "{}\n")
    assert commit(home, "learnt b\n", [CARD])
    assert commit(home, "nothing", [CARD]) == ""
    (home / "memory/USER.md").unlink()
    settle(home)
    assert told(home) == [
        ("daily log", (DAY,)),
        ("by hand", (CARD, "stead.toml")),
        ("knowledge", ("knowledge/journal.jsonl",)),
        ("by hand", ("memory/USER.md",)),
        ("learnt b", (CARD,)),
        ("by hand", ("memory/USER.md",)),
    ]
    assert [one.message for one in commits(home, CARD)] == ["learnt b", "by hand"]
    assert "+- b" in history.diff(home, commits(home, CARD)[0].id)
    assert history.content(home, CARD, commits(home, CARD)[1].id) == b"- a\n"


def test_a_change_in_the_same_tick_is_seen(home: Path) -> None:
    """A file of the same size, changed at once after it was kept, is kept again."""
    for number in range(10):
        put(home, CARD, f"- {number}\n")
        assert settle(home), number


def test_undo(home: Path) -> None:
    """A change is taken back, with what came later in other lines left as it is; undone again by
    its name it comes back. What cannot be separated is refused."""
    body = "".join(f"- {n}\n" for n in range(20))
    put(home, CARD, body)
    settle(home)
    put(home, CARD, body.replace("- 3\n", "- three\n"))
    first = commit(home, "three", [CARD])
    put(home, CARD, body.replace("- 3\n", "- three\n") + "- end\n")
    done = undo(home, first[:10])
    assert done.message == "three" and (home / CARD).read_text() == body + "- end\n"
    undo(home, done.id)
    assert "- three\n" in (home / CARD).read_text()
    put(home, CARD, body.replace("- 3\n", "- drei\n"))
    with pytest.raises(CannotUndo, match="same lines"):
        undo(home, first)
    assert "- drei\n" in (home / CARD).read_text()
    with pytest.raises(NotFound):
        undo(home, "ffffffff")
    with pytest.raises(NotFound):
        undo(home, "--help")


def test_undo_of_the_latest(home: Path) -> None:
    """Without a name it is the latest change that is not undone yet; a new file goes, a removed
    one comes back; daily logs and the journal are left alone."""
    put(home, CARD, "- a\n")
    settle(home)
    put(home, "memory/cards/new.md", "- new\n")
    commit(home, "new card", ["memory/cards/new.md"])
    (home / CARD).unlink()
    commit(home, "gone", [CARD])
    put(home, DAY, "- a\n")
    put(home, "knowledge/journal.jsonl", "{}\n")
    assert undo(home).message == "gone" and (home / CARD).read_text() == "- a\n"
    assert undo(home).message == "new card" and not (home / "memory/cards/new.md").exists()
    assert (home / DAY).exists()
    day = next(one for one in commits(home, limit=50) if one.message == "daily log")
    with pytest.raises(CannotUndo, match="stay"):
        undo(home, day.id)


def test_nothing_from_outside_has_a_say(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks, the user's configuration, attributes, ignore files and a repository of the owner's
    own in memory/ change nothing; none of them is run or needed."""
    trap = home / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {home}/sprung\n")
    trap.chmod(0o755)
    config = home / "config"
    config.write_text(f"[core]\nhooksPath = {home}\nfsmonitor = {trap}\n[filter \"x\"]\n"
                      f"clean = {trap}\n[user]\nname = x\n")  # fmt: skip
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(home / "elsewhere"))
    shutil.copy(trap, home / "post-commit")
    put(home, "memory/.gitattributes", "*.md filter=x\n")
    put(home, "memory/.gitignore", "*\n")
    subprocess.run(["git", "init", "-q", "memory"], cwd=home, check=True,
                   env={"PATH": os.environ["PATH"], "HOME": str(home)})  # fmt: skip
    put(home, CARD, "- a\n")
    settle(home)
    assert told(home) == [("by hand", (CARD, "stead.toml"))]
    assert not (home / "sprung").exists()
    assert (home / "history").stat().st_mode & 0o077 == 0


def test_odd_names(home: Path) -> None:
    """Names with blanks, quotes, umlauts and dashes are files like others."""
    names = [f"memory/cards/{name}.md" for name in ("a b", 'q"uote', "ä", "-x", "t\tab", ":(top)")]
    for name in names:
        put(home, name, "x\n")
    settle(home)
    assert set(told(home)[0][1]) == {*names, "stead.toml"}
    for name in names:
        put(home, name, "y\n")
        made = commit(home, "y", [name])
        assert history.content(home, name, made) == b"y\n"
        assert [one.message for one in commits(home, name)] == ["y", "by hand"]
        undo(home, made)
        assert (home / name).read_text() == "x\n"


def test_without_git(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program nothing fails but what needs it, and that says why."""
    monkeypatch.setenv("PATH", str(home))
    put(home, CARD, "- a\n")
    assert settle(home) == [] and commit(home, "x", [CARD]) == ""
    with pytest.raises(NoHistory, match="git is not installed"):
        commits(home)
    with pytest.raises(NoHistory):
        undo(home)


def test_a_broken_history_says_so(home: Path) -> None:
    """A history that is damaged is an error in words, not an empty one."""
    settle(home)
    shutil.rmtree(home / "history" / "objects")
    with pytest.raises(NoHistory):
        commits(home)


def test_killed_while_it_commits(home: Path) -> None:
    """Killed at any moment, the history holds whole commits, and the next one is made."""
    script = (
        "import sys; from pathlib import Path; from stead.memory.files import history\n"
        "home = Path(sys.argv[1]); print('go', flush=True)\n"
        "for number in range(1000):\n"
        f"    (home / {CARD!r}).write_text(f'- {{number}}\\n')\n"
        f"    history.commit(home, f'step {{number}}', [{CARD!r}])\n"
    )
    for pause in (0.05, 0.2, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(home)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline() == "go\n"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        put(home, CARD, f"- after {pause}\n")
        settle(home)
        latest = commits(home, limit=1)[0]
        assert history.content(home, CARD, latest.id) == f"- after {pause}\n".encode()
        for one in commits(home, limit=30):
            history.diff(home, one.id)


def test_what_is_forgotten_is_in_no_version(home: Path) -> None:
    """The history begins anew, with the files as they are."""
    put(home, CARD, "- the word\n")
    settle(home)
    put(home, CARD, "- forgotten\n")
    history.forget_all(home)
    assert len(commits(home)) == 1
    found = subprocess.run(
        ["git", "--git-dir", str(home / "history"), "rev-list", "--all", "--objects"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len([line for line in found.stdout.splitlines() if CARD in line]) == 1


def test_an_undo_that_was_killed(home: Path) -> None:
    """Killed between any two files, an undo is made whole by making it again."""
    names = [f"memory/cards/{name}.md" for name in "abc"]
    for name in names:
        put(home, name, "- old\n")
    settle(home)
    for name in names:
        put(home, name, "- new\n")
    made = commit(home, "new", names)
    for cut in range(1, 3):
        for name in names:
            put(home, name, "- new\n")
        for name in names[:cut]:
            put(home, name, "- old\n")
        undo(home, made)
        assert {(home / name).read_text() for name in names} == {"- old\n"}


def test_where_nothing_can_be_written(home: Path) -> None:
    """A history that cannot be written says why, and a card is closed all the same."""
    put(home, CARD, "---\ntopic: x\n---\n\n- a\n")
    (home / "history").write_text("in the way")
    with pytest.raises(NoHistory, match="history"):
        settle(home)
    (entry,) = entries_of(home, CARD)
    assert cards.close(home, entry, entry.at or 1_700_000_000_000, "over")
    assert "~~a~~" in (home / CARD).read_text()


def test_links_are_kept_by_what_they_lead_to(home: Path) -> None:
    """What is remembered through a link is in the history too; a link in a circle is no trap."""
    (home / "elsewhere").mkdir()
    put(home, "elsewhere/x.md", "- x\n")
    (home / "memory" / "linked").symlink_to(home / "elsewhere")
    (home / "memory" / "round").symlink_to(home / "memory")
    settle(home)
    assert told(home) == [("by hand", ("memory/linked/x.md", "stead.toml"))]


def test_an_object_that_is_gone(home: Path) -> None:
    """Where an object was taken out of the history (something was forgotten), the next but one
    change is kept again."""
    put(home, CARD, "- a\n")
    os.utime(home / CARD, (1_700_000_000, 1_700_000_000))
    settle(home)
    shutil.rmtree(home / "history" / "objects")
    (home / "history" / "objects").mkdir()
    (home / "history" / "refs" / "heads" / "main").unlink()
    with pytest.raises(NoHistory):
        settle(home)
    assert settle(home) and told(home) == [("by hand", (CARD, "stead.toml"))]
