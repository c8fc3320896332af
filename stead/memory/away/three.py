"""Merging lines three ways: what two made of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher


@dataclass(frozen=True, slots=True)
class Clash:
    """Where both changed the same lines, each otherwise."""

    line: int
    """Of the merged text, from 1."""
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(slots=True)
class Merged:
    """The text of both; where they clash, ours."""

    lines: list[str] = field(default_factory=list)
    clashes: list[Clash] = field(default_factory=list)


def merge(base: list[str], ours: list[str], theirs: list[str]) -> Merged:
    """Changes of either side against the base; what both changed alike counts once."""
    done = Merged()
    at = mine = yours = 0
    for start, size, in_ours, in_theirs in _common(base, ours, theirs):
        parts = base[at:start], ours[mine:in_ours], theirs[yours:in_theirs]
        _between(done, *parts)
        done.lines += base[start : start + size]
        at, mine, yours = start + size, in_ours + size, in_theirs + size
    return done


def _between(done: Merged, base: list[str], ours: list[str], theirs: list[str]) -> None:
    if theirs in (base, ours):
        done.lines += ours
    elif ours == base:
        done.lines += theirs
    elif not base and not _overlap(ours, theirs):
        done.lines += ours + theirs  # both added something in the same place
    else:
        done.clashes.append(Clash(len(done.lines) + 1, tuple(ours), tuple(theirs)))
        done.lines += ours


def _overlap(ours: list[str], theirs: list[str]) -> bool:
    """Whether one of two additions holds lines of the other."""
    return bool({one.strip() for one in ours} & {one.strip() for one in theirs} - {""})


def _common(base: list[str], ours: list[str], theirs: list[str]) -> list[tuple[int, int, int, int]]:
    """Runs of lines that all three have: (in base, length, in ours, in theirs), the end last."""
    in_ours = _same(base, ours)
    in_theirs = _same(base, theirs)
    runs: list[tuple[int, int, int, int]] = []
    for number in range(len(base)):
        if number not in in_ours or number not in in_theirs:
            continue
        mine, yours = in_ours[number], in_theirs[number]
        if runs:
            start, size, first, second = runs[-1]
            if (start + size, first + size, second + size) == (number, mine, yours):
                runs[-1] = (start, size + 1, first, second)
                continue
        runs.append((number, 1, mine, yours))
    return [*runs, (len(base), 0, len(ours), len(theirs))]


def _same(base: list[str], other: list[str]) -> dict[int, int]:
    matcher = SequenceMatcher(None, base, other, autojunk=False)
    return {
        block.a + n: block.b + n
        for block in matcher.get_matching_blocks()
        for n in range(block.size)
    }
