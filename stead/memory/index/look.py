"""Finding: the candidates for a question, and the ranker's order of them."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import apsw

from stead.memory.candidates import Candidate, Group, Near, Plan
from stead.memory.index import ranking
from stead.memory.index.database import ask
from stead.memory.index.slots import Slots, layer_number
from stead.memory.index.vectors import Codes, cosines
from stead.memory.index.writer import entry_of
from stead.memory.nouns import Entry, Found, Hit, Layer, Question

_REACH = 2
"""Neighbours each side."""
_SPREAD = (0.4, 0.2)
"""What a word counts that a neighbour has, while candidates are chosen."""
_SPREADERS = 1500
_POSTINGS = 4000
"""So many postings are read: of rare words all, of the next more frequent ones as far as it goes.
Of the others it is only looked whether the candidates have them."""
_BY_MEANING = 64
_USUAL = 12.0
_LATEST = 40
_ROWS = (
    "SELECT e.id, e.line1, e.line2, e.words, e.terms, e.body FROM json_each(?) j"
    " JOIN entry e ON e.id = j.value"
)
_ANYWHERE = "SELECT group_concat(doc) FROM posting WHERE term = ?"
_IN_COLUMN = "SELECT group_concat(doc) FROM posting WHERE term = ? AND col = ?"

Allowed = Callable[[int], bool]


class Words:
    """The terms of an index (:class:`~stead.memory.candidates.Vocabulary`)."""

    def __init__(self, c: apsw.Connection, total: int) -> None:
        self._c = c
        self.total = total

    def df(self, terms: Sequence[str]) -> dict[str, int]:
        rows = ask(
            self._c,
            "SELECT t.term, t.df FROM json_each(?) j JOIN term t ON t.term = j.value",
            (json.dumps(list(terms), ensure_ascii=True),),
        )
        return dict(rows)

    def starting(self, prefix: str, limit: int) -> list[tuple[str, int]]:
        if not prefix:
            return []
        end = prefix[:-1] + chr(min(ord(prefix[-1]) + 1, 0x10FFFF))
        found: list[tuple[str, int]] = ask(
            self._c,
            "SELECT term, df FROM term WHERE term >= ? AND term < ? ORDER BY df DESC LIMIT ?",
            (prefix, end, limit),
        ).fetchall()
        return found


class Look:
    """One question, answered from one state of the index."""

    def __init__(
        self,
        c: apsw.Connection,
        slots: Slots,
        codes: Codes | None,
        question: Question,
        vector: Sequence[float] | None,
    ) -> None:
        self._c = c
        self._slots = slots
        self._codes = codes
        self._question = question
        self._vector = vector
        self._vocabulary = Words(c, slots.count)

    def found(self) -> Found:
        began = time.perf_counter()
        question = self._question
        plan = ranking.plan(question, self._vocabulary)
        allowed = self._filter(plan)
        pool = self._pool(self._chosen(plan, allowed))
        if question.exact:
            pool = [one for one in pool if _says(one.self.entry, question.text)]
        if question.skip:
            pool = [one for one in pool if one.self.entry.key not in question.skip]
        entries = {one.self.id: one.self.entry for one in pool}
        hits = tuple(
            Hit(entries[ranked.id], ranked.score, ranked.signals)
            for ranked in ranking.order(plan, pool, question.limit)
        )
        took = (time.perf_counter() - began) * 1000
        return Found(hits, meant=plan.meant, took_ms=took)

    # --- who is a candidate --------------------------------------------------------------------

    def _chosen(self, plan: Plan, allowed: Allowed) -> list[int]:
        """The numbers of the candidates."""
        if self._question.exact:
            return self._exact(plan, allowed)
        scores, must = self._scores(plan)
        if must is not None:
            inner = allowed
            allowed = lambda ident: ident in must and inner(ident)  # noqa: E731
        usual = self._slots.words
        weighed = (
            (score / (0.7 + 0.3 * min(usual[ident], 200) / _USUAL), ident)
            for ident, score in scores.items()
            if allowed(ident)
        )
        chosen = [ident for _, ident in heapq.nlargest(plan.pool, weighed)]
        if self._vector is not None and self._codes is not None and self._codes.count:
            near = self._codes.nearest(self._vector, 4 * _BY_MEANING)
            near = self._nearest([ident for ident in near if allowed(ident)])
            chosen += near
        if plan.latest or not (chosen or plan.groups):
            chosen += self._newest(plan, allowed, plan.pool if not chosen else _LATEST)
        elif must is not None and len(chosen) < plan.pool:
            chosen += heapq.nlargest(plan.pool, filter(allowed, must))
        return list(dict.fromkeys(chosen))

    def _scores(self, plan: Plan) -> tuple[dict[int, float], set[int] | None]:
        """What entries have of the words, their neighbours' included; and those that have all
        that is needed (None: nothing is)."""
        own: dict[int, float] = {}
        must: set[int] | None = None
        for group in plan.groups:
            if group.needed:
                found = self._postings(group, 0)
                must = set(found) if must is None else must & found.keys()
                if group.seeds:
                    _add(own, found, group.weight)
        left = _POSTINGS
        for count, group in self._seeds(plan):
            if left < count and own:
                break
            _add(own, self._postings(group, _POSTINGS), group.weight)
            left -= count
        size = len(self._slots)
        if own and max(own) >= size:  # what came this very moment is found by the next question
            own = {ident: score for ident, score in own.items() if ident < size}
        scores = dict(own)
        spreading: Iterable[tuple[int, float]] = own.items()
        if len(own) > _SPREADERS:
            spreading = heapq.nlargest(_SPREADERS, own.items(), key=lambda item: item[1])
        for way in (self._slots.before, self._slots.after):
            for ident, score in spreading:
                for share in _SPREAD:
                    ident = way[ident]
                    if not ident:
                        break
                    scores[ident] = scores.get(ident, 0.0) + share * score
        return scores, must

    def _seeds(self, plan: Plan) -> list[tuple[int, Group]]:
        """The words that find candidates, the rarest first, each with how many have it."""
        groups = [group for group in plan.groups if group.seeds and not group.needed]
        df = self._vocabulary.df([term for group in groups for term in group.terms])
        counted = [(sum(df.get(term, 0) for term in group.terms), group) for group in groups]
        return sorted(counted, key=lambda item: item[0])

    def _postings(self, group: Group, most: int) -> dict[int, float]:
        """Who has one of a group's terms, and how much of it; of very many the newest (0: all)."""
        best: dict[int, float] = {}
        for term, share in group.terms.items():
            if group.column < 0:
                row = ask(self._c, _ANYWHERE, (term,)).fetchone()
            else:
                column = ranking.COLUMNS[group.column]
                row = ask(self._c, _IN_COLUMN, (term, column)).fetchone()
            if row is None or not row[0]:
                continue
            listed = row[0].split(",") if not most else row[0].rsplit(",", most)[-most:]
            found = dict.fromkeys(map(int, listed), share)
            if not best:
                best = found
                continue
            for ident in found:
                if best.get(ident, 0.0) < share:
                    best[ident] = share
        return best

    def _exact(self, plan: Plan, allowed: Allowed) -> list[int]:
        """Those that have the words of a phrase, or, where they are all too common for the index,
        the phrase itself."""
        common: set[int] | None = None
        for group in plan.groups:
            found = self._postings(group, 0).keys()
            common = set(found) if common is None else common & found
        if common is None:
            rows = ask(self._c, "SELECT id, line1, line2, body FROM entry ORDER BY id DESC")
            said = self._question.text
            found_: list[int] = []
            for ident, first, last, body in rows:
                if allowed(ident) and _says(entry_of(body, (first, last)), said):
                    found_.append(ident)
                    if len(found_) >= plan.pool:
                        break
            return found_
        return [ident for ident in sorted(common, reverse=True) if allowed(ident)][: 20 * plan.pool]

    def _nearest(self, idents: list[int]) -> list[int]:
        """The nearest of those that are probably near."""
        likeness = self._cosines(idents)
        return heapq.nlargest(_BY_MEANING, likeness, key=likeness.__getitem__)

    def _newest(self, plan: Plan, allowed: Allowed, count: int) -> list[int]:
        at = self._slots.at
        return heapq.nlargest(count, filter(allowed, range(1, len(self._slots))), at.__getitem__)

    def _filter(self, plan: Plan) -> Allowed:
        """Whether an entry is of those that are asked for at all."""
        slots, question = self._slots, self._question
        layers = {layer_number(layer) for layer in question.layers}
        chains: set[int] | None = None
        if question.session:
            rows = ask(self._c, "SELECT id FROM chain WHERE session = ?", (question.session,))
            chains = {ident for (ident,) in rows}
        since, until, as_of = plan.since // 1000, plan.until // 1000, plan.as_of // 1000
        daily = layer_number(Layer.DAILY)
        plain = not (layers or since or until or as_of or chains is not None)

        if plain:
            return slots.alive

        def allowed(ident: int) -> bool:
            if not slots.alive(ident):
                return False
            at, ended = slots.at[ident], slots.until[ident]
            if layers and slots.layer[ident] not in layers:
                return False
            if chains is not None and slots.chain[ident] not in chains:
                return False
            if until and at > until:
                return False
            # What was said has its moment; what holds, holds on.
            lasts = slots.layer[ident] < daily and (not ended or ended > since)
            if since and at < since and not lasts:
                return False
            return not as_of or (at <= as_of and (not ended or ended > as_of))

        return allowed

    # --- what is known of them ---------------------------------------------------------------

    def _pool(self, chosen: list[int]) -> list[Candidate]:
        around = {ident: self._slots.around(ident, _REACH) for ident in chosen}
        wanted = dict.fromkeys(chosen)
        for before, after in around.values():
            wanted.update(dict.fromkeys(before))
            wanted.update(dict.fromkeys(after))
        beside = [one for sides in around.values() for side in sides for one in side[:1]]
        likeness = self._cosines(list(dict.fromkeys([*chosen, *beside])))
        near = {
            ident: Near(ident, partial(entry_of, body, (first, last)), partial(_columns, terms),
                        words, likeness.get(ident))
            for ident, first, last, words, terms, body in ask(self._c, _ROWS, (_json(wanted),))
        }  # fmt: skip
        return [
            Candidate(
                near[ident],
                tuple(near[one] for one in around[ident][0] if one in near),
                tuple(near[one] for one in around[ident][1] if one in near),
            )
            for ident in chosen
            if ident in near
        ]

    def _cosines(self, idents: list[int]) -> dict[int, float]:
        if self._vector is None or self._codes is None or not idents:
            return {}
        size = len(self._vector) + 4
        rows = ask(
            self._c,
            "SELECT e.id, v.numbers FROM json_each(?) j JOIN entry e ON e.id = j.value"
            " JOIN vector v ON v.meaning = e.meaning WHERE length(v.numbers) = ?",
            (json.dumps(idents), size),
        ).fetchall()
        found = cosines(self._vector, [numbers for _, numbers in rows])
        return {ident: value for (ident, _), value in zip(rows, found, strict=True)}


