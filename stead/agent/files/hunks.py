"""Unified diffs, as GNU diff and git write them and as models write them from memory.

Models count badly and lose blanks at line ends. So the numbers of a hunk say where to look first,
not where it is: its lines are looked for, nearest first, then without regard to blanks at line
ends, then without the outermost lines of context. What was needed is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from stead.agent.files.names import given, shown
from stead.agent.files.text import Form
from stead.agent.files.tree import Refused

MOST_FUZZ = 2
"""Lines of context at each end of a hunk that need not fit."""
_HEAD = re.compile(r"@@(?: -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))?)?(?: @@)?")
_NOTHING = "/dev/null"


@dataclass(slots=True)
class Hunk:
    """Lines with their sign (blank, ``-``, ``+``)."""

    start: int = -1
    """Line of the old file, from 1 (0: before the first one); -1: not said."""
    lines: list[tuple[str, str]] = field(default_factory=list)
    old_open: bool = False
    """The old side ends without a line end."""
    new_open: bool = False

    @property
    def old(self) -> list[str]:
        return [text for sign, text in self.lines if sign != "+"]


@dataclass(slots=True)
class Part:
    """What a diff says of one file; a path is None where there is no file on that side."""

    old: str | None = None
    new: str | None = None
    hunks: list[Hunk] = field(default_factory=list)
    by_git: bool = False
    """Begun by a line ``diff --git``, which may or may not be followed by the usual two."""

    @property
    def name(self) -> str:
        return shown(self.new or self.old or "?")


# --- reading ---------------------------------------------------------------------


def read(text: str) -> list[Part]:
    """The parts of a diff. Raises ``Refused`` with what is wrong."""
    lines = text.replace("\r\n", "\n").split("\n")
    if text.lstrip().startswith("*** Begin Patch"):
        raise Refused("that is not a unified diff; begin each file with --- a/NAME and +++ b/NAME")
    parts: list[Part] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith(("Binary files ", "GIT binary patch")):
            raise Refused("a diff of binary files cannot be applied; write the file anew")
        if line.startswith("diff --git "):
            at = _git_head(lines, at, parts)
        elif _is_head(lines, at):
            old, new = _path(line[4:]), _path(lines[at + 1][4:])
            if not (parts and parts[-1].by_git and not parts[-1].hunks):
                parts.append(Part())
            parts[-1].old, parts[-1].new = _strip(old, new)
            at += 2
        elif line.startswith("@@"):
            if not parts:
                raise Refused("the diff does not name the file; begin with --- a/NAME, +++ b/NAME")
            at = _hunk(lines, at, parts[-1])
        else:
            at += 1
    if not parts:
        raise Refused("that is no unified diff; it has --- a/NAME, +++ b/NAME and @@ -1,2 +1,2 @@")
    for part in parts:
        if part.old is None and part.new is None:
            raise Refused("a part of the diff names no file")
    return parts


def _is_head(lines: list[str], at: int) -> bool:
    return lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")


def _git_head(lines: list[str], at: int, parts: list[Part]) -> int:
    """The lines of git before the first hunk: renames, and files that come or go empty."""
    part = Part(by_git=True)
    found = re.match(r'diff --git (?:"?a/)(.*?)"? (?:"?b/)(.*?)"?$', lines[at])
    if found:
        part.old, part.new = found[1], found[2]
    at += 1
    while at < len(lines) and not lines[at].startswith(("diff --git ", "@@", "--- ")):
        word, _, rest = lines[at].partition(" ")
        if lines[at].startswith("rename from "):
            part.old = given(lines[at][12:])
        elif lines[at].startswith("rename to "):
            part.new = given(lines[at][10:])
        elif lines[at].startswith("new file"):
            part.old = None
        elif lines[at].startswith("deleted file"):
            part.new = None
        elif word in ("Binary", "GIT") or rest == "binary patch":
            raise Refused("a diff of binary files cannot be applied; write the file anew")
        at += 1
    parts.append(part)
    return at


def _path(text: str) -> str | None:
    name = text.split("\t")[0].rstrip()
    return None if name == _NOTHING else given(name)


def _strip(old: str | None, new: str | None) -> tuple[str | None, str | None]:
    """Without git's ``a/`` and ``b/``, where both sides have them."""
    if (old is None or old.startswith("a/")) and (new is None or new.startswith("b/")):
        return old and old[2:], new and new[2:]
    return old, new


def _hunk(lines: list[str], at: int, part: Part) -> int:
    match = _HEAD.match(lines[at])
    assert match is not None
    start, many_old, _, many_new = match.groups()
    hunk = Hunk(int(start) if start else -1)
    left = [int(many_old or 1), int(many_new or 1)] if start else [0, 0]
    at += 1
    while at < len(lines):
        line = lines[at]
        counted = max(left) > 0
        if line.startswith("\\"):
            sign = hunk.lines[-1][0] if hunk.lines else " "
            hunk.old_open |= sign in " -"
            hunk.new_open |= sign in " +"
        elif line[:1] in (" ", "+", "-") and not (_is_head(lines, at) and _ends(lines, at, left)):
            sign = line[0]
            hunk.lines.append((sign, line[1:]))
            left[0] -= sign != "+"
            left[1] -= sign != "-"
        elif line == "" and (counted or _goes_on(lines, at)):
            hunk.lines.append((" ", ""))  # models lose the blank of an empty line
            left = [left[0] - 1, left[1] - 1]
        else:
            break
        at += 1
    if not any(sign != " " for sign, _ in hunk.lines):
        raise Refused(f"a hunk of {part.name} changes nothing; lines begin with blank, - or +")
    part.hunks.append(hunk)
    return at


