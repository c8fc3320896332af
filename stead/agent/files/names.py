"""Names of files as text: any name can be shown on one line, and what is shown can be given back.

A name is bytes without a slash. Python holds those that are no UTF-8 as lone surrogates
(PEP 383), which no JSON can carry. Names that are odd are shown between double quotes with
backslash escapes, as git does (core.quotePath in git-config(1)).
"""

from __future__ import annotations

import re
import unicodedata

#: Marks that turn the direction of a line of text, or cannot be seen at all.
_UNSEEN = frozenset("\u061c\u200b\u200e\u200f\u2060\ufeff") | {
    chr(code) for span in ((0x202A, 0x202F), (0x2066, 0x206A)) for code in range(*span)
}
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", '"': '\\"'}
_LONG = {value[1]: key for key, value in _SHORT.items()}
_ESCAPE = re.compile(r"\\(?:([0-3][0-7]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)


def shown(name: str) -> str:
    """A name or path on one line; odd ones between double quotes."""
    if not name or (name.isascii() and name.isprintable() and _plain(name)):
        return name
    if _plain(name) and not any(map(_odd, name)):
        return name
    return '"' + "".join(map(_escape, name)) + '"'


def given(text: str) -> str:
    """The name that was meant: the opposite of :func:`shown`.

    Raises ``ValueError`` for escapes that mean nothing.
    """
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text

    def put(match: re.Match[str]) -> str:
        octal, code, letter = match.groups()
        if octal:
            return bytes([int(octal, 8)]).decode("utf-8", "surrogateescape")
        if code:
            return chr(int(code, 16))
        if letter not in _LONG:
            raise ValueError(f"\\{letter} means nothing in a name")
        return _LONG[letter]

    made = _ESCAPE.sub(put, text[1:-1])
    # Bytes that were escaped one by one may make up a letter together.
    return made.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def alike(one: str, other: str) -> bool:
    """Whether two names are the same to the eye: the same but for the Unicode normal form."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def _plain(name: str) -> bool:
    return name[0] != '"' and not (name[0].isspace() or name[-1].isspace())


def _odd(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in _UNSEEN


def _escape(letter: str) -> str:
    if letter in _SHORT:
        return _SHORT[letter]
    if 0xDC80 <= ord(letter) <= 0xDCFF:
        return f"\\{ord(letter) - 0xDC00:03o}"
    return f"\\u{ord(letter):04x}" if _odd(letter) else letter
