"""The graph's journal without what is to be forgotten.

It is only ever added to; forgetting is the one exception (docs/memory.md). An operation loses the
fact, the entities and the references that go, and goes itself when nothing is left of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_EMPTY = ("entities", "fact", "ends", "ids")


@contextlib.contextmanager
def lock(home: Path) -> Iterator[None]:
    """Nobody writes to the journal meanwhile (the lock of :mod:`stead.memory.graph.journal`)."""
    (home / "run").mkdir(mode=0o700, exist_ok=True)
    fd = os.open(home / "run" / "journal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def people(lines: Sequence[bytes], meant: Callable[[str], bool]) -> tuple[set[str], set[str]]:
    """Ids of the entities that have a name which is meant, those merged with them included; and
    all their names."""
    ids: set[str] = set()
    names: set[str] = set()
    operations = [one for one in map(_read, lines) if one is not None]
    for one in operations:
        for entity in _dicts(one.get("entities")):
            if any(meant(name) for name in _names(entity)):
                ids.add(str(entity.get("id", "")))
    grown = -1
    while grown != len(ids):
        grown = len(ids)
        for one in operations:
            if one.get("op") == "merge":
                group = {str(one.get("into", "")), *map(str, one.get("ids") or ())}
                if group & ids:
                    ids |= group
    for one in operations:
        for entity in _dicts(one.get("entities")):
            if str(entity.get("id", "")) in ids:
                names |= set(_names(entity))
    return ids - {""}, names


def without(
    lines: Sequence[bytes],
    meant: Callable[[str], bool],
    known: Callable[[str], bool],
    entities: frozenset[str],
) -> tuple[list[bytes], list[tuple[int, str]]]:
    """The lines that stay, and (number, words) of those that went or lost something. ``known``:
    whether a whole line is one that goes."""
    gone: set[str] = set(entities)
    kept: list[bytes] = []
    lost: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        text = line.decode("utf-8", "replace").strip()
        operation = _read(line)
        if operation is None:
            if text and meant(text):
                lost.append((number, text))
            else:
                kept.append(line)
            continue
        left = None if known(text) else _without(operation, meant, gone)
        if left == operation:
            kept.append(line)
            continue
        lost.append((number, text))
        if left is None:
            gone.add(str(operation.get("id", "")))
        else:
            made = json.dumps(left, ensure_ascii=False, separators=(",", ":"))
            kept.append(made.encode("utf-8", "surrogatepass") + b"\n")
    return kept, lost


def _without(
    operation: dict[str, Any], meant: Callable[[str], bool], gone: set[str]
) -> dict[str, Any] | None:
    left = dict(operation)
    drawn = [one for one in map(str, operation.get("source") or ()) if meant(one)]
    fact = operation.get("fact")
    if isinstance(fact, dict):
        said = " ".join(str(fact.get(name, "")) for name in ("predicate", "value"))
        about = {str(fact.get("subject", "")), str(fact.get("object", ""))}
        only = drawn and len(drawn) == len(operation.get("source") or ())
        if meant(said) or about & gone or only or str(fact.get("id", "")) in gone:
            gone.add(str(fact.get("id", "")))
            del left["fact"]
    if "entities" in left:
        left["entities"] = [
            entity
            for entity in _dicts(left["entities"])
            if str(entity.get("id", "")) not in gone and not any(map(meant, _names(entity)))
        ]
        gone |= {
            str(entity.get("id", ""))
            for entity in _dicts(operation["entities"])
            if entity not in left["entities"]
        }
    if "ends" in left:
        left["ends"] = [one for one in _dicts(left["ends"]) if str(one.get("fact", "")) not in gone]
    if "ids" in left:
        left["ids"] = [one for one in left["ids"] if str(one) not in gone]
    if str(left.get("into", "")) in gone:
        return None
    if drawn:
        left["source"] = [one for one in left["source"] if one not in drawn]
    for name in ("why", "by", "batch"):
        if name in left and meant(str(left[name])):
            del left[name]
    for name in (*_EMPTY, "source"):
        if name in left and name in operation and left[name] == [] and operation[name]:
            del left[name]
    if left != operation and not any(left.get(name) for name in _EMPTY):
        return None
    return left


def _names(entity: dict[str, Any]) -> list[str]:
    return [str(one) for one in (entity.get("name", ""), *(entity.get("aliases") or ())) if one]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
