"""Front matter: what stands between ``---`` lines at the top of a card.

A small part of YAML, read leniently: ``key: value``, ``key: [a, b]``, and lists of ``- a`` below
their key. What is not understood is kept as it stands, and no card is lost for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from stead.memory.files.lines import Line

_MOST_LINES = 200
_FIELD = re.compile(r"([A-Za-z][\w .-]{0,60}?)[ \t]*:(?:[ \t]+(.*))?")
_WORDS = {"low": 0.3, "medium": 0.6, "high": 0.9, "certain": 1.0}


@dataclass(slots=True)
class Front:
    """The fields, by their name in lower case."""

    fields: dict[str, str | list[str]] = field(default_factory=dict)
    lines: int = 0
    """How many lines it takes, with its marks; 0: the file has none."""
    broken: str = ""
    """What is wrong with it, in words."""

    def text(self, name: str) -> str:
        value = self.fields.get(name, "")
        return value if isinstance(value, str) else ", ".join(value)

    def list(self, name: str) -> tuple[str, ...]:
        value = self.fields.get(name, "")
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(part.strip() for part in parts if part.strip())

    @property
    def confidence(self) -> float:
        words = self.text("confidence").strip().lower()
        try:
            value = _WORDS[words] if words in _WORDS else float(words.removesuffix("%") or 1)
        except ValueError:
            return 1.0
        value = value / 100 if words.endswith("%") else value
        return min(1.0, max(0.0, value)) if value == value else 1.0

    @property
    def foreign(self) -> bool:
        return self.text("foreign").strip().lower() in ("true", "yes", "1")


def split(lines: Iterable[Line]) -> tuple[Front, Iterator[Line]]:
    """The front matter, and all lines after it. One that is not closed is text like the rest."""
    rest = iter(lines)
    held: list[Line] = []
    for line in rest:
        held.append(line)
        if len(held) == 1:
            if line.text.rstrip() != "---" or line.more:
                return Front(), _chained(held, rest)
        elif line.text.rstrip() in ("---", "...") and not line.more:
            front = parsed([one.text for one in held[1:-1]])
            front.lines = len(held)
            return front, rest
        elif len(held) > _MOST_LINES:
            break
    if not held:
        return Front(), rest
    return Front(broken="its front matter has no end"), _chained(held[1:], rest)


def _chained(held: list[Line], rest: Iterator[Line]) -> Iterator[Line]:
    yield from held
    yield from rest


def parsed(lines: list[str]) -> Front:
    """The fields of front matter without its marks."""
    front = Front()
    key = ""
    for text in lines:
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        found = _FIELD.fullmatch(text.rstrip())
        if found:
            key = found[1].strip().lower()
            if key in front.fields:
                front.broken = front.broken or f"{key} stands twice"
            front.fields[key] = _value((found[2] or "").strip())
        elif key and text.lstrip().startswith("- "):
            known = front.fields[key]
            items = known if isinstance(known, list) else [known] if known else []
            front.fields[key] = [*items, _bare(text.lstrip()[2:].strip())]
        elif key and text.startswith((" ", "\t")) and isinstance(front.fields[key], str):
            front.fields[key] = f"{front.fields[key]} {text.strip()}".strip()  # folded
        else:
            front.broken = front.broken or f"not understood: {text.strip()[:80]}"
    return front


def _value(words: str) -> str | list[str]:
    if words.startswith("[") and words.endswith("]"):
        return [_bare(one.strip()) for one in words[1:-1].split(",") if one.strip()]
    if words in (">", "|", ">-", "|-", "null", "~"):
        return ""
    return _bare(words)


def _bare(words: str) -> str:
    if len(words) > 1 and words[0] == words[-1] and words[0] in "\"'":
        inner = words[1:-1]
        return inner.replace('\\"', '"').replace("\\\\", "\\") if words[0] == '"' else inner
    return words.split(" #", 1)[0].rstrip()
