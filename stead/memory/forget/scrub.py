"""What goes out of the files of memory, and what stands there instead.

Entry by entry: a line of the daily log with all that belongs to it, an item or paragraph of a card
or standing file (a section with its heading, a card with its topic), an operation of the graph, a
contact. In a daily log the lines after it keep their numbers, since others cite them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from stead.memory.forget import graph
from stead.memory.forget.tomb import SHOWN, Hasher
from stead.memory.forget.words import Matcher

_DAY = re.compile(r"(?:.*/)?(\d{4}-\d\d-\d\d)(?:\.[^/]+)?\.md")
_HEAD = re.compile(rb"- (\d\d):(\d\d)(?::(\d\d))? (.*)", re.DOTALL)
_MARK = re.compile(r"\s*<!-- \d{1,18} -->\s*$")
_JOB = re.compile(r"\bjob ([0-9a-f]{8})\b")
_FRAME = re.compile(r"\*\*[^*\n]{1,80}\*\*(?: \(([^\n]{0,500}?)\))? \[[^\n]{0,700}?\]:")
_EVENT = re.compile(r"(?:tool|model)\b[^\n]*\[job [0-9a-f]{8}\][^\n]*", re.DOTALL)
_GIVEN = re.compile(r"`([^`]*)`|\(([^)]*)\)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LABEL = re.compile(r"\b(?:since|until|known|source|confidence|foreign|people|id)\b")
_FIELD = re.compile(r"^\s*[\w-]+:(?=\s|$)", re.MULTILINE)
_TOMB = re.compile(r"forgotten \([0-9a-f]{8}\)")
_ITEM = re.compile(r"(\s*(?:[-*+]|\d{1,9}[.)])\s+)")
_HEADING = re.compile(r"(#{1,6})\s")
_CITED = re.compile(r"([\w./-]+\.md)#L(\d+)(?:-L?(\d+))?")
_PERSONAL = ("FN", "N", "NICKNAME", "EMAIL", "TEL", "UID")


@dataclass(frozen=True, slots=True)
class Gone:
    """An entry that goes."""

    path: str
    line: int
    hash: str
    text: str


@dataclass(slots=True)
class Scrubber:
    """Decides what is meant, and takes it out. ``gone`` gathers what went."""

    hasher: Hasher
    matches: Matcher | None = None
    jobs: frozenset[str] = frozenset()
    """The last eight characters of their ids."""
    known: frozenset[str] = frozenset()
    """``PATH#HASH`` of entries: of a forgetting that was cut off, and has no words any more."""
    said: frozenset[str] = frozenset()
    """Hashes of lines of the daily log, whatever the day."""
    buried: frozenset[str] = frozenset()
    """Hashes of entries and files, wherever they are."""
    since: int = 0
    until: int = 0
    session: str = ""
    """Of the span."""
    cited: frozenset[str] = frozenset()
    """``PATH#LINE`` of lines that go: what was drawn from one of them goes too."""
    entities: frozenset[str] = frozenset()
    gone: list[Gone] = field(default_factory=list)
    _path: str = ""

    def scrub(self, path: str, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines of a file (each with its end) without what is meant. Nothing at all: the whole
        file goes."""
        self._path = path
        day = _DAY.fullmatch(path)
        if day is not None and "/cards/" not in path:
            return self._daily(path, day[1], lines)
        if path.endswith(".vcf"):
            return iter(self._contacts(path, list(lines)))
        if path.startswith("knowledge/journal") and path.endswith(".jsonl"):
            return iter(self._journal(path, list(lines)))
        if path.endswith(".md"):
            return iter(self._blocks(path, list(lines)))
        return self._lines(path, lines)

    # --- what is meant ---------------------------------------------------------------

    def _meant(self, text: str) -> bool:
        """Of any entry: by its words, by its hash, by what it was drawn from."""
        if self.matches is not None and self.matches(_own_words(text)):
            return True
        if self._is_known(text):
            return True
        return bool(self.cited) and any(
            f"{path}#{line}" in self.cited
            for path, first, last in _CITED.findall(text)
            for line in range(int(first), min(int(last or first), int(first) + 1000) + 1)
        )

    def _is_known(self, text: str) -> bool:
        if not (self.known or self.buried):
            return False
        made = self.hasher.of(text)
        return made in self.buried or f"{self._path}#{made}" in self.known

    def is_buried(self, text: str) -> bool:
        """Whether an entry with these words was forgotten."""
        return bool(self.buried) and self.hasher.of(text) in self.buried

    def _file_known(self, path: str) -> bool:
        if not (self.known or self.buried):
            return False
        made = self.hasher.of_path(path)
        return made in self.buried or f"{path}#{made}" in self.known

    def _tomb(self, path: str, line: int, text: str) -> str:
        made = self.hasher.of(text)
        self.gone.append(Gone(path, line, made, text))
        return f"forgotten ({made[:SHOWN]})"

    # --- the daily log ---------------------------------------------------------------

    def _daily(self, path: str, day: str, lines: Iterable[bytes]) -> Iterator[bytes]:
        entry: list[bytes] = []
        first = number = 0
        for line in lines:
            number += 1
            if entry and not _HEAD.match(line) and not line.startswith((b"#", b"<<<<", b">>>>")):
                entry.append(line)
                continue
            yield from self._entry(path, day, first, entry)
            entry, first = [line], number
        yield from self._entry(path, day, first, entry)

    def _entry(self, path: str, day: str, first: int, entry: list[bytes]) -> list[bytes]:
        if not entry:
            return entry
        head = _HEAD.match(entry[0])
        if head is None:
            # A line by hand, and what follows it: each paragraph by itself would be no less.
            text = b"".join(entry).decode("utf-8", "replace").strip()
            if not text or text.startswith("# ") or not self._meant(text):
                return entry
            tomb = self._tomb(path, first, text)
            return [f"{tomb}\n".encode(), *(b"\n" for _ in entry[1:])]
        text = b"".join([head[4], *entry[1:]]).decode("utf-8", "replace").strip()
        text = _MARK.sub("", text)
        if _TOMB.fullmatch(text) or not (
            self._of_job(text)
            or self._in_span(day, head, text)
            or (self.said and self.hasher.of(text) in self.said)
            or self._meant(_said_in(text))
            or self._is_known(text)
        ):
            return entry
        clock = entry[0][2 : head.start(4)].decode()
        tomb = self._tomb(path, first, text)
        end = b"\n" if entry[0].endswith(b"\n") else b""
        return [f"- {clock}{tomb}".encode() + end, *(b"\n" for _ in entry[1:])]

    def _of_job(self, text: str) -> bool:
        """By what stead wrote of it, not by what somebody said in it."""
        if not self.jobs:
            return False
        frame = _FRAME.match(text)
        told = frame[0] if frame else text if not text.startswith("**") else ""
        return any(job in self.jobs for job in _JOB.findall(told))

    def _in_span(self, day: str, head: re.Match[bytes], text: str) -> bool:
        if not (self.since or self.until):
            return False
        try:
            moment = datetime.strptime(day, "%Y-%m-%d").replace(
                hour=int(head[1]), minute=int(head[2]), second=int(head[3] or 0)
            )
        except ValueError:
            return False
        at = int(moment.timestamp() * 1000)
        # A line tells whole seconds.
        if at + 999 < self.since or (self.until and at >= self.until):
            return False
        if not self.session:
            return True
        frame = _FRAME.match(text)
        return frame is not None and (frame[1] or "").split(", ", 1)[-1] == self.session

    # --- cards and standing files ------------------------------------------------------

    def _blocks(self, path: str, lines: list[bytes]) -> list[bytes]:
        texts = [line.decode("utf-8", "surrogateescape") for line in lines]
        begun, start = len(self.gone), _front(texts)
        card = "/cards/" in path
        title = next((one for one in texts[start:] if one.strip()), "")
        top = _FIELD.sub("", "".join(texts[:start])) + (title if _HEADING.match(title) else "")
        if card and (self._file_known(path) or self._meant(top) or self._meant(_stem(path))):
            self._tomb(path, 1, "".join(texts))
            self.gone.append(Gone(path, 1, self.hasher.of_path(path), ""))
            return []
        kept: list[str] = []
        for number, one in enumerate(texts[:start], 1):
            if one.strip(" -\r\n") and self._meant(_FIELD.sub("", one)):
                self._tomb(path, number, one)
            else:
                kept.append(one)
        left = section = 0
        for first, block in _split(texts, start):
            text = "".join(block).strip()
            heading = _HEADING.match(text)
            if heading and section and len(heading[1]) <= section:
                section = 0
            meant = bool(text) and not _TOMB.search(text) and (bool(section) or self._meant(text))
            if not meant:
                kept += block
                left += bool(text) and not heading
                continue
            if heading and not section:  # all that is under it is about it
                section = len(heading[1])
            item = _ITEM.match(block[0])
            tomb = self._tomb(path, first + 1, text)
            ends = "\n" if block[-1].endswith("\n") else ""
            kept.append(f"{item[1] if item else ''}{tomb}{ends}")
        if card and len(self.gone) > begun and not left:
            self.gone.append(Gone(path, 1, self.hasher.of_path(path), ""))
            return []
        return [one.encode("utf-8", "surrogateescape") for one in kept]

    # --- contacts, the graph, the rest ---------------------------------------------------

    def _contacts(self, path: str, lines: list[bytes]) -> list[bytes]:
        kept: list[bytes] = []
        cards, begun = 0, len(self.gone)
        for first, card in _cards(lines):
            told = [(name, value) for name, value, _ in _properties(card)]
            whole = b"".join(card).decode("utf-8", "replace")
            named = any(
                name in _PERSONAL and self._meant(each)
                for name, value in told
                for each in (value, _given_first(value))
            )
            if any(name for name, _ in told) and (named or self._is_known(whole)):
                self._tomb(path, first, whole)
                continue
            for _, value, raw in _properties(card):
                if value and self._meant(value):
                    self._tomb(path, first, value)
                else:
                    kept += raw
            cards += any(name for name, _ in told)
        if len(self.gone) > begun and not cards:
            self.gone.append(Gone(path, 1, self.hasher.of_path(path), ""))
            return []
        return kept

    def _journal(self, path: str, lines: list[bytes]) -> list[bytes]:
        kept, gone = graph.without(lines, self._meant, self._is_known, self.entities)
        for number, text in gone:
            self._tomb(path, number, text)
        return kept

    def _lines(self, path: str, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Of any other file: the lines that are meant."""
        for number, line in enumerate(lines, 1):
            text = line.decode("utf-8", "replace").strip()
            if text and self._meant(text):
                self._tomb(path, number, text)
            else:
                yield line


def _said_in(text: str) -> str:
    """Of a line of the daily log what was said, without what stead wrote around it."""
    frame = _FRAME.match(text)
    if frame is not None:
        return text[frame.end() :]
    if _EVENT.fullmatch(text):  # what a tool was given, and what was noted of it
        return "\n".join(one for pair in _GIVEN.findall(text) for one in pair)
    return text


def _own_words(text: str) -> str:
    """Without the names of what is said: labels of front matter, and in marks behind an item."""
    if "<!--" in text:
        text = _COMMENT.sub(lambda found: _LABEL.sub(" ", found[0]), text)
    return text


def personal_names(lines: Iterable[bytes], meant: Matcher) -> set[str]:
    """All names, addresses and numbers of the contacts that are meant."""
    found: set[str] = set()
    for _, card in _cards(list(lines)):
        told = [(name, value) for name, value, _ in _properties(card)]
        names = [value for name, value in told if name in ("FN", "N", "NICKNAME", "EMAIL", "TEL")]
        if any(meant(each) for value in names for each in (value, _given_first(value))):
            found |= {_given_first(value) for value in names if value.strip(" ;")}
    return found


def _front(texts: list[str]) -> int:
    """Where the front matter ends."""
    if not texts or texts[0].lstrip("\ufeff").strip() != "---":
        return 0
    for number, line in enumerate(texts[1:200], 1):
        if line.strip() == "---":
            return number + 1
    return 0


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".md")


