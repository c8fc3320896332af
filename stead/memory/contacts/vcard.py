"""vCards (RFC 6350, RFC 2426, and 2.1 as telephones write it): read whole, written whole.

No property is dropped, reordered or reworded: what this program does not understand goes out as it
came in. Of 2.1 only the way of writing is changed (quoted-printable, bare parameters), into 3.0.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO

MOST_BYTES = 8_000_000
"""Of one card, photographs and all."""
_FOLD = 75
_BOMS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_NAME = re.compile(r"(?:([A-Za-z0-9-]+)\.)?([A-Za-z0-9-]+)\Z")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Property:
    """One line: ``item1.TEL;TYPE=cell:+49 171 1``."""

    name: str
    """In capitals."""
    value: str
    """As it stands, escapes and all."""
    params: tuple[tuple[str, str], ...] = ()
    """Name in capitals and value as it stands, quotes too, in their order."""
    group: str = ""
    written: str = ""
    """The name as it stands, where that is not in capitals (``X-ABLabel``)."""

    def types(self) -> tuple[str, ...]:
        """``cell``, ``home``..., in small letters."""
        found: list[str] = []
        for name, value in self.params:
            if name == "TYPE":
                parts = value.replace('"', "").split(",")
                found += [one.strip().lower() for one in parts if one.strip()]
        return tuple(dict.fromkeys(found))

    @property
    def text(self) -> str:
        """The value without escapes; a list's commas stay."""
        return unescape(self.value)

    def parts(self) -> list[str]:
        """The components of ``N``, ``ADR``, ``ORG``, without escapes."""
        return [unescape(part) for part in _split(self.value)]

    def line(self) -> str:
        """As it is written, not folded."""
        head = (f"{self.group}." if self.group else "") + (self.written or self.name)
        for name, value in self.params:
            bare = '"' not in value and re.search(r"[:;]", value)
            quoted = f'"{value}"' if bare else value
            head += f";{name}={quoted}" if name else f";{quoted}"
        return f"{head}:{self.value}"


