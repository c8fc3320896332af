"""Words that the index does not have: what was probably meant."""

from __future__ import annotations

from stead.memory.candidates import Vocabulary
from stead.memory.rank.words import stem

_LEAST = 4
"""Letters: shorter words have too many neighbours."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MOST = 4
_BEGINNINGS = 3


def close_to(word: str, vocabulary: Vocabulary) -> dict[str, float]:
    """Terms of the index for a word that it does not have, and how much each counts.

    Words one letter away (left out, put in, another, two swapped), then words that begin with it
    or that begin as it does and differ in two letters.
    """
    if len(word) < _LEAST or not word.isalpha():
        return {}
    near = {stem(one) for one in _edits(word)} if word.isascii() else set()
    near.discard(stem(word))
    found = vocabulary.df(sorted(one for one in near if len(one) >= _LEAST - 1))
    if found:
        best = sorted(found, key=lambda one: (one[:1] != word[:1], -found[one], one))[:_MOST]
        return {term: 0.8 if term[:1] == word[:1] else 0.6 for term in best}
    begun = vocabulary.starting(stem(word), _BEGINNINGS)
    if begun:
        return {term: 0.7 for term, _ in begun}
    if len(word) < 6:
        return {}
    alike = [
        (term, count)
        for term, count in vocabulary.starting(word[:3], 400)
        if abs(len(term) - len(stem(word))) <= 2 and _distance(term, stem(word), 2) <= 2
    ]
    return {term: 0.5 for term, _ in alike[:_MOST]}


def _edits(word: str) -> set[str]:
    splits = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    found = {head + tail[1:] for head, tail in splits if tail}
    found |= {head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1}
    found |= {head + letter + tail[1:] for head, tail in splits if tail for letter in _LETTERS}
    found |= {head + letter + tail for head, tail in splits for letter in _LETTERS}
    return found


def _distance(one: str, other: str, most: int) -> int:
    """Letters to change (Levenshtein); ``most + 1`` as soon as it is more."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        last, row[0] = row[0], at
        for to, second in enumerate(other, 1):
            last, row[to] = (
                row[to],
                min(row[to] + 1, row[to - 1] + 1, last + (letter != second)),
            )
        if min(row) > most:
            return most + 1
    return row[-1]