def _split(texts: list[str], start: int) -> Iterator[tuple[int, list[str]]]:
    """Blocks: a heading, an item with what is indented under it, a paragraph, a fenced part."""
    block: list[str] = []
    first, fence = start, ""
    for number in range(start, len(texts)):
        line = texts[number]
        bare = line.strip()
        if fence:
            block.append(line)
            if bare.startswith(fence):
                fence = ""
            continue
        begins = bool(_ITEM.match(line) or _HEADING.match(line) or not bare)
        if begins and block:
            yield first, block
            block = []
        if not block:
            first = number
        block.append(line)
        if bare.startswith(("```", "~~~")):
            fence = bare[:3]
        elif _HEADING.match(line) or not bare:
            yield first, block
            block = []
    if block:
        yield first, block


def _cards(lines: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    card: list[bytes] = []
    first = 1
    for number, line in enumerate(lines, 1):
        if line.strip().upper() == b"BEGIN:VCARD" and card:
            yield first, card
            card, first = [], number
        card.append(line)
    if card:
        yield first, card


def _properties(card: list[bytes]) -> Iterator[tuple[str, str, list[bytes]]]:
    """Name, value and lines of each property; a line that goes on begins with a space (RFC 6350,
    3.2)."""
    raw: list[bytes] = []
    for line in [*card, b""]:
        if raw and line[:1] in (b" ", b"\t"):
            raw.append(line)
            continue
        if raw:
            more = [one.rstrip(b"\r\n")[1:] for one in raw[1:]]
            whole = b"".join([raw[0].rstrip(b"\r\n"), *more])
            name, _, value = whole.decode("utf-8", "replace").partition(":")
            name = name.split(";")[0].split(".")[-1].strip().upper()
            frame = name in ("BEGIN", "END", "VERSION", "")
            yield ("" if frame else name), ("" if frame else value), raw
        raw = [line]


def _given_first(value: str) -> str:
    """``Berger;Anna;;;`` -> ``Anna Berger``."""
    parts = value.split(";")
    return f"{parts[1]} {parts[0]}".strip() if len(parts) > 1 else value
