"""A plain ranker: words as they stand, BM25, and half of what the neighbours have."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from stead.memory.candidates import Candidate, Group, Near, Plan, Ranked, Vocabulary
from stead.memory.nouns import Entry, Question

VERSION = "plain-1"
COLUMNS = ("text", "head")
_WORD = re.compile(r"\w+")
_STOP = frozenset(
    """a an and are as at be but by did do does for from had has have how i in is it its me my of on
    or our so that the their them there they this to was we were what when where which who why will
    with you your der die das und ist ein eine ich du er sie es wir ihr""".split()  # noqa: SIM905
)
_K1, _B, _USUAL = 1.2, 0.6, 14.0


def terms(text: str) -> list[str]:
    """The words of a text, folded, without those that say nothing."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(one for one in plain if not unicodedata.combining(one))
    return [word for word in _WORD.findall(plain) if word not in _STOP]


def columns(entry: Entry) -> tuple[str, ...]:
    head = " ".join((entry.title, entry.speaker, *entry.tags, *entry.people))
    return " ".join(terms(entry.text)), " ".join(terms(head))


def passage(entry: Entry, before: Sequence[Entry]) -> str:
    return entry.text.strip()


def plan(question: Question, vocabulary: Vocabulary) -> Plan:
    words = list(dict.fromkeys(terms(question.text)))
    df = vocabulary.df(words)
    total = max(1, vocabulary.total)
    groups = [
        Group(
            word,
            {word: 1.0},
            math.log(1 + total / (1 + df[word])),
            seeds=df[word] < max(50, total / 20),
        )
        for word in words
        if word in df
    ]
    if groups and not any(group.seeds for group in groups):
        rare = max(groups, key=lambda group: group.weight)
        groups[groups.index(rare)] = Group(rare.word, rare.terms, rare.weight)
    return Plan(
        tuple(groups), question.text, question.since, question.until, question.as_of,
        pool=max(120, 2 * question.limit), question=question,
    )  # fmt: skip


def order(plan: Plan, pool: Sequence[Candidate], limit: int) -> list[Ranked]:
    found = []
    for one in pool:
        words = _score(plan, one.self)
        near = 0.4 * sum(_score(plan, other) for other in (*one.before[:1], *one.after[:1]))
        signals = {"words": words, "neighbours": near}
        if one.self.cosine is not None:
            signals["meaning"] = 5.0 * max(0.0, one.self.cosine - 0.7)
        found.append(Ranked(one.self.id, sum(signals.values()), signals))
    found.sort(key=lambda ranked: (-ranked.score, -ranked.id))
    return found[:limit]


def _score(plan: Plan, near: Near) -> float:
    total = 0.0
    size = _K1 * (1 - _B + _B * near.words / _USUAL)
    for group in plan.groups:
        tf = max(
            (
                count * sum(column.get(term, 0) for column in near.columns)
                for term, count in group.terms.items()
            ),
            default=0.0,
        )
        total += group.weight * tf * (_K1 + 1) / (tf + size)
    return total
