"""What a file is, by its first bytes: what it is called, or said to be, proves nothing.

Names what stead itself treats in a way of its own (shows, plays, reads) and what people hand in
most; all else is ``application/octet-stream``. Formats: PNG (RFC 2083), JPEG (ITU T.81), GIF89a,
WebP (RFC 9649), BMFF (ISO 14496-12), RIFF, Ogg (RFC 3533), Matroska (RFC 9559).
"""

from __future__ import annotations

HEAD = 4096
"""Bytes that are looked at."""

_OTHER = "application/octet-stream"
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\x7fELF", "application/x-elf"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic",
    b"mif1": "image/heif", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime",
}  # fmt: skip
#: Zip files by the name of their first entry or its content.
_ZIPPED = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    (b"mimetypeapplication/epub+zip", "application/epub+zip"),
    (b"mimetypeapplication/vnd.oasis.opendocument.text",
     "application/vnd.oasis.opendocument.text"),
)  # fmt: skip

#: What a browser may show as it is: nothing that can hold a script.
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
#: What a model can be sent as a picture.
SEEN = SHOWN

ENDINGS = {
    "image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp",
    "application/pdf": ".pdf", "text/plain": ".txt", "audio/wav": ".wav", "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg", "audio/mp4": ".m4a", "video/webm": ".webm", "video/mp4": ".mp4",
}  # fmt: skip


def sniffed(head: bytes) -> tuple[str, str]:
    """(media type, kind) by the first ``HEAD`` bytes; kinds as in ``stead.core.attached``."""
    found = _type(head)
    return found, _kind(found)


def _kind(found: str) -> str:
    top, _, sub = found.partition("/")
    named = {"image": "picture", "audio": "sound", "video": "film", "text": "text"}
    return "pdf" if sub == "pdf" else named.get(top, "other")


def _type(head: bytes) -> str:
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if len(head) > 2 and head[0] == 0xFF and head[1] in (0xFB, 0xF3, 0xF2, 0xFA, 0xF1, 0xF9):
        return "audio/aac" if head[1] in (0xF1, 0xF9) else "audio/mpeg"
    for start, kind in _STARTS:
        # Of two letters alone nothing follows: many a text begins so.
        if head.startswith(start) and (len(start) > 2 or not _is_text(head)):
            return _zipped(head) if kind == "application/zip" else kind
    return "text/plain" if _is_text(head) else _OTHER


def _zipped(head: bytes) -> str:
    for mark, kind in _ZIPPED:
        if mark in head:
            return kind
    return "application/zip"


def _is_text(head: bytes) -> bool:
    """Text as UTF-8 (a letter may be cut at the end), UTF-16 with its mark, or of old code pages:
    no controls that no text holds."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    if b"\0" in head:
        return False
    odd = sum(byte < 32 and byte not in (9, 10, 12, 13, 27) for byte in head)
    if odd:
        return False
    for cut in range(4):
        try:
            head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return True
    high = sum(byte >= 128 for byte in head)
    return high * 4 < len(head)  # Latin-1 and its like: mostly letters of ASCII
