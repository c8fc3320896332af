"""Request heads that the parser has understood before, so that it need not read them again.

A client says nearly the same with each request: only the length of the body differs. A head whose
bytes are those of an earlier one but for the digits of its ``content-length`` means the same, and
what httptools made of the earlier one is taken. Anything else is for httptools.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from stead.gateway.exchange import Pairs, Place

#: So many heads are kept, of at most so many bytes; when there are more, all are forgotten.
_MOST, _LONGEST = 512, 8192
_MOST_DIGITS = 9
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,%d})\r\n" % _MOST_DIGITS)
_END = b"\r\n\r\n"
#: With one of these, it is not the head and the length alone that say what follows.
_ODD = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection", b"te", b"trailer"})


@dataclass(frozen=True, slots=True)
class Known:
    """What a head said."""

    place: Place
    query: bytes
    headers: Pairs
    asker: Any
    """What its door made of it: see :meth:`~stead.gateway.exchange.Door.asker`."""
    before: bytes
    """Its bytes up to the digits of the length."""
    after: bytes
    """Those from there on, to the end of the head."""

    def body_at(self, data: bytes) -> int:
        """Where the body begins, if data is one whole request with such a head; else 0."""
        if not data.startswith(self.before):
            return 0
        at = len(self.before)
        to = data.find(b"\r", at, at + _MOST_DIGITS + 1)
        if not data.startswith(self.after, to) or not data[at:to].isdigit():
            return 0
        start = to + len(self.after)
        return start if len(data) - start == int(data[at:to]) else 0


class Heads:
    """The heads of one port."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], Known] = {}

    def find(self, data: bytes) -> Known | None:
        """What is known of the head that data begins with."""
        end = data.find(_END)
        length = _LENGTH.search(data, 0, end + 2)
        if length is None:
            return None
        at, to = length.span(1)
        return self._known.get((data[:at], data[to : end + 4]))

    def learn(self, data: bytes, place: Place, query: bytes, headers: Pairs, asker: Any) -> None:
        """Keep what the parser has made of the head that data begins with: only if it is plain."""
        end = data.find(_END)
        length = _LENGTH.search(data, 0, end + 2)
        if length is None or end > _LONGEST or not _is_plain(data[:end], headers):
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        at, to = length.span(1)
        key = data[:at], data[to : end + 4]
        self._known[key] = Known(place, query, headers, asker, *key)


def _is_plain(head: bytes, headers: Pairs) -> bool:
    """Whether these lines and nothing else are what the parser has read."""
    first, *lines = head.split(b"\r\n")
    if not first.startswith(b"POST ") or not first.endswith(b" HTTP/1.1"):
        return False
    found: Pairs = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            return False
        found.append((name.lower(), value.strip(b" \t")))
    names = [name for name, _ in found]
    return found == headers and names.count(b"content-length") == 1 and _ODD.isdisjoint(names)
