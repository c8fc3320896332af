"""The files of memory for the owner's API: look at a part, edit with a look at the difference,
history and undo.

Everything here waits for the disk or for git; the gateway calls it in threads.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stead.app import memory_files as files
from stead.config import Settings, hide
from stead.core.errors import BadRequest, NotFound
from stead.memory.files import history, read, write
from stead.memory.files.places import FOLDER, kind_of
from stead.memory.files.write import Text
from stead.memory.nouns import Layer

#: What can be edited as a whole, in bytes.
MOST = 1_000_000
#: Characters of a window of lines, and of a difference.
_WINDOW = 262_144
_DIFF = 400_000
_BEFORE = 5
"""Lines shown before those that were cited."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_ENDS = re.compile(r"[\r\n]+\Z")
_LONE = re.compile("[\ud800-\udfff\0]")
_SETTINGS = "stead.toml"
_EXACT = 4_000
"""Lines that are compared without a shortcut."""


def listed(
    home: Path, settings: Settings, *, layer: str, like: str, before: str, limit: int
) -> dict[str, Any]:
    """Files, the latest changed first. ``before``: ``next`` of the page before."""
    found, trouble = files.files(home)
    words = like.casefold().split()
    chosen = [
        (_cursor(one), one)
        for one in found
        if (not layer or one.layer == layer) and all(word in one.path.casefold() for word in words)
    ]
    chosen.sort(key=lambda pair: pair[0], reverse=True)
    page = [pair for pair in chosen if not before or pair[0] < before]
    rows = [
        {"path": one.path, "layer": one.layer, "bytes": one.bytes, "changed": one.changed}
        for _, one in page[:limit]
    ]
    return {
        "files": rows,
        "total": len(chosen),
        "next": page[limit - 1][0] if len(page) > limit else "",
        "trouble": trouble,
        "too_long": write.too_long(home, files.guards_of(settings)),
    }


def _cursor(one: files.File) -> str:
    return f"{max(0, one.changed):015d}-{one.path}"


# --- showing -----------------------------------------------------------------------------------


def shown(home: Path, what: str, *, at: str, first: int, lines: int) -> dict[str, Any]:
    """Some lines of a file (as it was after the change ``at``), or those around a citation."""
    cited: list[int] = []
    moved = False
    source = read.source_of(what)
    if source is not None:
        entry = read.find(home, source)
        if entry is None:
            raise NotFound(
                what=f"{what}: these words do not stand in {source.path} any more; its history"
                " shows what was changed, and that line"
            )
        cited, moved = [*entry.lines], entry.lines[0] != source.first
        path, first = source.path, first or max(1, entry.lines[0] - _BEFORE)
        lines = max(lines, entry.lines[1] - first + 1)
    else:
        path = _named(what) if at else files.path_named(home, what)
    first = max(1, first)
    if at:
        old = history.content(home, path, at).decode("utf-8", "replace").split("\n")
        part = old[first - 1 : first - 1 + lines]
        more = len(old) > first - 1 + lines
    else:
        text = read.lines_between(home, path, first, first + lines, _WINDOW)
        part = text.split("\n")
        more = len(part) > lines or len(text) >= _WINDOW
        part = part[:lines]
    size = 0 if at else (home / path).stat().st_size
    return {
        "path": path, "layer": kind_of(path).layer.value, "at": at, "first": first,
        "lines": [_sound(one.rstrip("\r")) for one in part], "more": more, "cited": cited,
        "moved": moved, "bytes": size, "editable": not at and size <= MOST,
    }  # fmt: skip


def _named(what: str) -> str:
    return what if what.startswith((f"{FOLDER}/", "knowledge/")) else f"{FOLDER}/{what}"


def _sound(text: str) -> str:
    """Text that every page and program can be told: what is no UTF-8 is shown as such."""
    return _LONE.sub("\ufffd", text)


def opened(home: Path, what: str) -> dict[str, Any]:
    """All of a file, to be edited; a new card where there is none of that name."""
    held = _small(files.opened(home, what))
    return {
        "path": held.path, "layer": kind_of(held.path).layer.value,
        "text": "".join(_shown_lines(held.text)), "base": held.base, "new": not held.base,
    }  # fmt: skip


def _small(held: Text) -> Text:
    if len(held.text) > MOST:
        size = len(held.text)
        raise BadRequest(
            f"{held.path} has {size:,} characters, and {MOST:,} can be edited here. Use an editor:"
            f" stead memory edit {held.path}",
            param="path",
        )
    return held


# --- editing -----------------------------------------------------------------------------------


def draft(home: Path, settings: Settings, path: str, text: str, base: str) -> dict[str, Any]:
    """What saving would do: the difference to what the file holds now, why that should be looked
    at twice (``doubts``), and whether the file is another by now than ``base`` (``stale``)."""
    held = _small(write.load(home, path))
    kept = restored(held.text, text)
    return {
        "path": held.path, "base": held.base, "stale": held.base != base,
        "diff": _sound(files.diff(held, kept))[:_DIFF], "same": kept == held.text,
        "doubts": files.doubts(held, kept, files.guards_of(settings)),
    }  # fmt: skip


