"""Bringing in the memory of an OpenClaw workspace, as it is.

Its daily logs, notes and conversations get a folder of their own, ``memory/imported/openclaw/``.
``MEMORY.md``, ``USER.md``, ``SOUL.md`` and ``AGENTS.md`` take the place of stead's where it has
none. What was brought in before is not brought in twice, what has changed there since is renewed,
and what was changed here since is left alone. Never opened: credentials, and whatever a link
leads to.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from stead.core.errors import SteadError
from stead.core.files import write_atomic
from stead.memory.files import write
from stead.memory.files.masking import Masking
from stead.memory.files.places import IMPORTED

FOLDER = f"{IMPORTED}/openclaw"
LIST = f"{FOLDER}/imported.json"

_STANDING = ("MEMORY.md", "USER.md", "SOUL.md", "AGENTS.md")
_NOTES = ("IDENTITY.md", "TOOLS.md")
_SKIPPED = {
    "HEARTBEAT.md": "orders for its own schedule",
    "BOOTSTRAP.md": "orders for its own first run",
    "BOOT.md": "orders for its own start",
    "DREAMS.md": "what its model made up at night",
    "skills": "programs: look at them, and copy what you want into skills/",
    "credentials": "credentials are never taken",
}
_NEVER = re.compile(
    r"(?i)credential|secret|password|token|auth|\.env|\.ssh|\.gnupg|\.dreams|id_rsa"
)
_DREAM = re.compile(
    r"<!--\s*openclaw:dreaming:(?P<kind>[\w:-]*?):?start\b.*?-->.*?"
    r"(?:<!--\s*openclaw:dreaming:(?P=kind):?end\b.*?-->\n?|(?=^#{1,2} )|\Z)",
    re.DOTALL | re.MULTILINE,
)
_DREAM_MARK = re.compile(r"<!--\s*openclaw:dreaming:[^>]*-->\n?")
_MOST = 64_000_000
_LONGEST_LINE = 4_000_000
_NOT_SAID = re.compile(r"\s*(?:HEARTBEAT_OK|NO_REPLY|Read HEARTBEAT\.md\b.*)\s*", re.DOTALL)
_OTHERS = re.compile(r":(?:cron|subagent|hook|acp|node)(?::|$)")


class NotOpenClaw(SteadError):
    """{path} is no OpenClaw workspace: {why}. Name the folder that holds MEMORY.md and memory/
    (usually ~/.openclaw/workspace), or ~/.openclaw for its conversations too."""

    status = 400
    code = "not_openclaw"


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one file."""

    source: str
    """Relative to the folder that was named."""
    what: str
    """``new``, ``changed``, ``same`` (brought in before), ``skipped``."""
    target: str = ""
    why: str = ""
    entries: int = 0
    """Of a conversation: messages."""


@dataclass(slots=True)
class Report:
    """What was (or, dry, would be) done."""

    steps: list[Step] = field(default_factory=list)

    @property
    def taken(self) -> list[Step]:
        return [one for one in self.steps if one.what in ("new", "changed")]


@dataclass(frozen=True, slots=True)
class _Found:
    source: str
    target: str
    text: str
    standing: str = ""
    """Where it goes if stead has none of that name."""
    entries: int = 0


def bring_in(home: Path, root: Path, *, dry: bool = False) -> Report:
    """Bring in what lies at ``root``: a workspace, or the folder above it. ``dry``: only say what
    would be. Raises ``NotOpenClaw``, ``OSError``; what was done until then is done, and the next
    time it goes on."""
    workspaces = _workspaces(root)
    report = Report()
    known = _known(home)
    masking = Masking(home / "secrets")
    found: list[_Found] = []
    for name, workspace in workspaces:
        found += _workspace(root, workspace, name, report)
    found += _sessions(root, report)
    for one in found:
        report.steps.append(_take(home, one, known, masking, dry))
        if not dry:
            _remember(home, known)
    return report


def _workspaces(root: Path) -> list[tuple[str, Path]]:
    if not root.is_dir():
        raise NotOpenClaw(path=root, why="there is no such folder")
    found = [
        (path.name.removeprefix("workspace").strip("-"), path)
        for path in sorted(root.glob("workspace*"))
        if path.is_dir() and _looks(path)
    ]
    if _looks(root):
        found.insert(0, ("", root))
    if not found and not (root / "agents").is_dir():
        raise NotOpenClaw(path=root, why="neither MEMORY.md, USER.md, SOUL.md nor memory/ is there")
    return found


