"""The home directory: what lies in it, and making it fit for use."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from stead.core.errors import HomeUnusable


@dataclass(frozen=True, slots=True)
class Place:
    """One file or folder of the home directory (folders end with a slash)."""

    path: str
    what: str
    truth: str
    """Whether it is the source of truth, and of what."""
    care: str
    """What may be done with it by hand."""


PLACES: tuple[Place, ...] = (
    Place(
        "stead.toml",
        "every setting",
        "the source of truth of the configuration",
        "edit it with any editor, or `stead config set`; it is read at start",
    ),
    Place(
        "state.db",
        "the database (SQLite): messages, jobs, steps, replies, model calls, nodes",
        "the source of truth of everything that happened",
        "read it with `sqlite3 -readonly`; never copy it while stead runs, never edit it",
    ),
    Place(
        "memory/",
        "MEMORY.md, USER.md, SOUL.md, AGENTS.md, cards/*.md, the daily logs YYYY-MM-DD.md, and"
        " imported/",
        "the source of truth of what is remembered",
        "read, grep and edit it; daily logs are only ever added to (`stead forget` takes out;"
        " forgotten.jsonl lists what went, without words)",
    ),
    Place(
        "index/",
        "memory.db, the index over what is remembered, and others made from files",
        "copies; all of it is made anew from memory/ and knowledge/",
        "may be deleted; `stead memory reindex` makes it anew at once",
    ),
    Place(
        "knowledge/",
        "journal.jsonl: what is known of people, places and things, one operation a line;"
        " contacts/*.vcf: your contacts",
        "the source of truth of facts and contacts",
        "read and grep it; lines of the journal and files of contacts may be edited or taken out",
    ),
    Place(
        "history/",
        "what memory/, knowledge/ and stead.toml held before (a git repository)",
        "the source of truth of what `stead memory undo` can take back",
        "read it with `stead memory history`; deleted, it begins anew",
    ),
    Place(
        "files/",
        "what was attached to messages, by content (SHA-256); names and messages are in state.db",
        "the source of truth of what was attached",
        "read it; `stead forget` takes out what hangs on a message",
    ),
    Place(
        "workspace/",
        "the files the agent may read and work on; attachments/ holds copies of what was attached",
        "yours",
        "put in it what the agent should see; untouched copies in attachments/ go by themselves",
    ),
    Place("skills/", "skills (folders with a SKILL.md)", "yours", "add and remove folders"),
    Place(
        "secrets/",
        "owner.key, node.key, runtime.key and forget.key, and values of credentials (*.secret),"
        " readable by you only",
        "the source of truth of who may come in, and of what your tools log in with",
        "never share it; a lost owner.key is made anew at the next start; `stead secret` keeps the"
        " others",
    ),
    Place(
        "spool/",
        "what a node has yet to report to its gateway",
        "the source of truth of work done while the gateway was away",
        "leave it alone; it empties itself when the gateway is back",
    ),
    Place(
        "keep/",
        "undo/: what files held before tools changed them; spool/: what tools printed at length;"
        " review/: what the nightly review did and proposes",
        "the source of truth of what `stead undo` can take back",
        "leave it alone; limits are under [undo] in stead.toml",
    ),
    Place(
        "audit/",
        "what was said in model calls, where [audit] in stead.toml says that it is kept",
        "a trace for people; nothing depends on it",
        "read with `stead calls show`; may be deleted",
    ),
    Place(
        "backups/",
        "copies of the database taken before each upgrade",
        "copies; nothing reads them by itself",
        "old ones may be deleted",
    ),
    Place(
        "logs/",
        "gateway.jsonl, node.jsonl, model.jsonl, supervisor.jsonl, and older ones",
        "a trace for people; nothing depends on it",
        "read with `stead logs`; may be deleted",
    ),
    Place(
        "models/",
        "weights of local models",
        "copies; `stead model pull` fetches them again",
        "remove with `stead model remove`",
    ),
    Place(
        "run/",
        "process ids and the state of the local model (model.json)",
        "valid only while stead runs",
        "may be deleted while stead is stopped",
    ),
)


def prepare(home: Path) -> list[str]:
    """Make the home directory and its folders, 0700; return what was put right, in words.

    Raises ``HomeUnusable`` when it is not a folder, not ours or not writable.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise HomeUnusable(path=home, why=_reason(error)) from error
    info = home.stat()
    if info.st_uid != os.geteuid():
        raise HomeUnusable(
            path=home,
            why=f"it belongs to user {info.st_uid} and you are user {os.geteuid()}. "
            "Run stead as its owner, or name another with --home",
        )
    notes = _tighten(home)
    try:
        for place in PLACES:
            if place.path.endswith("/"):
                folder = home / place.path
                folder.mkdir(mode=0o700, exist_ok=True)
                if place.path == "secrets/":
                    notes += _tighten(folder)
                    for file in folder.iterdir():
                        notes += _tighten(file)
        probe = home / "run" / f".probe.{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise HomeUnusable(path=home, why=_reason(error)) from error
    return notes


def _tighten(path: Path) -> list[str]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return []
    path.chmod(mode & 0o700)
    return [f"{path} could be read by others (mode {mode:04o}); it is now {mode & 0o700:04o}."]


def _reason(error: OSError) -> str:
    what = (error.strerror or str(error)).lower()
    where = f" ({error.filename})" if error.filename else ""
    return f"{what}{where}. Free or fix that place, or name another with --home"
