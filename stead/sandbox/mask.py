"""Known secret values are hidden wherever they show: in what tools say, in logs, in records.

No wall, a net below the walls: a sandbox is never given a secret, so what is caught here came out
by accident, in one of the forms that programs print values in: as they are, reversed, escaped for
JSON, HTML, URLs or shells, in hexadecimal, in base64 at any place of a longer text, broken over
lines. A program that is out to smuggle a value it has read can always find a form of its own; it
must not come to read one.

All forms are looked for in two shadows of the text: one without white space and backslashes, one
in lower case without what stands between hexadecimal digits. Needles are found there by the search
of ``bytes``, which skips ahead: 1 MB against the forms of 20 secrets takes some 20 ms.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

#: As ``html.escape`` does it, whose module brings half a megabyte of names along.
_HTML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
)  # fmt: skip
SHORT = 8
"""Characters. A shorter value is hidden only where it stands alone, as it is."""
LEAST = 4
"""A value shorter than this is not hidden: it would black out half of every text."""

_LOOKED_BACK = 32768
"""A stream holds back at most so many bytes in which a value may have begun."""
_DEEPEST = 12

_ESCAPED = re.compile(rb"\\[nrt]|[ \t\r\n\\]+")
_BETWEEN_HEX = re.compile(rb"0x|[ \t\r\n\\%:,;x'\"]+")
_HEX = re.compile(rb"[0-9a-f]+")

Span = tuple[int, int, str]


def _squeezed(data: bytes) -> bytes:
    if b"\\" in data:
        for escape in (b"\\n", b"\\r", b"\\t"):
            data = data.replace(escape, b"")
    return data.translate(None, b" \t\r\n\\")


def _hexed(data: bytes) -> bytes:
    return data.lower().replace(b"0x", b"").translate(None, b" \t\r\n\\%:,;x'\"")


@dataclass(frozen=True, slots=True)
class _Shadow:
    """A way to read a text in which a set of needles is looked for."""

    cast: Callable[[bytes], bytes]
    dropped: re.Pattern[bytes]
    """What ``cast`` leaves out."""
    lower: bool
    needles: tuple[tuple[bytes, str], ...]
    beginnings: frozenset[bytes]
    longest: int

    @classmethod
    def of(
        cls,
        cast: Callable[[bytes], bytes],
        dropped: re.Pattern[bytes],
        lower: bool,
        needles: Mapping[bytes, str],
    ) -> _Shadow:
        ordered = sorted(needles.items(), key=lambda item: -len(item[0]))
        beginnings = frozenset(
            needle[:length] for needle, _ in ordered for length in range(1, len(needle))
        )
        longest = max((len(needle) for needle, _ in ordered), default=0)
        return cls(cast, dropped, lower, tuple(ordered), beginnings, longest)

    def spans(self, data: bytes) -> Iterator[Span]:
        """Where in ``data`` needles are; the work of finding the places is done only then."""
        if not self.needles:
            return
        shadow, places = self.cast(data), None
        for needle, name in self.needles:
            at = shadow.find(needle)
            while at >= 0:
                places = places or _Places(data.lower() if self.lower else data, self.dropped)
                yield places.of(at), places.of(at + len(needle) - 1) + 1, name
                at = shadow.find(needle, at + 1)

    def begun(self, data: bytes) -> int:
        """Where a needle may begin that is not complete yet; the end of ``data`` if none does."""
        if not self.needles:
            return len(data)
        before = max(0, len(data) - _LOOKED_BACK)
        data = data[before:]
        shadow = self.cast(data)
        for length in range(min(self.longest - 1, len(shadow)), 0, -1):
            if shadow[-length:] in self.beginnings:
                places = _Places(data.lower() if self.lower else data, self.dropped)
                return before + places.of(len(shadow) - length)
        return before + len(data)


class _Places:
    """From places in a shadow to places in the text."""

    def __init__(self, data: bytes, dropped: re.Pattern[bytes]) -> None:
        self._shadow: list[int] = [0]
        self._offset: list[int] = [0]
        gone = 0
        for match in dropped.finditer(data):
            gone += match.end() - match.start()
            self._shadow.append(match.end() - gone)
            self._offset.append(gone)

    def of(self, at: int) -> int:
        return at + self._offset[bisect_right(self._shadow, at) - 1]


class Masker:
    """Hides the values of secrets, ``{name: value}``; not to be changed once made."""

    def __init__(self, secrets: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = list(secrets.items() if isinstance(secrets, Mapping) else secrets)
        squeezed: dict[bytes, str] = {}
        hexed: dict[bytes, str] = {}
        short: dict[bytes, str] = {}
        for name, value in pairs:
            for part in _parts(value):
                if len(part) >= SHORT:
                    _forms(part, name, squeezed, hexed)
                elif len(part) >= LEAST:
                    for form in (part, quote(part, safe="")):
                        short.setdefault(form.encode(errors="surrogatepass"), name)
        self._shadows = (
            _Shadow.of(_squeezed, _ESCAPED, False, squeezed),
            _Shadow.of(_hexed, _BETWEEN_HEX, True, hexed),
        )
        self._short = short
        self._alone = re.compile(
            rb"(?<![0-9A-Za-z])(?:%b)(?![0-9A-Za-z])"
            % b"|".join(re.escape(one) for one in sorted(short, key=len, reverse=True))
        )

    def __bool__(self) -> bool:
        return bool(self._short) or any(shadow.needles for shadow in self._shadows)

    def mask(self, text: str) -> str:
        """The text with ``[secret NAME]`` in place of each value; itself where there is none."""
        if not self:
            return text
        data = text.encode("utf-8", "surrogatepass")
        spans = self._spans(data)
        if not spans:
            return text
        return _replaced(data, spans).decode("utf-8", "surrogatepass")

    def mask_bytes(self, data: bytes) -> bytes:
        """The same for bytes in whatever encoding."""
        spans = self._spans(data) if self else []
        return _replaced(data, spans) if spans else data

    def mask_all(self, value: object, depth: int = 0) -> object:
        """The same for all texts in what JSON can hold, keys too."""
        if isinstance(value, str):
            return self.mask(value)
        if depth < _DEEPEST and isinstance(value, Mapping):
            return {
                self.mask(str(key)): self.mask_all(item, depth + 1) for key, item in value.items()
            }
        if depth < _DEEPEST and isinstance(value, list | tuple):
            return [self.mask_all(item, depth + 1) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.mask(str(value))

    def stream(self) -> Stream:
        """For a text that comes in pieces."""
        return Stream(self)

    def _spans(self, data: bytes) -> list[Span]:
        found = [span for shadow in self._shadows for span in shadow.spans(data)]
        if self._short:
            found += [
                (match.start(), match.end(), self._short[match[0]])
                for match in self._alone.finditer(data)
            ]
        return _merged(found)

    def _begun(self, data: bytes) -> int:
        begun = min(shadow.begun(data) for shadow in self._shadows)
        # A short value at the very end may yet turn out to be part of a longer word.
        longest = max(map(len, self._short), default=-1) + 1
        return min(begun, max(0, len(data) - longest))


class Stream:
    """Masks a text that comes in pieces, also where a value is spread over some of them.

    Held back is only what may be the beginning of a value.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What of the text so far can be handed on."""
        if not self._masker:
            return piece
        data = self._held + piece
        begun = self._masker._begun(data)
        spans = self._masker._spans(data)
        for start, end, _ in spans:
            if start < begun < end:
                begun = start
        self._held = data[begun:]
        return _replaced(data[:begun], [span for span in spans if span[1] <= begun])

    def end(self) -> bytes:
        """The rest."""
        held, self._held = self._held, b""
        return self._masker.mask_bytes(held)


def _merged(spans: list[Span]) -> list[Span]:
    """In order, those that touch or overlap as one."""
    merged: list[Span] = []
    for start, end, name in sorted(spans):
        if merged and start < merged[-1][1]:
            last = merged[-1]
            merged[-1] = (last[0], max(last[1], end), last[2])
        else:
            merged.append((start, end, name))
    return merged


def _replaced(data: bytes, spans: list[Span]) -> bytes:
    out, at = [], 0
    for start, end, name in spans:
        out += [data[at:start], f"[secret {name}]".encode()]
        at = end
    out.append(data[at:])
    return b"".join(out)


def _parts(value: str) -> Iterator[str]:
    """What is secret of a value: all of it, and each of its lines (private keys)."""
    value = value.strip()
    yield value
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (
            line.strip()
            for line in lines
            if len(line.strip()) >= 2 * SHORT and not line.startswith("-----")
        )


def _forms(value: str, name: str, squeezed: dict[bytes, str], hexed: dict[bytes, str]) -> None:
    """Every form of a value, as the shadows show it."""
    raw = value.encode("utf-8", "surrogatepass")
    texts = {value, value[::-1], value.translate(_HTML), json.dumps(value)[1:-1]}
    texts.update(_url_forms(value))
    for text in texts:
        needle = _squeezed(text.encode("utf-8", "surrogatepass"))
        if len(needle) >= SHORT // 2:
            squeezed.setdefault(needle, name)
    for needle in _base64_forms(raw):
        squeezed.setdefault(needle, name)
    hexed.setdefault(_hexed(raw.hex().encode()), name)
    own = _hexed(raw)
    if len(own) >= SHORT and _HEX.fullmatch(own):
        hexed.setdefault(own, name)  # a key that is hexadecimal itself, in whatever case


def _url_forms(value: str) -> Iterator[str]:
    for encode in (quote, quote_plus):
        for safe in ("", "/", "~()*!'"):
            encoded = encode(value, safe=safe, errors="surrogatepass")
            yield encoded
            yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """The letters that depend on the value alone, for each place it can have among others."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw + b"\0\0")
        first = (before * 8 + 5) // 6
        last = (before + len(raw)) * 8 // 6
        needle = encoded[first:last]
        if len(needle) < SHORT:
            continue
        yield needle
        if (safe := needle.translate(bytes.maketrans(b"+/", b"-_"))) != needle:
            yield safe
