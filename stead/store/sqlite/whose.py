"""Whose a conversation is, as conditions of SQL: see ``stead.core.people``."""

from __future__ import annotations

from stead.core.people import OTHERS, OWNER
from stead.core.recall import OFF_THE_RECORD

_OFF = f"{OFF_THE_RECORD}{OTHERS}"


def theirs(column: str, person: str) -> tuple[str, tuple[str, ...]]:
    """The condition that a column holds one of a person's conversations, and its parameters (all
    with ``?``). Of others than the owner it is two ranges of an index over the column."""
    if person == OWNER:
        no = " AND ".join(f"NOT ({column} >= ? AND {column} < ?)" for _ in "ab")
        return f"({column} IS NULL OR ({no}))", (*_range(OTHERS), *_range(_OFF))
    either = " OR ".join(f"({column} >= ? AND {column} < ?)" for _ in "ab")
    return f"({either})", (*_range(f"{OTHERS}{person}:"), *_range(f"{_OFF}{person}:"))


def _range(begin: str) -> tuple[str, str]:
    """All texts that begin so: from it on, up to the first that does not. ``;`` follows ``:``."""
    assert begin.endswith(":")
    return begin, f"{begin[:-1]};"
