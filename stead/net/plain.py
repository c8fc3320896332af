"""Heads of plain answers, which are known without a parser.

Plain is a 200 with one length and nothing odd. What is not quite plain is for the parser to judge.
"""

from __future__ import annotations

#: How a plain answer begins, and what it has not got: by them it is known without a parser.
_OK = (b"HTTP/1.1 200 ", b"HTTP/1.1 200\r\n")
_LENGTH = b"\r\ncontent-length:"
#: Such heads come again and again: what the last ones said, by their bytes.
KNOWN: dict[bytes, tuple[bytes, int]] = {}
_MOST = 256


def plain_head(head: bytes) -> tuple[bytes, int] | None:
    """The head of a plain answer in lower case, and the length of its body; None: not plain."""
    if not head.startswith(_OK):
        return None
    low = head.lower()
    at = low.find(_LENGTH)
    if at < 0 or low.find(_LENGTH, at + 1) >= 0 or b"\ntransfer-encoding:" in low:
        return None
    if b"close" in low or b"upgrade" in low or b"\n " in low or b"\n\t" in low:
        return None
    if b"\0" in low or low.count(b"\n") != low.count(b"\r\n"):
        return None
    size = low[at + len(_LENGTH) :].partition(b"\r\n")[0].strip(b" \t")
    if not size.isdigit() or len(size) > 15:
        return None
    if len(KNOWN) >= _MOST:
        KNOWN.clear()
    found = KNOWN[head] = (low, int(size))
    return found
