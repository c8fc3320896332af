"""Words of a text as the index keeps them: folded, without those that say nothing, stemmed.

One light stemmer for all languages, instead of one for each: which language a short line is in
cannot be told surely, and a question may be asked in another one than its answer. It takes off the
endings of nouns, adjectives and verbs that English, German, French, Spanish, Italian, Portuguese
and Dutch share in the main. On English questions it finds as much as Porter's
(docs/decisions/0036-how-memory-is-ranked.md).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from stead.memory.rank.stop import STOP

_QUOTE = "\u2019"
"""The apostrophe of typesetters."""
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]")
_SPECIAL = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
    | {"\u0131": "i"}
)
_MOST_CHARS = 40
"""Of a word: what is longer is no word (keys, encoded bytes), its beginning is found."""

# Longest first; the number of letters that must be left before.
_ENDINGS = tuple(
    sorted(
        {
            # English
            "ings": 3, "ing": 3, "edly": 3, "ed": 3, "ies": 2, "ied": 2, "ly": 4, "es": 3, "s": 3,
            "er": 4, "ers": 4, "est": 4,
            # German, Dutch
            "en": 3, "ern": 3, "em": 4, "et": 4, "te": 4, "ten": 4, "tet": 4, "test": 4, "nd": 5,
            "e": 3,
            # French
            "ent": 4, "ez": 3, "ait": 4, "ais": 4, "aient": 3, "iez": 3,
            "ees": 3, "ee": 3, "aux": 3, "al": 4,
            # Spanish, Portuguese, Italian
            "ar": 4, "ir": 4, "ando": 3, "iendo": 3, "ado": 3, "ados": 3, "ada": 3, "adas": 3,
            "ido": 4, "idos": 4, "ida": 4, "idas": 4, "aron": 3, "ieron": 3, "amos": 3, "emos": 4,
            "ato": 4, "ata": 4, "ati": 4, "are": 4, "ere": 4, "ire": 4, "os": 3, "as": 3, "o": 3,
            "a": 3, "i": 3, "y": 3,
        }.items(),
        key=lambda item: -len(item[0]),
    )
)  # fmt: skip


@lru_cache(65536)
def stem(word: str) -> str:
    """What a word shares with its other forms. ``word``: as :func:`fold` leaves it."""
    if len(word) < 4 or not word.isalpha() or not word.isascii():
        return word
    for ending, least in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= least:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] in "eiy" and word[-2] not in "aeiou":
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word


def fold(text: str) -> str:
    """Small letters without accents: ``Größe`` is ``grosse``, ``Café`` is ``cafe``."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(one for one in plain if not unicodedata.combining(one)).translate(_SPECIAL)


def words_of(text: str) -> list[str]:
    """All words, folded. Where words are not parted by blanks (Chinese, Japanese, Korean), every
    two neighbouring characters are one."""
    found: list[str] = []
    for word in _WORD.findall(fold(text).replace(_QUOTE, "'")):
        if not word.isascii() and _WIDE.search(word):
            found += _pairs(word)
            continue
        head, *tails = word.split("'")
        found.append(head[:_MOST_CHARS])
        # "owner's", "don't": what is short says nothing; "l'ecole", "dell'arte": the end does.
        found += [tail[:_MOST_CHARS] for tail in tails if len(tail) > 2]
    return found


def terms(text: str) -> list[str]:
    """The words as they are indexed: in order, repeated ones too."""
    return [stem(word) for word in words_of(text) if word not in STOP]


def _pairs(word: str) -> list[str]:
    return [word[at : at + 2] for at in range(len(word) - 1)] or [word]