def _looks(path: Path) -> bool:
    return any((path / name).is_file() for name in _STANDING) or (path / "memory").is_dir()


# --- the workspace ----------------------------------------------------------------------------


def _workspace(root: Path, folder: Path, name: str, report: Report) -> Iterator[_Found]:
    below = f"{FOLDER}/{name}" if name else FOLDER
    for path in sorted(folder.iterdir()):
        source = path.relative_to(root).as_posix()
        if path.name in _SKIPPED:
            report.steps.append(Step(source, "skipped", why=_SKIPPED[path.name]))
        elif path.name in (*_STANDING, *_NOTES):
            standing = f"memory/{path.name}" if path.name in _STANDING and not name else ""
            yield from _note(path, source, f"{below}/{path.name}", report, standing)
        elif path.name == "memory" and path.is_dir() and not path.is_symlink():
            for note in _markdown(root, path, report):
                inner = note.relative_to(path).as_posix()
                yield from _note(
                    note, note.relative_to(root).as_posix(), f"{below}/{inner}", report
                )
        elif path.name.startswith(("agents", "workspace")) or path.name.startswith("."):
            continue
        elif folder != root or path.suffix == ".md":
            report.steps.append(Step(source, "skipped", why="no part of its memory"))


def _markdown(root: Path, folder: Path, report: Report) -> Iterator[Path]:
    for top, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not _NEVER.search(name)
        )
        for name in sorted(names):
            path = Path(top) / name
            if name.lower().endswith(".md") and not name.startswith("."):
                yield path
            else:
                source = path.relative_to(root).as_posix()
                report.steps.append(Step(_printable(source), "skipped", why="no Markdown"))


def _raise(error: OSError) -> None:
    raise error


def _note(
    path: Path, source: str, target: str, report: Report, standing: str = ""
) -> Iterator[_Found]:
    why = ""
    if path.is_symlink() or not path.is_file():
        why = "a link: what it leads to may be anything"
    elif path.name == "DREAMS.md":
        why = _SKIPPED["DREAMS.md"]
    elif _NEVER.search(path.name):
        why = "by its name it may hold credentials"
    elif path.stat().st_size > _MOST:
        why = f"larger than {_MOST // 1_000_000} MB"
    elif _printable(source) != source:
        why = "its name is no UTF-8"
    if why:
        report.steps.append(Step(_printable(source), "skipped", why=why))
        return
    text = path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n")
    text = _DREAM_MARK.sub("", _DREAM.sub("", text))
    if text.strip():
        yield _Found(source, _plain(target), text, standing)
    else:
        report.steps.append(Step(source, "skipped", why="empty"))


def _plain(target: str) -> str:
    """A path whose parts do not begin with a dot, and that ends with ``.md``."""
    pure = PurePosixPath(target)
    parts = [re.sub(r"[\x00-\x1f\x7f]", "_", part).lstrip(".") or "_" for part in pure.parts[:-1]]
    stem = re.sub(r"[\x00-\x1f\x7f]", "_", pure.stem).lstrip(".") or "_"
    return "/".join((*parts, f"{stem}.md"))


def _printable(words: str) -> str:
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# --- conversations ----------------------------------------------------------------------------


def _sessions(root: Path, report: Report) -> Iterator[_Found]:
    agents = root / "agents"
    if not agents.is_dir() or agents.is_symlink():
        return
    for agent in sorted(path for path in agents.iterdir() if path.is_dir()):
        if agent.is_symlink():
            continue
        for database in sorted((agent / "agent").glob("*.sqlite")):
            source = database.relative_to(root).as_posix()
            report.steps.append(Step(source, "skipped", why="its form is not known to stead yet"))
        keys = _keys(agent / "sessions" / "sessions.json")
        for path in sorted((agent / "sessions").glob("*.jsonl")):
            source = path.relative_to(root).as_posix()
            key = keys.get(path.stem, "")
            if path.is_symlink():
                report.steps.append(Step(source, "skipped", why="a link"))
            elif _OTHERS.search(key):
                why = "a job of its schedule or of another agent, no conversation"
                report.steps.append(Step(source, "skipped", why=why))
            else:
                yield from _session(path, source, agent.name, key, report)


