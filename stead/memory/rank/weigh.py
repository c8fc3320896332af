"""The order of what was found: a weighted sum of a few signals, each of which can be told in words.

What each signal adds, and what was tried and left out: docs/decisions/0036-how-memory-is-ranked.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from stead.memory.candidates import Candidate, Group, Near, Plan, Ranked
from stead.memory.nouns import Layer
from stead.memory.rank.asking import Asked
from stead.memory.rank.entries import NAMES, TEXT, WHEN
from stead.memory.rank.times import Span
from stead.memory.rank.timewords import TELLS_TIME
from stead.memory.rank.words import fold

WEIGHTS: Mapping[str, float] = {
    "words": 4.0,
    "neighbours": 4.0,
    "talk": 1.0,
    "person": 3.0,
    "time": 6.0,
    "length": 0.25,
    "answers": 0.25,
    "asks": -0.5,
    "dated": 2.5,
    "meaning": 2.0,
    "meaning_near": 1.0,
    "meaning_talk": 5.5,
    "newest": 3.0,
    "over": -3.0,
    "minor": -2.0,
    "layer": 0.1,
}
"""What each signal counts (:func:`signals` says what they are)."""

_K1, _B = 1.2, 0.3
"""BM25's: how soon a word said again adds no more, how much long entries lose (little: they are
short anyway)."""
_USUAL = 11.0
"""Words of a usual entry, those that say nothing left out."""
_NEAR = (0.4, 0.2)
"""What a word counts that was said one or two entries away."""
_OFTEN = 1.5
"""A word that was said so often in a conversation counts half of what it can."""
_ALONE = 4.0
"""Where nothing is known of meaning, the words of a conversation count so many times as much."""
_PARTNER = 0.1
"""Who says so much of what was found is one of those who talk: that a line calls them by their
name says nothing then."""
_DAY_MS = 86_400_000
_TOLD_MS = 10 * _DAY_MS
"""So long after it happened a thing is often told."""
_MEANING = 10.0
"""E5's likenesses all lie close together (0.75 to 0.9)."""
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")
_NOBODY: frozenset[int] = frozenset()
_MINOR = frozenset({"event", "recalled"})
_TRUST = {layer: 1.0 - 0.2 * at for at, layer in enumerate(Layer)}


Matches = list[tuple[int, float]]
"""Number of a word of the question, and how often it stands in a text (corrections count less)."""


@dataclass(frozen=True, slots=True)
class _Known:
    """An entry, seen with a question's eyes."""

    matched: Matches
    whose: frozenset[int]
    """The words that are the name of who says it, or of whom it is about."""


def order(plan: Plan, pool: Sequence[Candidate], limit: int) -> list[Ranked]:
    """The candidates, best first. ``signals`` of each: what each added to its score; besides
    ``share``, how much of the question's words the entry itself has (0 to 1), and ``cosine``, its
    likeness in meaning as it is, where that is known."""
    found = []
    for one, row in zip(pool, signals(plan, pool), strict=True):
        parts = {name: WEIGHTS[name] * value for name, value in row.items() if name in WEIGHTS}
        score = sum(parts.values())
        shown = {name: round(value, 4) for name, value in parts.items() if value}
        shown["share"] = round(row["share"], 4)
        if one.self.cosine is not None:
            shown["cosine"] = round(one.self.cosine, 4)
        found.append((score, one.self.entry.at, one.self.id, shown))
    found.sort(key=lambda one: (-one[0], -one[1], -one[2]))
    return [Ranked(ident, score, shown) for score, _, ident, shown in found[:limit]]


def signals(plan: Plan, pool: Sequence[Candidate]) -> list[dict[str, float]]:
    """What speaks for each candidate, before it is weighed:

    ``words``: the question's words in it (BM25, 0 to about 2); ``neighbours``: what those add that
    were said just before and after, where each counts less; ``talk``: the words in all that was
    found of its conversation of that day; ``person``: the question names who says it; ``time``: of
    the time that is asked for; ``length``: it says much; ``answers``: it comes after a question;
    ``asks``: it is one itself; ``dated``: a time is asked for, and it has one; ``meaning``: its
    vector, those of its neighbours, and the best of its conversation; ``newest``: the question is
    about now; ``over``: it has ceased to hold; ``minor``: a step of a tool, or what was recalled
    before; ``layer``: the order of trust.
    """
    asked = plan.more if isinstance(plan.more, Asked) else Asked()
    words = [one for one in plan.groups if one.column < 0]
    days = [one for one in plan.groups if one.column == WHEN]
    wanted = [(at, *item) for at, group in enumerate(words) for item in group.terms.items()]
    seen: dict[int, _Known] = {}
    for one in pool:
        for near in (one.self, *one.before, *one.after):
            if near.id not in seen:
                seen[near.id] = _look(wanted, near)
    weights = _weights(words, [seen[one.self.id] for one in pool])
    total = sum(weights) or 1.0
    # A name is one of the question's words too: what is about somebody else does not fit.
    worth = [group.weight for group in words]
    asked_for = sum(worth) + asked.unknown or 1.0
    talks = _talks(pool, seen, weights)
    meaning = _meanings(pool)
    talk_counts = 1.0 if any(meaning) else _ALONE
    newest = _newest(pool) if plan.latest else (lambda near: 0.0)
    now = plan.as_of or plan.question.now
    rows = []
    for place, one in enumerate(pool):
        own, entry = seen[one.self.id], one.self.entry
        count = _count(one.self)
        size = _K1 * (1 - _B + _B * count / _USUAL)
        alone = _bm25(own.matched, weights, size) / total
        dated = asked.when and TELLS_TIME.search(fold(entry.text))
        rows.append(
            {
                "words": alone,
                "neighbours": _bm25(_with_near(one, seen), weights, size) / total - alone,
                "share": sum(worth[at] for at in own.whose.union(at for at, _ in own.matched))
                / asked_for,
                "talk": talk_counts * talks[_talk(one)] / total,
                "person": float(bool(own.whose) or (asked.speaker == entry.speaker != "")),
                "time": _of_time(asked.spans, days, one.self),
                "length": math.log1p(count),
                "answers": float(bool(one.before) and _is_question(one.before[0])),
                "asks": float(_is_question(one.self)),
                "dated": float(bool(dated)),
                "newest": newest(one.self),
                "over": float(not plan.as_of and 0 < entry.until <= (now or entry.until)),
                "minor": float(not _MINOR.isdisjoint(entry.tags)),
                "layer": _TRUST[entry.layer],
                **meaning[place],
            }
        )
    return rows


