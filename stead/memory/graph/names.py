"""Names: made comparable, and compared though they are misspelt."""

from __future__ import annotations

import unicodedata


def plain(name: str) -> str:
    """``Jürgen  MÜLLER-Weiß`` -> ``jurgen muller weiss``: how names are compared."""
    letters = []
    for char in unicodedata.normalize("NFKD", name.casefold()):
        if "̀" <= char <= "ͯ":  # accents; vowel signs of other scripts stay
            continue
        letters.append(char if char.isalnum() or unicodedata.category(char)[0] == "M" else " ")
    return " ".join("".join(letters).split())


def likeness(asked: str, name: str) -> float:
    """How well ``name`` fits what was asked for, both :func:`plain`: 1 is the same, 0 is not it.

    Words in another order and words left out count less; each word may be misspelt a little.
    """
    if asked == name:
        return 1.0
    wanted, there = asked.split(), name.split()
    if not wanted or not there:
        return 0.0
    left = list(there)
    total = 0.0
    for word in wanted:
        best, which = 0.0, ""
        for other in left:
            fit = _word(word, other)
            if fit > best:
                best, which = fit, other
        if not best:
            return 0.0
        total += best
        left.remove(which)
    whole = total / len(wanted)
    return whole * (0.95 if not left else 0.9 - 0.02 * min(10, len(left)))


def _word(asked: str, word: str) -> float:
    if asked == word:
        return 1.0
    if len(asked) >= 3 and word.startswith(asked):
        return 0.9
    allowed = 0 if len(asked) < 3 else 1 if len(asked) < 8 else 2
    if not allowed or abs(len(asked) - len(word)) > allowed:
        return 0.0
    steps = distance(asked, word, allowed)
    return 0.0 if steps > allowed else 1.0 - 0.9 * steps / len(asked)


def distance(one: str, other: str, most: int) -> int:
    """Letters to put in, take out, change or swap with their neighbour; ``most`` + 1 for more.

    Optimal string alignment (Damerau-Levenshtein without overlaps).
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return min(last[-1], most + 1)


def trigrams(text: str) -> list[str]:
    """Runs of three characters within the words, for a first and rough look."""
    found: dict[str, None] = {}
    for word in text.split():
        for at in range(len(word) - 2):
            found[word[at : at + 3]] = None
    return list(found)
