"""The home's own history: changes of ``memory/``, ``knowledge/`` and ``stead.toml`` are commits.

Kept by the program git in ``history/`` of the home, not in a ``.git`` that other programs would
find: with no hooks, no filters, and no configuration but the one given here. What others changed
(an editor, a sync) is committed apart, as "by hand", before stead changes anything itself. Commits
are made from files as they are, so that a repository of the owner's own in ``memory/`` is no
hindrance; a crash at any moment leaves the last whole commit.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stead.core.errors import NotFound, SteadError
from stead.core.files import write_atomic
from stead.memory.files.places import kind_of
from stead.memory.files.write import locked, put
from stead.memory.nouns import Layer

FOLDER = "history"
BY_HAND = "by hand"
DAILY = "daily log"
KNOWLEDGE = "knowledge"

_MOST = 20_000_000
"""A file with more bytes is not kept in the history."""
_TOP = ("memory", "knowledge")
_SEEN = "seen.json"
_LOOSE = 24
"""So many objects in one of 256 folders, and all are packed."""
_REF = "refs/heads/main"
_ID = re.compile(r"[0-9a-f]{4,40}", re.ASCII)
_SETTINGS = {
    "core.hooksPath": os.devnull, "core.fsmonitor": "false", "core.quotePath": "false",
    "core.fsync": "all", "core.fsyncMethod": "fsync", "core.autocrlf": "false",
    "core.attributesFile": os.devnull, "core.excludesFile": os.devnull, "gc.auto": "0",
    "commit.gpgSign": "false", "core.bare": "true", "protocol.allow": "never",
    "maintenance.auto": "false",
}  # fmt: skip


class NoHistory(SteadError):
    """The history of memory cannot be used: {why}. Files are read and written as ever; what they
    held before is not kept meanwhile."""

    code = "no_history"


class CannotUndo(SteadError):
    """That change cannot be taken back: {why}. Nothing was changed."""

    status = 409
    kind = "conflict_error"
    code = "cannot_undo"


@dataclass(frozen=True, slots=True)
class Commit:
    """One change, as it was kept."""

    id: str
    at: int
    """ms since 1970 (UTC)."""
    message: str
    paths: tuple[str, ...] = ()


def available() -> str:
    """Why there can be no history, in words; empty if there can."""
    return "" if shutil.which("git") else "the program git is not installed (apt install git)"


# --- keeping -----------------------------------------------------------------------------------


def settle(home: Path) -> list[str]:
    """Commit what changed since the last commit and was not committed: lines of the daily log,
    knowledge, and what others did, each apart. Returns the ids; nothing without git."""
    if available():
        return []
    with _saying_why(), locked(home):
        return _settle(home, frozenset())


def commit(home: Path, message: str, paths: Iterable[str]) -> str:
    """Commit a change that stead made in these files (those that vanished too); other differences
    are committed apart. Returns the id; empty without git, or where nothing differs."""
    if available():
        return ""
    with _saying_why(), locked(home):
        own = frozenset(paths)
        _settle(home, own)
        return _commit(home, " ".join(message.split())[:300], own)


@contextlib.contextmanager
def _saying_why() -> Iterator[None]:
    """What the system refuses (the disk is full) is why there is no history just now."""
    try:
        yield
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        raise NoHistory(why=f"{about}{(error.strerror or str(error)).lower()}") from error


def _settle(home: Path, but: frozenset[str]) -> list[str]:
    changed = _changed(home) - but
    daily = {path for path in changed if _daily(path)}
    known = {path for path in changed - daily if path.startswith("knowledge/")}
    made = [
        _commit(home, DAILY, frozenset(daily)),
        _commit(home, KNOWLEDGE, frozenset(known)),
        _commit(home, BY_HAND, frozenset(changed - daily - known)),
    ]
    return [one for one in made if one]


def _daily(path: str) -> bool:
    return path.startswith("memory/") and kind_of(path).layer is Layer.DAILY


def _changed(home: Path) -> set[str]:
    """Paths whose content is not that of the last commit."""
    now = _files(home)
    kept = _tree(home, _head(home))
    blobs = _blobs(home, now)
    return {path for path in {*kept, *blobs} if kept.get(path) != blobs.get(path)}


def _commit(home: Path, message: str, paths: frozenset[str]) -> str:
    """Of the files named alone, as they are now."""
    if not paths:
        return ""
    head = _head(home)
    tree = _tree(home, head)
    before = dict(tree)
    blobs = _blobs(home, [path for path in sorted(paths) if (home / path).is_file()])
    for path in paths:
        if path in blobs:
            tree[path] = blobs[path]
        else:
            tree.pop(path, None)
    return "" if tree == before else _write(home, head, tree, message)


def _write(home: Path, head: str, tree: Mapping[str, str], message: str) -> str:
    index = home / FOLDER / f"index.{os.getpid()}"
    try:
        listed = "".join(f"100644 blob {blob}\t{path}\0" for path, blob in sorted(tree.items()))
        _git(home, "update-index", "-z", "--index-info", index=index, given=listed)
        root = _git(home, "write-tree", index=index).strip()
    except NoHistory:
        (home / FOLDER / _SEEN).unlink(missing_ok=True)  # an object it knows is gone, perhaps
        raise
    finally:
        index.unlink(missing_ok=True)
    parents = ["-p", head] if head else []
    made = _git(home, "commit-tree", root, *parents, "-F", "-", given=message + "\n").strip()
    _git(home, "update-ref", _REF, made, head or "0" * 40)
    with contextlib.suppress(OSError):
        if len(os.listdir(home / FOLDER / "objects" / "17")) > _LOOSE:
            _git(home, "repack", "-a", "-d", "-q")
    return made


def _files(home: Path) -> list[str]:
    """What is kept. A folder that cannot be read raises: it must not be taken for deleted."""
    found = ["stead.toml"] if (home / "stead.toml").is_file() else []
    seen: set[tuple[int, int]] = set()
    for top in _TOP:
        if (home / top).is_dir():
            found += _below(home, top, seen)
    return sorted(found)


def _below(home: Path, folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    try:
        info = os.stat(home / folder)
        if (info.st_dev, info.st_ino) in seen:
            return  # a link back
        seen.add((info.st_dev, info.st_ino))
        with os.scandir(home / folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise NoHistory(why=f"{folder}/ cannot be read ({error.strerror})") from error
    for entry in entries:
        path = f"{folder}/{entry.name}"
        if entry.name.startswith(".") or not _clean(path):
            continue
        if entry.is_dir():
            yield from _below(home, path, seen)
        elif entry.is_file() and entry.stat().st_size <= _MOST:
            yield path


def _clean(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\n" not in path


def _blobs(home: Path, paths: Iterable[str]) -> dict[str, str]:
    """The objects of files as they are now, written into the history."""
    known = _seen(home)
    found: dict[str, str] = {}
    marks: dict[str, list[int]] = {}
    for path in paths:
        try:
            info = os.stat(home / path)
        except FileNotFoundError:
            continue  # it went away just now
        marks[path] = [info.st_mtime_ns, info.st_size, info.st_ino]
        seen = known.get(path)
        # One that changed just before it was looked at may have changed again in the same tick.
        if seen and seen[:3] == marks[path] and seen[3] - info.st_mtime_ns > 2_000_000_000:
            found[path] = seen[4]
    new = [path for path in marks if path not in found]
    if new:
        given = "".join(f"{home / path}\n" for path in new)
        now = time.time_ns()
        out = _git(home, "hash-object", "-w", "--no-filters", "--stdin-paths", given=given).split()
        for path, blob in zip(new, out, strict=True):
            found[path] = blob
            known[path] = [*marks[path], now, blob]
        with contextlib.suppress(OSError):  # a help, no more
            write_atomic(home / FOLDER / _SEEN, json.dumps(known).encode(), 0o600)
    return found


def _seen(home: Path) -> dict[str, list[Any]]:
    """What files were when they were looked at last: not all are read each time."""
    try:
        known = json.loads((home / FOLDER / _SEEN).read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _tree(home: Path, at: str) -> dict[str, str]:
    if not at:
        return {}
    pairs = (line.split("\t", 1) for line in _git(home, "ls-tree", "-rz", at).split("\0") if line)
    return {path: about.split()[2] for about, path in pairs}


def _head(home: Path) -> str:
    return _git(home, "rev-parse", "--verify", "--quiet", _REF, fails=True).strip()


# --- looking -----------------------------------------------------------------------------------


def commits(
    home: Path, path: str = "", limit: int = 20, *, before: str = "", at: str = ""
) -> list[Commit]:
    """The latest changes, newest first; of one file, if it is named. ``before``: older than that
    one (which is one of them); ``at``: from that one on. Raises ``NoHistory``, ``NotFound``."""
    _must(home)
    head = named(home, before or at) if before or at else _head(home)
    if not head:
        return []
    told = _git(
        home, "log", "-z", f"-n{limit}", f"--skip={int(bool(before))}", "--no-renames",
        "--format=%x01%H %ct %s", "--name-only", head, *(["--", path] if path else []),
    )  # fmt: skip
    found = []
    for part in told.split("\x01")[1:]:
        first, _, rest = part.partition("\n")
        ident, at, message = first.replace("\0", "").split(" ", 2)
        names = (name for name in rest.replace("\n", "\0").split("\0") if name)
        if not rest:
            names = iter(name for name in part.split("\0")[1:] if name)
        found.append(Commit(ident, int(at) * 1000, message, tuple(names)))
    return found


def named(home: Path, ident: str) -> str:
    """The whole id of a commit, from its beginning. Raises ``NotFound``."""
    _must(home)
    if not _ID.fullmatch(ident):
        raise NotFound(what=f"change {ident!r}; `stead memory history` lists them")
    whole = _git(home, "rev-parse", "--verify", "--quiet", f"{ident}^{{commit}}", fails=True)
    if not whole:
        raise NotFound(what=f"change {ident!r}; `stead memory history` lists them")
    return whole.strip()


def content(home: Path, path: str, ident: str) -> bytes:
    """A file as it was after a change. Raises ``NotFound``."""
    blob = _tree(home, named(home, ident)).get(path)
    if blob is None:
        raise NotFound(what=f"file {path} in the change {ident}")
    return _raw(home, "cat-file", "blob", blob)


def diff(home: Path, ident: str, path: str = "") -> str:
    """What a change did, as a unified diff."""
    whole = named(home, ident)
    return _git(
        home, "show", "--format=", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames",
        whole, *(["--", path] if path else []),
    )  # fmt: skip


# --- taking back -------------------------------------------------------------------------------


def undo(home: Path, ident: str = "") -> Commit:
    """Take back a change (default: the latest of stead's own or by hand): its files are as before
    it, with what was changed elsewhere in them since. Daily logs and the journal are only ever
    added to, and stay. Raises ``NoHistory``, ``NotFound``, ``CannotUndo``."""
    _must(home)
    settle(home)
    with locked(home):
        whole = named(home, ident) if ident else _latest(home)
        after = _tree(home, whole)
        parent = _git(home, "rev-parse", "--verify", "--quiet", f"{whole}^", fails=True).strip()
        before = _tree(home, parent)
        paths = sorted(p for p in {*before, *after} if before.get(p) != after.get(p))
        kept = [path for path in paths if _daily(path) or path.startswith("knowledge/")]
        paths = [path for path in paths if path not in kept]
        if not paths:
            why = "it added to the daily log or the journal, which stay"
            raise CannotUndo(why=f"{why} (facts: `stead memory graph`)" if kept else "it is empty")
        new = [(path, *_back(home, path, before.get(path), after.get(path))) for path in paths]
        for path, now, data in new:
            put(home, path, data, base=now)
        message = _git(home, "show", "-s", "--format=%s", whole).strip()
        made = _commit(home, f"undo {whole[:8]}: {message}"[:300], frozenset(paths))
    return Commit(made, 0, message, tuple(paths))


def _latest(home: Path) -> str:
    done: set[str] = set()
    for one in commits(home, limit=500):
        if one.message.startswith("undo "):
            done.add(one.message[5:13])
        elif one.message not in (DAILY, KNOWLEDGE) and one.id[:8] not in done:
            return one.id
    raise NotFound(what="change to take back")


def _back(
    home: Path, path: str, before: str | None, after: str | None
) -> tuple[bytes | None, bytes | None]:
    """What a file holds now, and without the change; None: it is not there."""
    file = home / path
    now = file.read_bytes() if file.is_file() else None
    old = None if before is None else _raw(home, "cat-file", "blob", before)
    new = None if after is None else _raw(home, "cat-file", "blob", after)
    if now in (new, old):  # old: taken back by an undo that was cut short
        return now, old
    if now is None or old is None or new is None:
        raise CannotUndo(why=f"{path} was made, removed or changed as a whole since")
    folder = home / FOLDER
    names = [folder / f"merge.{os.getpid()}.{part}" for part in ("now", "new", "old")]
    try:
        for name, data in zip(names, (now, new, old), strict=True):
            name.write_bytes(data)
        done = _run(home, "merge-file", "-p", *map(str, names))
        if done.returncode != 0:
            raise CannotUndo(why=f"the same lines of {path} have been changed since")
        return now, done.stdout
    finally:
        for name in names:
            name.unlink(missing_ok=True)


# --- the program -------------------------------------------------------------------------------


def _must(home: Path) -> None:
    if why := available():
        raise NoHistory(why=why)


def _git(
    home: Path, *words: str, given: str | None = None, index: Path | None = None,
    fails: bool = False,
) -> str:  # fmt: skip
    """What git says. ``fails``: 1 is an answer too ("there is none"), and not an error."""
    done = _run(home, *words, given=given, index=index)
    if done.returncode != 0 and not (fails and done.returncode == 1):
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NoHistory(why=f"git {words[0]}: {told[-1] if told else f'exit {done.returncode}'}")
    return done.stdout.decode("utf-8", "surrogateescape")


def _raw(home: Path, *words: str) -> bytes:
    done = _run(home, *words)
    if done.returncode != 0:
        raise NoHistory(why=f"git {words[0]} failed: {done.stderr.decode(errors='replace')[:200]}")
    return done.stdout


def _run(
    home: Path, *words: str, given: str | None = None, index: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    git = shutil.which("git")
    if git is None:
        raise NoHistory(why=available())
    folder = home / FOLDER
    environment = {
        "PATH": os.defpath, "HOME": os.devnull, "LC_ALL": "C", "GIT_DIR": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "stead", "GIT_AUTHOR_EMAIL": "stead@localhost", "GIT_PAGER": "cat",
        "GIT_COMMITTER_NAME": "stead", "GIT_COMMITTER_EMAIL": "stead@localhost",
        "GIT_ATTR_NOSYSTEM": "1", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_LITERAL_PATHSPECS": "1",
        **({"GIT_INDEX_FILE": str(index)} if index else {}),
    }  # fmt: skip
    if not (folder / "HEAD").exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
        made = subprocess.run(
            [git, "init", "-q", "--bare", "--template=", "-b", "main", str(folder)],
            env={k: v for k, v in environment.items() if k != "GIT_DIR"},
            capture_output=True, check=False, umask=0o077,
        )  # fmt: skip
        if made.returncode != 0:
            raise NoHistory(why=f"git init: {made.stderr.decode(errors='replace').strip()[:200]}")
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    return subprocess.run(
        [git, *settings, *words],
        env=environment, cwd=folder, capture_output=True, check=False, umask=0o077,
        input=(given or "").encode("utf-8", "surrogateescape"),
    )  # fmt: skip


def forget_all(home: Path) -> None:
    """Throw away every version but the files as they are now (what is forgotten must not be found
    in them)."""
    if (home / FOLDER).exists():
        shutil.rmtree(home / FOLDER)
    if not available():
        with locked(home):
            _commit(home, "history begins anew: something was forgotten", frozenset(_files(home)))


__all__ = [
    "BY_HAND", "CannotUndo", "Commit", "NoHistory", "available", "commit", "commits",
    "content", "diff", "forget_all", "named", "settle", "undo",
]  # fmt: skip
