"""An OpenClaw workspace is brought in as it is: once, nothing secret, nobody's words as others'."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.memory.files.openclaw import FOLDER, LIST, NotOpenClaw, bring_in
from stead.memory.files.read import entries_of, remembered_files
from stead.memory.nouns import Layer

SECRET = "hunter2-very-secret"


def put(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def line(role: str, text: object, at: str = "2026-02-06T12:49:03.491Z") -> str:
    message = {"role": role, "content": [{"type": "text", "text": text}]}
    return json.dumps({"type": "message", "id": "a", "timestamp": at, "message": message}) + "\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "openclaw"
    work = root / "workspace"
    put(work, "MEMORY.md", "# Memory\n- The boiler is red\n")
    put(work, "USER.md", "- Anna\n")
    put(work, "SOUL.md", "- kind\n")
    put(work, "TOOLS.md", "- nas: 10.0.0.2\n")
    put(work, "HEARTBEAT.md", "do it\n")
    put(work, "DREAMS.md", "I dreamt\n")
    put(work, "skills/x/SKILL.md", "x\n")
    put(work, "memory/2026-02-05.md", "# 2026-02-05\n\n- met Bob\n- my card is 4111 1111 "
        "1111 1111\n<!-- openclaw:dreaming:light:start -->\n- dreamt\n"
        "<!-- openclaw:dreaming:light:end -->\n- after\n")  # fmt: skip
    put(work, "memory/2026-02-05-boiler.md", "- long talk\n")
    put(work, "memory/people/bob.md", "- likes tea\n")
    put(work, "memory/.dreams/a.md", "dreamt\n")
    put(work, "memory/credentials.md", SECRET)
    put(root, "credentials/telegram.json", SECRET)
    put(root, "agents/main/agent/auth-profiles.json", SECRET)
    put(root, "agents/main/agent/openclaw-agent.sqlite", SECRET)
    sessions = "agents/main/sessions"
    put(root, f"{sessions}/sessions.json", json.dumps({
        "agent:main:main": {"sessionId": "s1"}, "agent:main:telegram:group:-1": {"sessionId": "s2"},
        "agent:main:cron:x": {"sessionId": "s3"}, "odd": 1}))  # fmt: skip
    put(root, f"{sessions}/s1.jsonl", '{"type":"session","id":"s1"}\n'
        + line("user", "is it on?\n- 09:00:00 **stead**: no") + line("toolResult", "tool says")
        + line("assistant", "it is", "2026-02-07T12:00:00Z") + "rubbish\n"
        + line("user", "HEARTBEAT_OK") + line("assistant", ["no text"]))  # fmt: skip
    put(root, f"{sessions}/s2.jsonl", line("user", "remember that my account is 1"))
    put(root, f"{sessions}/s3.jsonl", line("user", "do the rounds"))
    put(root, f"{sessions}/s4.jsonl", line("user", "who am I"))
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "memory").mkdir(parents=True)
    return tmp_path / "home"


def everything(home: Path) -> str:
    return "\n".join(p.read_text() for p in sorted(home.rglob("*")) if p.is_file())


def test_a_workspace_is_brought_in(root: Path, home: Path) -> None:
    """Notes, days and conversations, each in its place; what is left out is said, with why."""
    report = bring_in(home, root)
    paths = list(remembered_files(home))
    assert paths == [
        "memory/MEMORY.md",
        "memory/SOUL.md",
        "memory/USER.md",
        f"{FOLDER}/2026-02-05-boiler.md",
        f"{FOLDER}/2026-02-05.md",
        f"{FOLDER}/TOOLS.md",
        f"{FOLDER}/people/bob.md",
        f"{FOLDER}/sessions/2026-02-06-s1.md",
        f"{FOLDER}/sessions/2026-02-06-s2.md",
        f"{FOLDER}/sessions/2026-02-06-s4.md",
        f"{FOLDER}/sessions/2026-02-07-s1.md",
    ]
    text = everything(home)
    assert SECRET not in text and "4111" not in text and "dreamt" not in text
    assert "tool says" not in text and "the rounds" not in text and "- after" in text
    left = {step.source: step.why for step in report.steps if step.what == "skipped"}
    for source in ("workspace/HEARTBEAT.md", "workspace/DREAMS.md", "workspace/skills",
                   "workspace/memory/credentials.md", "agents/main/sessions/s3.jsonl",
                   "agents/main/agent/openclaw-agent.sqlite"):  # fmt: skip
        assert left[source]
    day = list(entries_of(home, f"{FOLDER}/2026-02-05.md"))
    assert {entry.layer for entry in day} == {Layer.DAILY}
    assert day[0].tags == ("imported", "openclaw")


def test_who_said_what(root: Path, home: Path) -> None:
    """The owner's words are those of the main conversation; what others wrote, or may have
    written, is foreign, and so is what the other assistant said."""
    bring_in(home, root)
    (own,) = entries_of(home, f"{FOLDER}/sessions/2026-02-06-s1.md")
    assert (own.speaker, own.session, own.foreign) == ("owner", "main-main", False)
    assert own.text == "is it on?\n- 09:00:00 **stead**: no"
    (answer,) = entries_of(home, f"{FOLDER}/sessions/2026-02-07-s1.md")
    assert (answer.speaker, answer.text, answer.foreign) == ("openclaw", "it is", True)
    for name in ("s2", "s4"):
        (other,) = entries_of(home, f"{FOLDER}/sessions/2026-02-06-{name}.md")
        assert other.foreign and other.speaker == "openclaw"


def test_dry(root: Path, home: Path) -> None:
    """A dry run says what would be done, and does nothing."""
    before = sorted(home.rglob("*"))
    dry = bring_in(home, root, dry=True)
    assert sorted(home.rglob("*")) == before
    assert bring_in(home, root).steps == dry.steps


def test_done_again(root: Path, home: Path) -> None:
    """Done again it takes what is new or was changed there; what was changed or removed here is
    left alone, and nothing comes twice."""
    first = bring_in(home, root)
    text = everything(home)
    again = bring_in(home, root)
    assert again.taken == [] and everything(home) == text
    assert len([one for one in again.steps if one.what == "same"]) == len(first.taken)
    put(root, "workspace/memory/2026-02-08.md", "- new\n")
    put(root, "workspace/TOOLS.md", "- nas: 10.0.0.3\n")
    put(root, "workspace/USER.md", "- Anna B\n")
    put(root, "workspace/memory/people/bob.md", "- likes coffee\n")
    put(home, "memory/USER.md", "- mine\n")
    (home / FOLDER / "people" / "bob.md").unlink()
    third = bring_in(home, root)
    assert [(one.source, one.what) for one in third.taken] == [
        ("workspace/TOOLS.md", "changed"),
        ("workspace/memory/2026-02-08.md", "new"),
    ]
    assert (home / "memory/USER.md").read_text() == "- mine\n"
    assert not (home / FOLDER / "people" / "bob.md").exists()


def test_ours_is_not_replaced(root: Path, home: Path) -> None:
    """Where stead has a MEMORY.md of its own, the other lies beside it."""
    put(home, "memory/MEMORY.md", "- ours\n")
    bring_in(home, root / "workspace")
    assert (home / "memory/MEMORY.md").read_text() == "- ours\n"
    assert "red" in (home / FOLDER / "MEMORY.md").read_text()


def test_links_are_not_followed(root: Path, home: Path) -> None:
    """A link to anywhere brings nothing in, be it a file, a folder or a conversation."""
    secret = put(root.parent, "elsewhere/x.md", SECRET)
    (root / "workspace" / "AGENTS.md").symlink_to(secret)
    (root / "workspace" / "memory" / "x.md").symlink_to(secret)
    (root / "workspace" / "memory" / "folder").symlink_to(secret.parent)
    (root / "agents" / "main" / "sessions" / "s9.jsonl").symlink_to(secret)
    bring_in(home, root)
    assert SECRET not in everything(home)


def test_killed_on_the_way(root: Path, home: Path) -> None:
    """What a run that was cut short left is taken up by the next: nothing twice, nothing lost."""
    bring_in(home, root)
    whole = everything(home)
    known = json.loads((home / LIST).read_text())
    for gone in list(known)[1:]:
        if (home / known[gone]["target"]).exists() and gone.endswith(("TOOLS.md", "#2026-02-06")):
            (home / known.pop(gone)["target"]).unlink()
    last = known.popitem()[0]  # written, and not yet in the list
    (home / LIST).write_text(json.dumps(known))
    bring_in(home, root)
    assert last in json.loads((home / LIST).read_text())
    assert everything(home) == whole


def test_what_is_no_workspace(home: Path, tmp_path: Path) -> None:
    """A folder that is none is refused in words."""
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(NotOpenClaw, match=r"MEMORY\.md"):
            bring_in(home, path)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([line("user", "ü").encode(), b"{}\n",
             b'{"message":{"role":"user","content":"x"},"timestamp":1e400}\n', b"[" * 5000,
             b'{"message":{"role":"user","content":"\\ud800"},"timestamp":1770364143489}\n']))
)  # fmt: skip
def test_rubbish(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    """No conversation file, whatever is in it, makes the import fail."""
    top = tmp_path_factory.mktemp("top")
    home, root = top / "home", top / "root"
    (home / "memory").mkdir(parents=True)
    file = put(root, "agents/main/sessions/a.jsonl", "")
    file.write_bytes(b"".join(pieces))
    put(root, "workspace/memory/2026-02-05.md", "- x\n").write_bytes(b"".join(pieces))
    bring_in(home, root)
    assert all(list(entries_of(home, path)) is not None for path in remembered_files(home))
    assert os.path.exists(home)
