"""Words as they are compared: whatever case, punctuation, line breaks and marks stand around them.

The same words lie about in many forms: in a file with breaks and marks between them, in JSON with
escapes, cut short, in one line. So what is compared are the words alone, in their order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([nrtbf/\"\\]))")
_ASCII = re.compile(r"[a-z0-9]+")
_SPACED = 0x2E80
"""Scripts from here on (Chinese, Japanese, ...) put no spaces between words."""

_WINDOW = 6
_EVERY = 40
_LEAST_WORDS, _LEAST_CHARS = 3, 12
"""What is shorter is said by everybody: it cannot be told whose words these are."""
_MOST = 4000


def plain(text: str) -> str:
    """The words of a text, folded, with one space between them."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(_WORD.findall(text.casefold()))


def unescaped(text: str) -> str:
    """A text with the escapes of JSON undone, if it has any."""
    if "\\" not in text:
        return text

    def one(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        return found[2] if found[2] in '/"\\' else " "

    undone = _ESCAPE.sub(one, _ESCAPE.sub(one, text))  # JSON in JSON
    # Pairs of surrogates are one character.
    return undone.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in their order."""

    words: str
    """As :func:`plain` makes them; where there are none, the characters themselves."""
    bare: bool = False
    """There are no words in it (only signs): it is compared character by character."""

    @classmethod
    def of(cls, text: str) -> Phrase:
        words = plain(text)
        return cls(words) if words else cls(text.strip(), True)

    def within(self, padded: str, *, loose: bool = False) -> bool:
        """Whether it stands in ``" " + plain(text) + " "``. ``loose``: other bytes may touch its
        ends, as in a database, where one column follows another."""
        words = self.words
        if not loose:
            words = " " * _spaced(words[:1]) + words + " " * _spaced(words[-1:])
        return words in padded

    @property
    def anchor(self) -> str:
        """Its longest run of ASCII letters and digits, by which most texts are told not to have
        it; of three words and more one in the middle. Empty: there is none."""
        words = self.words.split(" ")
        runs = _ASCII.findall(" ".join(words[1:-1] if len(words) > 2 else words))
        return max(runs, key=len, default="")


def _spaced(char: str) -> bool:
    return bool(char) and ord(char) < _SPACED


class Matcher:
    """Whether a text is meant. With ``together`` all phrases must be in it, else one of them."""

    def __init__(self, phrases: Iterable[Phrase], *, together: bool = False) -> None:
        self.phrases = tuple(dict.fromkeys(one for one in phrases if one.words))
        self._together = together

    def __bool__(self) -> bool:
        return bool(self.phrases)

    def __call__(self, text: str) -> bool:
        if not self.phrases or not text:
            return False
        clear = unescaped(text)
        padded = f" {plain(clear)} "
        found = (one.words in clear if one.bare else one.within(padded) for one in self.phrases)
        return all(found) if self._together else any(found)


def probes(texts: Iterable[str]) -> tuple[list[Phrase], int]:
    """Pieces of texts by which copies of them are recognized, also of parts of them; and how many
    texts are too short to be told from what others say."""
    found: dict[Phrase, None] = {}
    short = 0
    for text in texts:
        words = plain(text).split()
        if len(words) < _LEAST_WORDS or sum(map(len, words)) < _LEAST_CHARS:
            short += bool(text.strip())
            continue
        if len(words) <= _WINDOW + 2:
            found[Phrase(" ".join(words))] = None
            continue
        last = len(words) - _WINDOW
        for start in sorted({*range(0, last, _EVERY), last // 2, last}):
            found[Phrase(" ".join(words[start : start + _WINDOW]))] = None
    return list(found)[:_MOST], short