def _ends(lines: list[str], at: int, left: list[int]) -> bool:
    """Whether what looks like the head of a file is one, and no change of lines."""
    if max(left) <= 0 or left == [1, 1]:  # of the latter it is the last change
        return max(left) <= 0
    return at + 2 < len(lines) and lines[at + 2].startswith("@@")


def _goes_on(lines: list[str], at: int) -> bool:
    rest = next((line for line in lines[at:] if line), "")
    return rest[:1] in (" ", "+", "-") and not rest.startswith(("--- ", "+++ "))


# --- applying --------------------------------------------------------------------


def apply(part: Part, text: str, form: Form) -> tuple[str, list[str]]:
    """The text after all hunks of a part, and what was needed to fit them in.

    Raises ``Refused`` for the first that does not fit.
    """
    ended = text.endswith("\n")
    lines = text.split("\n")[:-1] if ended else text.split("\n") if text else []
    made: list[str] = []
    notes: list[str] = []
    done = offset = 0
    for number, hunk in enumerate(part.hunks, 1):
        place = _place(hunk, lines, done, offset, f"hunk {number} of {part.name}")
        at, fuzz_top, fuzz_end, note = place
        if note:
            notes.append(f"hunk {number} of {part.name} {note}")
        if hunk.start >= 0:
            offset = at - fuzz_top - (hunk.start - 1 if hunk.old else hunk.start)
        made += lines[done:at]
        body = hunk.lines[fuzz_top : len(hunk.lines) - fuzz_end]
        for sign, line in body:
            if sign == " ":
                made.append(lines[at])
                at += 1
            elif sign == "-":
                at += 1
            else:
                made.append(line + ("\r" if form.ends == "\r\n" else ""))
        done = at
        if done == len(lines) and (hunk.old_open or hunk.new_open):
            ended = not hunk.new_open
    made += lines[done:]
    if not text:
        ended = not any(hunk.new_open for hunk in part.hunks)
    return "\n".join(made) + ("\n" if ended and made else ""), notes


def _place(
    hunk: Hunk, lines: list[str], done: int, offset: int, name: str
) -> tuple[int, int, int, str]:
    """Where it fits: the index of its first line, lines of context passed over at top and end,
    and a word on it."""
    old = hunk.old
    if not old:
        if hunk.start < 0 and lines:
            raise Refused(f"{name} has no line to find its place by; nothing was changed")
        return max(done, min(len(lines), max(0, hunk.start) + offset)), 0, 0, ""
    expected = hunk.start - 1 + offset if hunk.start >= 0 else done
    tops = next((n for n, (sign, _) in enumerate(hunk.lines) if sign != " "), 0)
    ends = next((n for n, (sign, _) in enumerate(reversed(hunk.lines)) if sign != " "), 0)
    for fuzz in range(MOST_FUZZ + 1):
        top, end = min(fuzz, tops), min(fuzz, ends)
        wanted = old[top : len(old) - end]
        if not wanted or (fuzz and (top, end) == (min(fuzz - 1, tops), min(fuzz - 1, ends))):
            continue
        for strict in (True, False):
            found = list(_fits(wanted, lines, done, strict))
            if not found:
                continue
            if hunk.start < 0 and len(found) > 1:
                where = ", ".join(str(at + 1) for at in found[:6])
                raise Refused(f"{name} fits in several places (lines {where}); give more context")
            at = min(found, key=lambda at: abs(at - top - expected))
            return at, top, end, _note(at - top - expected if hunk.start >= 0 else 0, fuzz, strict)
    raise Refused(
        f"{name} does not fit; nothing was changed. It looks for, near line {expected + 1}:\n"
        + "\n".join(old[:6])
        + "\nread_file shows what is there"
    )


def _fits(wanted: list[str], lines: list[str], first: int, strict: bool) -> Iterator[int]:
    def bare(line: str) -> str:
        return line.removesuffix("\r") if strict else line.rstrip()

    sought = [bare(line) for line in wanted]
    there = [bare(line) for line in lines]
    for at in range(first, len(there) - len(sought) + 1):
        if there[at] == sought[0] and there[at : at + len(sought)] == sought:
            yield at


def _note(moved: int, fuzz: int, strict: bool) -> str:
    said = []
    if moved:
        side = "further down" if moved > 0 else "further up"
        said.append(f"fitted {abs(moved)} lines {side}")
    if not strict:
        said.append("fitted but for blanks at line ends")
    if fuzz:
        said.append(f"fitted without {fuzz} lines of its context")
    return ", ".join(said)
