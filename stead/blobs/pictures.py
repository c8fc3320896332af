"""Whether the bytes of a picture are whole, and how large it is: looked at, never decoded.

A model's provider answers a picture that is cut off with an error for the whole request; so what
is broken is not sent, and is told of instead. Formats: PNG (RFC 2083), JPEG (ITU T.81, annex B),
GIF89a, WebP (RFC 9649).
"""

from __future__ import annotations

import struct
import zlib

MOST_PIXELS = 100_000_000
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def measured(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels of a whole picture; None if it is broken, cut off, or of another
    kind."""
    try:
        found = _measured(data)
    except (struct.error, IndexError):
        return None
    if found is None or not 0 < found[0] * found[1] <= MOST_PIXELS:
        return None
    return found


def _measured(data: bytes) -> tuple[int, int] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return struct.unpack("<HH", data[6:10]) if data.rstrip(b"\0")[-1:] == b";" else None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def _png(data: bytes) -> tuple[int, int] | None:
    at, size = 8, None
    while True:
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        if check != zlib.crc32(body, zlib.crc32(kind)):
            return None
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        if kind == b"IEND":
            return size
        at += 12 + length


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        if data[at] != 0xFF:
            return None
        mark = data[at + 1]
        if mark == 0xFF:
            at += 1
        elif mark in _NO_LENGTH:
            at += 2
        elif mark in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            # What follows is packed; its end is a mark of its own (some write on behind it).
            return (width, height) if data.rfind(b"\xff\xd9") > at else None
        else:
            at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])


def _webp(data: bytes) -> tuple[int, int] | None:
    (size,) = struct.unpack("<I", data[4:8])
    if len(data) < size + 8:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[n : n + 3], "little") + 1 for n in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (n & 0x3FFF for n in struct.unpack("<HH", data[26:30]))
    else:
        return None
    return width, height
