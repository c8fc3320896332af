"""Names of files that others chose, as they may be shown and written to a disk."""

from __future__ import annotations

import unicodedata

_MOST = 120
"""Bytes of a name as UTF-8. Most file systems take 255; what is made of it needs room too."""
_ENDING = 16
#: What means something to a shell, a URL or another system's disk.
_AWKWARD = str.maketrans(dict.fromkeys('<>:"|?*', "_"))


def cleaned(name: str, ending: str = "") -> str:
    """The last part of a path, without anything that cannot be seen or turns the reading order
    (``invoice\\u202efdp.exe`` looks like a PDF), no hidden file, not too long. ``ending``: of a
    file that has no name at all."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    plain = unicodedata.normalize("NFC", last.encode("utf-8", "replace").decode())
    kept = "".join(_seen(char) for char in plain).translate(_AWKWARD)
    kept = " ".join(kept.split()).strip(" .")
    if not kept:
        return f"file{ending}"
    return _short(kept)


def _seen(char: str) -> str:
    """A character, a space for what stands for one, nothing for what cannot be seen (controls,
    bidirectional marks, joiners, private and unassigned ones)."""
    kind = unicodedata.category(char)
    if kind.startswith("Z"):
        return " "
    return "" if kind.startswith("C") else char


def _short(name: str) -> str:
    if len(name.encode()) <= _MOST:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending.encode()) > _ENDING:
        stem, ending = name, ""
    tail = f".{ending}" if ending else ""
    room = _MOST - len(tail.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + tail