def _add(own: dict[int, float], found: dict[int, float], weight: float) -> None:
    if not own:
        own.update({ident: weight * share for ident, share in found.items()})
        return
    for ident, share in found.items():
        own[ident] = own.get(ident, 0.0) + weight * share


def _json(idents: Iterable[int]) -> str:
    return json.dumps(list(idents))


def _columns(terms: str) -> tuple[dict[str, int], ...]:
    return tuple(map(_tally, terms.split("\n")))


def _tally(column: str) -> dict[str, int]:
    words = column.split()
    counts = dict.fromkeys(words, 1)
    if len(counts) < len(words):
        counts = dict.fromkeys(words, 0)
        for word in words:
            counts[word] += 1
    return counts


def _says(entry: Entry, phrase: str) -> bool:
    """Whether these words stand in it, in this order; case and blanks do not matter."""
    wanted = " ".join(phrase.casefold().split())
    return wanted in " ".join(f"{entry.title}\n{entry.text}".casefold().split())


def plain_stats(c: apsw.Connection) -> dict[str, Any]:
    """What is counted in the file itself."""
    vectors, entries = (
        ask(c, "SELECT count(*) FROM vector").fetchone()[0],
        ask(c, "SELECT count(*) FROM entry WHERE meaning != 0").fetchone()[0],
    )
    files = ask(c, "SELECT count(*) FROM file").fetchone()[0]
    terms = ask(c, "SELECT count(*) FROM term").fetchone()[0]
    return {"files": files, "terms": terms, "meanings": vectors, "to_embed": entries}