def _look(wanted: Sequence[tuple[int, str, float]], near: Near) -> _Known:
    text, names = near.columns[TEXT], near.columns[NAMES]
    matched: dict[int, float] = {}
    whose: list[int] = []
    for at, term, share in wanted:
        if term in text:
            matched[at] = max(matched.get(at, 0.0), share * text[term])
        if term in names:
            whose.append(at)
    return _Known(list(matched.items()), frozenset(whose) if whose else _NOBODY)


def _weights(words: Sequence[Group], own: Sequence[_Known]) -> list[float]:
    """What each word counts in a text: the names of those who talk, nothing."""
    found = []
    for at, group in enumerate(words):
        named = sum(at in one.whose for one in own)
        found.append(0.0 if named > _PARTNER * len(own) else group.weight)
    return found


def _count(near: Near) -> int:
    return sum(near.columns[TEXT].values())


def _bm25(matched: Matches, weights: Sequence[float], size: float) -> float:
    return sum([weights[at] * tf * (_K1 + 1) / (tf + size) for at, tf in matched])


def _with_near(one: Candidate, seen: Mapping[int, _Known]) -> Matches:
    counts = dict(seen[one.self.id].matched)
    for side in (one.before, one.after):
        for share, near in zip(_NEAR, side, strict=False):
            for at, tf in seen[near.id].matched:
                counts[at] = counts.get(at, 0.0) + share * tf
    return list(counts.items())


def _talk(one: Candidate) -> tuple[str, str]:
    return one.self.entry.path, one.self.entry.session


def _talks(
    pool: Sequence[Candidate], seen: Mapping[int, _Known], weights: Sequence[float]
) -> dict[tuple[str, str], float]:
    """How much of the question each conversation of a day speaks of, as far as it was found."""
    counts: dict[tuple[str, str], list[float]] = {}
    done: set[int] = set()
    for one in pool:
        have = counts.setdefault(_talk(one), [0.0] * len(weights))
        for near in (one.self, *one.before, *one.after):
            if near.id not in done:
                done.add(near.id)
                for at, tf in seen[near.id].matched:
                    have[at] += tf
    return {
        talk: sum(weight * tf / (tf + _OFTEN) for weight, tf in zip(weights, have, strict=True))
        for talk, have in counts.items()
    }


def _meanings(pool: Sequence[Candidate]) -> list[dict[str, float]]:
    """How much nearer in meaning than the middle one of the candidates."""
    known = [one.self.cosine for one in pool if one.self.cosine is not None]
    if not known:
        return [{}] * len(pool)
    middle = median(known)

    def above(near: Near) -> float:
        return 0.0 if near.cosine is None else _MEANING * (near.cosine - middle)

    best: dict[tuple[str, str], float] = {}
    for one in pool:
        best[_talk(one)] = max(best.get(_talk(one), 0.0), above(one.self))
    return [
        {
            "meaning": above(one.self),
            "meaning_near": sum(above(near) for near in (*one.before[:1], *one.after[:1])),
            "meaning_talk": best[_talk(one)],
        }
        for one in pool
    ]


def _of_time(spans: Sequence[Span], days: Sequence[Group], near: Near) -> float:
    """1: of the time that is asked for; 0.5: of the days after it, when it may have been told."""
    if any(term in near.columns[WHEN] for group in days for term in group.terms):
        return 1.0
    best, at = 0.0, near.entry.at
    for span in spans:
        if (not span.since or at >= span.since) and (not span.until or at < span.until):
            return 1.0
        if span.since and span.until and not span.month and 0 <= at - span.until < _TOLD_MS:
            best = 0.5
    return best


def _newest(pool: Sequence[Candidate]) -> Callable[[Near], float]:
    """1 for the newest of those that were found, 0.5 for the one in the middle."""
    places = {at: place for place, at in enumerate(sorted({one.self.entry.at for one in pool}), 1)}
    return lambda near: places.get(near.entry.at, 0) / len(places)


def _is_question(near: Near) -> bool:
    return near.entry.text.rstrip().endswith(_QUESTION_MARKS)
