"""Reading a question: which words, whose, of when (:class:`~stead.memory.candidates.Plan`)."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

from stead.memory.candidates import Group, Plan, Vocabulary
from stead.memory.nouns import Question
from stead.memory.rank import times
from stead.memory.rank.entries import WHEN, days_of, said_by
from stead.memory.rank.stop import STOP
from stead.memory.rank.typos import close_to
from stead.memory.rank.words import fold, stem, words_of

_SEED_SHARE = 0.05
"""What more entries than this have finds no candidates by itself, unless nothing else does..."""
_SEED_LEAST = 500
"""... but what so few have always does."""
_TALKER = 10
"""Who said so much is one of those who talk."""
_MOST_WORDS = 48

_ASKS_WHEN = re.compile(
    r"\b(when|what (?:date|day|month|year|time)|which (?:day|month|year)|how (?:long|often)|"
    r"wann|wie lange|welche[nmrs]? (?:tag|monat|jahr|datum)|quand|combien de temps|"
    r"quelle date|quel jour|cuando|cuanto tiempo|que dia|quando|quanto tempo|che giorno|wanneer|"
    r"hoe lang)\b"
)
_OWNER = re.compile(
    r"\b(i|i'm|i've|my|me|mine|ich|mein\w*|mir|mich|je|j'ai|mon|mes|moi|yo|mi|mis|io|mio|mia|eu|meu|minha|ik|mijn)\b"
)
_STEAD = re.compile(
    r"\b(did you|have you|you (?:said|told|promise\w*|recommend\w*|suggest\w*)|hast du|du gesagt|"
    r"as-tu|tu as|has dicho|hai detto)\b"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the order needs to know of the question beyond its words."""

    spans: tuple[times.Span, ...] = ()
    when: bool = False
    """It asks for a time."""
    speaker: str = ""
    """``owner`` or ``stead``, where it asks what one of them said or did."""
    unknown: float = 0.0
    """What the words are worth that the index does not have."""


def plan(question: Question, vocabulary: Vocabulary) -> Plan:
    """How a question is understood."""
    now = question.now or int(time.time() * 1000)
    if question.exact:
        return _exact(question, vocabulary)
    read = times.read(question.text, now)
    wanted = list(dict.fromkeys(words_of(read.rest)))[:_MOST_WORDS]
    telling = [word for word in wanted if word not in STOP]
    # Nothing but words that say nothing ("who is it?"): then they are all there is.
    groups, unknown = _groups(telling or wanted if not read.spans else telling, vocabulary)
    people = {stem(word) for word in words_of(question.person)}
    groups += [Group(term, {term: 1.0}, 1.0, needed=True) for term in sorted(people)]
    groups += _time_groups(read.spans, vocabulary)
    plain = fold(question.text)
    asked = Asked(
        read.spans,
        bool(_ASKS_WHEN.search(plain)),
        "stead" if _STEAD.search(plain) else "owner" if _OWNER.search(plain) else "",
        unknown,
    )
    return Plan(
        tuple(groups),
        meant(question.text, vocabulary),
        question.since,
        question.until,
        question.as_of,
        latest=read.latest,
        meant=read.meant,
        pool=max(200, 2 * question.limit),
        question=question,
        more=asked,
    )


def meant(text: str, vocabulary: Vocabulary) -> str:
    """What is compared in meaning: what is asked about, not who is asked about (all that somebody
    says lies near to their name) nor how it is asked."""
    words = [word for word in dict.fromkeys(words_of(text)) if word not in STOP][:_MOST_WORDS]
    who = {said_by(word): word for word in words}
    talkers = {who[term] for term, count in vocabulary.df(list(who)).items() if count >= _TALKER}
    return " ".join(word for word in words if word not in talkers) or text.strip()


def _groups(words: list[str], vocabulary: Vocabulary) -> tuple[list[Group], float]:
    """One for each word, the rarer worth more; words of one stem are one. And what those are
    worth that nobody ever said."""
    by_stem = {stem(word): word for word in reversed(words)}
    df = vocabulary.df(list(by_stem))
    total = max(1, vocabulary.total)
    found: list[tuple[Group, int]] = []
    unknown: list[Group] = []
    lost = 0.0
    for term, word in reversed(by_stem.items()):
        count, terms = df.get(term, 0), {term: 1.0}
        if not count:
            terms = close_to(word, vocabulary)
            count = sum(vocabulary.df(list(terms)).values())
        worth = rarity(min(count, total), total)
        if count:
            found.append((Group(word, terms, worth, seeds=False), count))
        else:
            unknown.append(Group(word, {term: 1.0}, 0.0, seeds=False))
            lost += worth
    bar = max(_SEED_LEAST, _SEED_SHARE * total)
    least = min((count for _, count in found), default=0)
    groups = [
        Group(one.word, one.terms, one.weight, seeds=count <= bar or count == least)
        for one, count in found
    ]
    return groups + unknown, lost


def rarity(count: int, total: int) -> float:
    """What a word is worth that so many of all entries have (BM25's)."""
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


def _time_groups(spans: tuple[times.Span, ...], vocabulary: Vocabulary) -> list[Group]:
    """Days are words too: an entry of a day that is spoken of is a candidate."""
    groups = []
    for span in spans:
        terms = days_of(span)
        df = vocabulary.df(terms)
        if df:
            count = sum(df.values())
            seeds = count <= max(_SEED_LEAST, _SEED_SHARE * vocabulary.total)
            groups.append(Group(span.words, dict.fromkeys(df, 1.0), 0.5, seeds, column=WHEN))
    return groups


def _exact(question: Question, vocabulary: Vocabulary) -> Plan:
    """The words as they stand: what has all that say something is compared with the text."""
    terms = [stem(word) for word in dict.fromkeys(words_of(question.text)) if word not in STOP]
    df = vocabulary.df(terms)
    total = max(1, vocabulary.total)
    groups = tuple(
        Group(term, {term: 1.0}, rarity(df.get(term, 0), total), needed=True)
        for term in dict.fromkeys(terms)
    )
    return Plan(
        groups, "", question.since, question.until, question.as_of,
        pool=max(200, 2 * question.limit), question=question, more=Asked(),
    )  # fmt: skip