@dataclass(frozen=True, slots=True)
class Card:
    """A person (or a group, or an organisation), as one vCard has it."""

    properties: tuple[Property, ...]
    """All but BEGIN, END and VERSION."""
    version: str = "3.0"

    def all(self, name: str) -> list[Property]:
        return [one for one in self.properties if one.name == name]

    def first(self, name: str) -> str:
        """The text of the first property of that name; empty for none."""
        return next((one.text.strip() for one in self.properties if one.name == name), "")

    @property
    def uid(self) -> str:
        return self.first("UID")

    @property
    def name(self) -> str:
        """What the person is called: FN, else made of N, ORG, EMAIL..."""
        if found := " ".join(self.first("FN").split()):
            return found
        for one in self.all("N"):
            family, given, *more = [*one.parts(), "", ""]
            if made := " ".join(" ".join((given, *more[:1], family)).split()):
                return made
        for name in ("ORG", "NICKNAME", "EMAIL", "TEL"):
            if found := " ".join(self.first(name).replace(";", " ").split()):
                return found
        return ""

    def addresses(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """(kind, address as it stands, types): email, tel, impp, url."""
        kinds = {"EMAIL": "email", "TEL": "tel", "IMPP": "impp", "URL": "url"}
        return [
            (kinds[one.name], address, one.types())
            for one in self.properties
            if one.name in kinds and (address := one.text.strip())
        ]

    def text(self, version: str = "") -> str:
        """The whole card, folded, with CRLF; in another version, with what that asks for."""
        properties = self.properties
        if version and version != self.version:
            properties = _demanded(self, [_in_version(one, version) for one in properties])
        lines = ["BEGIN:VCARD", f"VERSION:{version or self.version}"]
        lines += [one.line() for one in properties]
        lines.append("END:VCARD")
        return "".join(fold(line) + "\r\n" for line in lines)

    def content(self) -> frozenset[str]:
        """What it says, for comparison: lines but for what changes by being passed on."""
        passing = ("REV", "PRODID", "UID")
        return frozenset(one.line() for one in self.properties if one.name not in passing)


@dataclass(frozen=True, slots=True)
class Bad:
    """A card that could not be read."""

    line: int
    why: str


def read_cards(file: IO[bytes]) -> Iterator[tuple[Card | Bad, int]]:
    """Cards of a stream of any length, one at a time, each with the bytes read so far.

    What is no card is passed by; what is a damaged one comes as :class:`Bad`.
    """
    kept: list[bytes] = []
    depth, size, began, number, seen = 0, 0, 0, 0, 0
    for raw, number in _lines(file):
        seen += len(raw)
        head = raw.strip().upper()
        if head == b"BEGIN:VCARD":
            if depth and size > MOST_BYTES:
                depth = 0
            if not depth:
                kept, size, began = [], 0, number
            depth += 1
        if not depth:
            continue
        size += len(raw)
        if size <= MOST_BYTES:
            kept.append(raw)
        if head == b"END:VCARD":
            depth -= 1
            if not depth:
                if size > MOST_BYTES:
                    yield Bad(began, f"it is longer than {MOST_BYTES} bytes"), seen
                else:
                    yield _card(kept, began), seen
                kept = []
    if depth:
        yield Bad(began, "it has no END:VCARD"), seen


def _lines(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    start = file.read(3)
    coding = next((name for bom, name in _BOMS if start.startswith(bom)), "")
    if coding:  # UTF-16 of old address books; read whole, as it is rare and never large
        rest = start[2:] + file.read(64_000_000)
        whole = rest.decode(coding, "replace").encode(errors="replace")
        yield from ((line, at) for at, line in enumerate(whole.splitlines(True), 1))
        return
    first = (b"" if start == b"\xef\xbb\xbf" else start) + file.readline(MOST_BYTES)
    number = 1
    for line in first.replace(b"\r\n", b"\n").replace(b"\r", b"\n").splitlines(True):
        yield line, number
        number += 1
    while raw := file.readline(MOST_BYTES):
        pieces = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").splitlines(True)
        for piece in pieces:
            yield piece, number
            number += 1


def parse(text: str | bytes) -> Card:
    """The one card of a text. Raises ``ValueError``, in words."""
    import io  # late: small, and only who has a text and no file needs it

    data = text.encode(errors="replace") if isinstance(text, str) else text
    found = [card for card, _ in read_cards(io.BytesIO(data))]
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} vCards, not one")
    if isinstance(found[0], Bad):
        raise ValueError(found[0].why)
    return found[0]


def _card(raw: list[bytes], began: int) -> Card | Bad:
    properties: list[Property] = []
    version, depth = "", 0
    try:
        for line in _unfolded(raw):
            one = _property(line)
            if one is None:
                continue
            if one.name == "BEGIN":
                depth += 1
                if depth == 1:
                    continue
            if depth == 1 and one.name == "END":
                break
            if one.name == "END":
                depth -= 1
            if depth == 1 and one.name == "VERSION":
                version = version or one.value.strip()
                continue
            properties.append(one)
    except ValueError as error:
        return Bad(began, str(error))
    if version not in ("2.1", "3.0", "4.0"):
        version = "2.1" if not version else "3.0"
    if version == "2.1":
        properties = [_modern(one) for one in properties]
        version = "3.0"
    if not properties:
        return Bad(began, "it is empty")
    return Card(tuple(properties), version)


def _unfolded(raw: Iterable[bytes]) -> Iterator[bytes]:
    """Logical lines: folded ones (RFC 6350, 3.2) and those of quoted-printable joined."""
    whole = b""
    soft = False
    for piece in raw:
        line = piece.rstrip(b"\r\n")
        if soft:
            whole = whole[:-1] + line
        elif whole and line[:1] in (b" ", b"\t"):
            whole += line[1:]
            continue
        else:
            if whole:
                yield whole
            whole = line
        head = whole.partition(b":")[0].upper()
        soft = b"QUOTED-PRINTABLE" in head and whole.endswith(b"=")
    if whole:
        yield whole


def _property(line: bytes) -> Property | None:
    if not line.strip():
        return None
    head, value = _cut(line)
    words = [_text(word) for word in head]
    matched = _NAME.match(words[0].strip())
    if matched is None:
        raise ValueError(f"a line is no property: {_text(line)[:60]!r}")
    params: list[tuple[str, str]] = []
    for word in words[1:]:
        name, equals, param = word.partition("=")
        if equals:
            param = param.strip() if param.count('"') % 2 == 0 else param.replace('"', "").strip()
            params.append((name.strip().upper(), param))
        elif name.strip():
            params.append(("", name.strip()))
    made = _decoded(matched[2].upper(), matched[1] or "", params, value)
    return made if matched[2] == made.name else replace(made, written=matched[2])


def _cut(line: bytes) -> tuple[list[bytes], bytes]:
    """At the colon and semicolons that stand outside of quotes."""
    head, colon, value = line.partition(b":")
    if colon and b'"' not in head:
        return head.split(b";"), value
    words, start, quoted = [], 0, False
    for at, char in enumerate(line):
        if char == 0x22:
            quoted = not quoted
        elif not quoted and char in b":;":
            words.append(line[start:at])
            start = at + 1
            if char == 0x3A:
                return words, line[start:]
    if not colon:  # else: a quote that never ends
        raise ValueError(f"a line has no colon: {_text(line)[:60]!r}")
    return head.split(b";"), value


def _decoded(name: str, group: str, params: list[tuple[str, str]], raw: bytes) -> Property:
    codings = {param.upper() for key, param in params if key in ("ENCODING", "")}
    charset = next((param for key, param in params if key == "CHARSET"), "")
    kept = [pair for pair in params if pair[0] != "CHARSET"]
    if "QUOTED-PRINTABLE" in codings:
        kept = [pair for pair in kept if pair[1].upper() != "QUOTED-PRINTABLE"]
        value = _text(quopri.decodestring(raw), charset).replace("\r\n", "\n")
        value = value.replace("\r", "\n").replace("\n", "\\n")
    else:
        value = _text(raw, charset)
    value = _CONTROLS.sub("", value)
    return Property(name, value, tuple(kept), group)


def _text(raw: bytes, charset: str = "") -> str:
    for coding in (charset, "utf-8", "cp1252"):
        try:
            if coding:
                return raw.decode(coding)
        except (UnicodeDecodeError, LookupError, ValueError):
            continue
    return raw.decode("latin-1")


_CODES = {"BASE64": "b", "B": "b"}


def _modern(one: Property) -> Property:
    """A property of 2.1 as 3.0 writes it."""
    params: list[tuple[str, str]] = []
    for name, value in one.params:
        upper = value.upper()
        if (name in ("", "ENCODING")) and upper in _CODES:
            params.append(("ENCODING", "b"))
        elif (name in ("", "ENCODING")) and upper in ("8BIT", "7BIT"):
            continue
        else:
            params.append((name or "TYPE", value))
    value = one.value
    if one.name in ("N", "FN", "ADR", "ORG", "NOTE", "TITLE", "ROLE", "LABEL"):
        value = re.sub(r"(?<!\\),", r"\\,", value)
    elif ("ENCODING", "b") in params:
        value = value.replace(" ", "")
    return replace(one, params=tuple(params), value=value)


def _in_version(one: Property, version: str) -> Property:
    """Photographs and the like stand in another form in 3.0 and 4.0; all else is the same."""
    coded = next((pair for pair in one.params if pair == ("ENCODING", "b")), None)
    if version == "4.0" and coded and one.name in ("PHOTO", "LOGO", "SOUND", "KEY"):
        kind = (one.types() or ("octet-stream",))[0]
        family = {"SOUND": "audio", "KEY": "application"}.get(one.name, "image")
        family = "application" if kind == "octet-stream" else family
        kept = tuple(pair for pair in one.params if pair[0] not in ("ENCODING", "TYPE"))
        return replace(one, params=kept, value=f"data:{family}/{kind};base64,{one.value}")
    matched = re.match(r"data:\w+/([\w.+-]+);base64,", one.value) if version == "3.0" else None
    if matched:
        params = (*one.params, ("ENCODING", "b"), ("TYPE", matched[1].upper()))
        return replace(one, params=params, value=one.value[matched.end() :])
    return one


def _demanded(card: Card, properties: list[Property]) -> tuple[Property, ...]:
    """FN must be there, and in 3.0 also N."""
    if not any(one.name == "N" for one in properties):
        properties.insert(0, Property("N", f"{escape(card.name)};;;;"))
    if not any(one.name == "FN" for one in properties):
        properties.insert(0, Property("FN", escape(card.name or "?")))
    return tuple(properties)


def fold(line: str) -> str:
    """Cut into pieces of at most 75 bytes, never within a character."""
    data = line.encode(errors="replace")
    if len(data) <= _FOLD:
        return data.decode()
    pieces, start, room = [], 0, _FOLD
    while start < len(data):
        end = min(start + room, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(data[start:end].decode())
        start, room = end, _FOLD - 1
    return "\r\n ".join(pieces)


def _split(value: str, at: str = ";") -> list[str]:
    """At separators that are not escaped."""
    parts, start, skip = [], 0, False
    for index, char in enumerate(value):
        if skip:
            skip = False
        elif char == "\\":
            skip = True
        elif char == at:
            parts.append(value[start:index])
            start = index + 1
    return [*parts, value[start:]]


def unescape(value: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)


def escape(text: str) -> str:
    """Words as a value of 3.0 and 4.0 writes them."""
    text = text.replace("\\", "\\\\").replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\\n").replace(",", "\\,").replace(";", "\\;")
