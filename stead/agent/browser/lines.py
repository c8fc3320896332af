"""The lines of a snapshot: what stands on a page, as roles and names, with references.

A line is YAML of the accessibility tree as Playwright writes it (docs: aria snapshots, mode "ai")::

    - textbox "Your name" [ref=e12]: Ann
    - 'button "Save: all" [ref=e13] [cursor=pointer]'

Both sides of the sandbox read it: inside, whether a reference still means what it meant; outside,
what to call it before the owner.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_HEAD = re.compile(r'- ([a-z][a-z0-9-]*)(?: ("(?:[^"\\]|\\.)*"))?((?: \[[^\]]*\])*)(?::|$)')
_REF = re.compile(r"\[ref=((?:f\d+)?e\d+)\]")
_WHOLE = re.compile(r"- '((?:[^']|'')*)'")
SECRET = "[password]"
"""Marks a field whose content is not shown."""
REF = re.compile(r"(?:f\d+)?e\d+")
LONGEST = 1500
"""Characters of a line; what is longer goes on in lines of its own."""
_NAME_MOST = 80

Element = tuple[str, str]
"""Role and name."""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a line: what stands there."""

    role: str
    name: str
    ref: str
    """Empty: it has none."""
    secret: bool
    """A field for passwords, or the like."""
    end: int
    """Where it ends in the line."""


def head_of(line: str) -> Head | None:
    """Of a line that tells of an element; else None."""
    plain = line.lstrip()
    gone = len(line) - len(plain)
    quoted = plain.startswith("- '")
    if quoted:  # as a whole; '' is one quote
        whole = _WHOLE.match(plain)
        if whole is None:
            return None
        end = gone + whole.end(1)
        plain = "- " + whole.group(1).replace("''", "'")
    head = _HEAD.match(plain)
    if head is None:
        return None
    marks = head.group(3)
    ref = _REF.search(marks)
    return Head(
        head.group(1), _name(head.group(2) or ""), ref.group(1) if ref else "",
        f" {SECRET}" in marks, end if quoted else gone + head.end(3),
    )  # fmt: skip


def elements(snapshot: str) -> dict[str, Element]:
    """What each reference stands for."""
    found: dict[str, Element] = {}
    for head in map(head_of, snapshot.split("\n")):
        if head is not None and head.ref:
            found.setdefault(head.ref, (head.role, head.name))
    return found


def secrets(snapshot: str) -> frozenset[str]:
    """The references of fields for passwords."""
    heads = map(head_of, snapshot.split("\n"))
    return frozenset(head.ref for head in heads if head is not None and head.secret and head.ref)


def _name(quoted: str) -> str:
    try:
        return str(json.loads(quoted)) if quoted else ""
    except ValueError:
        return quoted.strip('"')


def called(element: Element | None, ref: str) -> str:
    """An element in plain words: ``the button 'Buy now'``. Names are what the page says."""
    if element is None:
        return f"the element {ref}"
    role, name = element
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if len(name) > _NAME_MOST:
        name = f"{name[:_NAME_MOST]}..."
    return f"the {role} {name!r}" if name else f"the {role} {ref} (it has no name)"


def folded(snapshot: str) -> list[str]:
    """Its lines, none of them too long to be handed on."""
    made: list[str] = []
    for line in snapshot.split("\n"):
        made.append(line[:LONGEST])
        indent = " " * min(40, len(line) - len(line.lstrip()) + 4)
        made += [indent + line[at : at + LONGEST] for at in range(LONGEST, len(line), LONGEST)]
    return made


def page_of(lines: list[str], start: int, room: int) -> tuple[str, int]:
    """Lines from one on (the first is 1) as far as there is room, at least one; and which comes
    next, 0 at the end."""
    taken: list[str] = []
    size = 0
    for line in lines[start - 1 :]:
        size += len(line) + 1
        if taken and size > room:
            break
        taken.append(line)
    after = start + len(taken)
    return "\n".join(taken), after if after <= len(lines) else 0