def _keys(path: Path) -> dict[str, str]:
    """Names of conversations by the id of their file."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {
        str(one.get("sessionId")): str(key) for key, one in data.items() if isinstance(one, dict)
    }


def _session(path: Path, source: str, agent: str, key: str, report: Report) -> Iterator[_Found]:
    """One file a day and conversation, in the form of the daily log."""
    # Only the main conversation is known to be the owner's; in groups and by other ways others may
    # have written, and what is not known is taken for theirs.
    own = key == f"agent:{agent}:main"
    name = re.sub(r"[^\w.-]+", "-", key.removeprefix(f"agent:{agent}:") or path.stem)[:60]
    days: dict[str, list[str]] = {}
    bad = 0
    for raw in _lines(path):
        said = _message(raw)
        if said is None:
            bad += not raw.startswith(b"{")
            continue
        role, at, text = said
        then = datetime.fromtimestamp(at / 1000)
        who = "openclaw" if role == "assistant" else "owner" if own else "outside"
        words = text.replace("<!--", "<!- -").replace("\n", "\n  ")
        days.setdefault(then.date().isoformat(), []).append(
            f"- {then:%H:%M:%S} **{who}** (openclaw, {agent}-{name}): {words}\n"
        )
    if not days:
        why = "no line of it can be read" if bad else "nothing was said in it"
        report.steps.append(Step(source, "skipped", why=why))
    for day, lines in days.items():
        target = f"{FOLDER}/sessions/{day}-{_plain(path.stem)[:-3][:40]}.md"
        yield _Found(f"{source}#{day}", target, "".join(lines), entries=len(lines))


def _lines(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while line := file.readline(_LONGEST_LINE):
            if line.endswith(b"\n") or len(line) < _LONGEST_LINE:
                yield line
            else:  # an image, perhaps
                while line and not line.endswith(b"\n"):
                    line = file.readline(_LONGEST_LINE)


def _message(raw: bytes) -> tuple[str, int, str] | None:
    """Who said it, when (ms), and what; None for what nobody said."""
    try:
        data: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("message"), dict):
        return None
    message = data["message"]
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant"):
        return None
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [
        one["text"]
        for one in parts
        if isinstance(one, dict) and one.get("type") == "text" and isinstance(one.get("text"), str)
    ]
    text = "\n".join(texts).strip().replace("\r", "").encode("utf-8", "replace").decode()
    at = _when(data.get("timestamp")) or _when(message.get("timestamp"))
    if not text or _NOT_SAID.fullmatch(text) or not at:
        return None
    return role, at, text


def _when(value: object) -> int:
    try:
        if isinstance(value, str):
            at = round(datetime.fromisoformat(value).timestamp() * 1000)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            at = round(value)
        else:
            return 0
        datetime.fromtimestamp(at / 1000)
    except (ValueError, OverflowError, OSError):
        return 0
    return at if at > 0 else 0


# --- taking -----------------------------------------------------------------------------------


def _take(
    home: Path, one: _Found, known: dict[str, dict[str, str]], masking: Masking, dry: bool
) -> Step:
    text = masking(one.text)
    now = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    before = known.get(one.source, {})
    target = before.get("target") or _target(home, one)
    held = write.load(home, target)
    if before and not held.base:
        return Step(one.source, "skipped", target, "brought in before, and removed here since")
    if before.get("hash") == now:
        return Step(one.source, "same", target, entries=one.entries)
    if held.base and held.base != now and held.base != before.get("hash"):
        if not before:
            return Step(one.source, "skipped", target, "a file of that name is there already")
        return Step(one.source, "skipped", target, "changed there and here; yours is kept")
    if not dry:
        write.save(home, target, text, base=held.base, masking=masking)
        known[one.source] = {"target": target, "hash": now}
    return Step(one.source, "changed" if before else "new", target, entries=one.entries)


def _target(home: Path, one: _Found) -> str:
    if one.standing and not (home / one.standing).exists():
        return one.standing
    return one.target


def _known(home: Path) -> dict[str, dict[str, str]]:
    """What was brought in, by its source: where it went, and the hash of the text."""
    try:
        data = json.loads((home / LIST).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SteadError(
            f"{home / LIST} is damaged, so it is not known what was brought in before. Delete it:"
            " what is there already is then left alone."
        ) from error
    return data if isinstance(data, dict) else {}


def _remember(home: Path, known: dict[str, dict[str, str]]) -> None:
    (home / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    data = json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True)
    if not (home / LIST).exists() or (home / LIST).read_text() != data:
        write_atomic(home / LIST, data.encode())