def save(
    home: Path, settings: Settings, path: str, text: str, base: str, sure: bool
) -> dict[str, Any]:
    """Write it. Raises ``Stale`` if the file is not what it was, and unless ``sure`` what the
    guards of memory have against it (``Shrinks``, ``ChangesMuch``...)."""
    held = _small(write.load(home, path))
    if held.base != base:
        raise write.Stale(path=held.path)
    kept = restored(held.text, text)
    if kept == held.text:
        return {"path": held.path, "change": "", "trouble": "", "same": True}
    if not sure:
        guards = files.guards_of(settings)
        old, new = (one.encode("utf-8", "surrogateescape") for one in (held.text, kept))
        write.check(held.path, old, new, guards)
    change, trouble = files.save(home, held, kept, f"edited {held.path}")
    return {"path": held.path, "change": change, "trouble": trouble, "same": False}


def restored(old: str, given: str) -> str:
    """``given`` with those lines of ``old`` that were left alone as they are in the file: a form
    gives back neither the bytes that are no UTF-8, nor how the lines end."""
    before, after = _lines(old), _lines(given)
    ends = next((one[len(_ENDS.sub("", one)) :] for one in before if _ENDS.search(one)), "\n")
    shown_, told = [_plain(one) for one in before], [_plain(one) for one in after]
    out: list[str] = []
    for same, low, high, from_, to in _blocks(shown_, told):
        if same:
            out += before[low:high]
            continue
        out += [_ENDS.sub(lambda _: ends, one) for one in after[from_:to]]
    for number, line in enumerate(out[:-1]):
        if not _ENDS.search(line):  # the last line of the file had no end, and has one now
            out[number] = line + ends
    if out:
        last = _ENDS.sub("", out[-1])
        out[-1] = last if not _ENDS.search(given) else out[-1] if last != out[-1] else last + ends
    return "".join(out)


def _blocks(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[bool, int, int, int, int]]:
    """Runs of equal and of different lines. What is equal at both ends is not compared again."""
    head = 0
    most = min(len(one), len(other))
    while head < most and one[head] == other[head]:
        head += 1
    tail = 0
    while tail < most - head and one[-1 - tail] == other[-1 - tail]:
        tail += 1
    if head:
        yield True, 0, head, 0, head
    middle, new = one[head : len(one) - tail], other[head : len(other) - tail]
    quick = len(middle) + len(new) > _EXACT
    matcher = difflib.SequenceMatcher(None, middle, new, autojunk=quick)
    for verb, low, high, from_, to in matcher.get_opcodes():
        yield verb == "equal", head + low, head + high, head + from_, head + to
    if tail:
        yield True, len(one) - tail, len(one), len(other) - tail, len(other)


def _lines(text: str) -> list[str]:
    return _LINE.findall(text)


def _plain(line: str) -> str:
    return _sound(_ENDS.sub("", line))


def _shown_lines(text: str) -> Iterable[str]:
    for line in _lines(text):
        yield _plain(line) + ("\n" if _ENDS.search(line) else "")


# --- history -----------------------------------------------------------------------------------


def changes(home: Path, what: str, *, before: str, limit: int) -> dict[str, Any]:
    """What was changed, the latest first, by stead and by hand."""
    path = what
    if what and what != "stead.toml" and not what.startswith("knowledge/"):
        try:
            path = files.path_named(home, what)
        except NotFound:
            path = _named(what)  # one that is gone, perhaps
    if not before:
        history.settle(home)
    found = history.commits(home, path, limit + 1, before=before)
    return {
        "what": path,
        "changes": [
            {"id": one.id, "at": one.at, "message": _sound(one.message), "paths": _paths(one)}
            for one in found[:limit]
        ],
        "more": len(found) > limit,
    }


def change(home: Path, ident: str, path: str) -> dict[str, Any]:
    """One change with what it did."""
    whole = history.named(home, ident)
    (one,) = history.commits(home, "", 1, at=whole)
    diff = _sound(history.diff(home, whole, path))
    if _SETTINGS in one.paths:
        diff = hide(diff, *_settings_then(home, whole))
    return {
        "id": one.id, "at": one.at, "message": _sound(one.message), "paths": _paths(one),
        "diff": diff[:_DIFF], "cut": len(diff) > _DIFF, "undoable": _undoable(one),
    }  # fmt: skip


def _settings_then(home: Path, ident: str) -> Iterator[str]:
    """stead.toml after that change, and before it: a secret in them is not shown."""
    found = [ident, *(one.id for one in history.commits(home, _SETTINGS, 1, before=ident))]
    for one in found:
        with contextlib.suppress(NotFound):
            yield history.content(home, _SETTINGS, one).decode("utf-8", "replace")


def _paths(one: history.Commit) -> list[str]:
    return [_sound(path) for path in one.paths]


def _undoable(one: history.Commit) -> bool:
    """Daily logs and the journal are only ever added to."""
    return any(
        not path.startswith("knowledge/")
        and not (path.startswith(f"{FOLDER}/") and kind_of(path).layer is Layer.DAILY)
        for path in one.paths
    )


def undo(home: Path, ident: str) -> dict[str, Any]:
    """Take back a change; the id of the change that did so."""
    done = history.undo(home, ident)
    return {"change": done.id, "undone": done.message, "paths": [*done.paths]}
