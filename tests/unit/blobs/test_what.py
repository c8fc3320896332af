"""Names that others chose, what bytes are, whether a picture is whole."""

from __future__ import annotations

import struct
import zlib

import pytest

from stead.blobs.names import cleaned
from stead.blobs.pictures import measured
from stead.blobs.sniff import SHOWN, sniffed


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("notes.txt", "notes.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Grüße.pdf", "Grüße.pdf"),
        (".bashrc", "bashrc"),
        ("...", "file.png"),
        ("", "file.png"),
        ("/", "file.png"),
        ("a\r\nSet-Cookie: x.png", "aSet-Cookie_ x.png"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\u200b\ufeff\0b.txt", "ab.txt"),
        ("  two   words .md ", "two words .md"),
        ('<img src="x">.png', "_img src=_x__.png"),
        ("u\u0308ber.txt", "über.txt"),
        ("\ud800x.txt", "?x.txt".replace("?", "_")),
    ],
)
def test_names_are_made_harmless(given: str, name: str) -> None:
    """A name keeps its letters; paths, what cannot be seen, what turns the reading order or means
    something to a shell goes."""
    assert cleaned(given, ".png") == name
    assert cleaned(name, ".png") == name


def test_long_names_keep_their_endings() -> None:
    """However long a name is, in bytes as UTF-8 it fits a disk, and says what it was."""
    for letter in ("x", "ü", "😀"):
        made = cleaned(f"{letter * 500}.pdf")
        assert made.endswith(".pdf")
        assert len(made.encode()) <= 120
    assert len(cleaned("x." + "y" * 500).encode()) <= 120


@pytest.mark.parametrize(
    ("head", "kind", "what"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png", "picture"),
        (b"\xff\xd8\xff\xe0", "image/jpeg", "picture"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp", "picture"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav", "sound"),
        (b"\0\0\0\x1cftypM4A ", "audio/mp4", "sound"),
        (b"\0\0\0\x1cftypisom", "video/mp4", "film"),
        (b"%PDF-1.7\n%\xe2", "application/pdf", "pdf"),
        (b"BM is a man's name", "text/plain", "text"),
        (b"MZ looks like a program", "text/plain", "text"),
        (b"MZ\x90\0\3\0", "application/vnd.microsoft.portable-executable", "other"),
        (b"<svg xmlns='x'><script>", "text/plain", "text"),
        (b"<!doctype html><script>", "text/plain", "text"),
        ("größe".encode(), "text/plain", "text"),
        ("größe".encode()[:4], "text/plain", "text"),
        ("größe".encode("latin-1"), "text/plain", "text"),
        ("größe".encode("utf-16"), "text/plain", "text"),
        (b"", "text/plain", "text"),
        (b"\0\1\2\3", "application/octet-stream", "other"),
        (b"\x1b[31mred\x1b[0m", "text/plain", "text"),
    ],
)
def test_the_bytes_say_what_it_is(head: bytes, kind: str, what: str) -> None:
    """The name and the claim of a sender decide nothing."""
    assert sniffed(head) == (kind, what)


def test_nothing_that_runs_is_shown_by_a_browser() -> None:
    """What is served to be shown can hold no script."""
    assert not any("svg" in kind or "html" in kind or "xml" in kind for kind in SHOWN)


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(body, zlib.crc32(kind))
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def _png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0\0\0\0")
    parts = _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


_JPEG = (
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    b"\xff\xc0\0\x0b\x08\0\x07\0\x09\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0\x12\x34\xff\xd9"
)
_GIF = b"GIF89a\5\0\4\0\0\0\0,\0\0\0\0\5\0\4\0\0\2\2\x44\1\0;"
_WEBP = b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\x02\xc0\0\0\0\0\0\0\0"


def test_whole_pictures_are_measured() -> None:
    """Width and height of each form."""
    assert measured(_png(30, 20)) == (30, 20)
    assert measured(_JPEG) == (9, 7)
    assert measured(_GIF) == (5, 4)
    assert measured(_WEBP) == (3, 4)


def test_pictures_that_are_cut_off_or_damaged_are_not() -> None:
    """Wherever it is cut, a picture is no picture; nor is one whose bytes were changed (where its
    form has a check), one of no size, or one of a billion pixels."""
    for whole in (_png(3, 2), _JPEG, _GIF, _WEBP):
        for cut in range(len(whole)):
            assert measured(whole[:cut]) is None, (whole[:4], cut)
    png = bytearray(_png(3, 2))
    for at in range(8, len(png)):
        png[at] ^= 1
        assert measured(bytes(png)) is None
        png[at] ^= 1
    assert measured(_png(0, 5)) is None
    assert measured(_png(100_000, 100_000)) is None
