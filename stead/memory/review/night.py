"""One review: days read piece by piece, the model asked, its answer judged, a batch at the end.

Each step is on disk before the next begins, so a review that was killed goes on where it was: a
piece is asked again at worst, and what it gave is then known by its ids.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from stead.core.errors import SteadError
from stead.core.nouns import ModelProfile
from stead.core.ports import ModelClient
from stead.core.states import Failure
from stead.memory.review import ask as asking
from stead.memory.review import changes, day, desk, household, lines
from stead.memory.review.changes import Desktop
from stead.memory.review.day import Cursor, Entries, Piece
from stead.memory.review.nouns import Counts, Line, Op, Operation, Terms, Unfit, Used, operation
from stead.memory.review.said import telling

_T = TypeVar("_T")
_ANSWER = 1024
_PIECE_MOST = 5000
_CARDS_MOST = 2500
_TOPICS_MOST = 60
_TOLD_MOST = 200
_LEAST = 300
"""Characters of a day that must fit beside the question."""
_CHARS = 2.5
"""Characters of a token, taken low."""


class Stopped(Exception):
    """The review cannot go on now; the text says why."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.why = why
        self.again = again
        """Whether it makes sense to try again in a while."""


@dataclass(slots=True)
class Told:
    """How far a review is, and what it did."""

    slot: str
    dry_run: bool = False
    day: str = ""
    days: list[str] = field(default_factory=list)
    why: str = ""
    again: bool = False
    counts: Counts = field(default_factory=Counts)
    taken: list[str] = field(default_factory=list)
    waiting: list[dict[str, str]] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Night:
    """A review of some days. Used once."""

    def __init__(
        self,
        home: Path,
        client: ModelClient,
        profile: ModelProfile,
        terms: Terms,
        place: desk.Desk,
        entries: Entries,
        told: Told,
        *,
        used: Used | None = None,
        base: dict[str, Any] | None = None,
    ) -> None:
        self._home = home
        self._client = client
        self._terms = terms
        self._desk = place
        self._book = place.book
        self._entries = entries
        self._used = used
        # What this slot did before it was cut off.
        self._base = base or {}
        self._before = Counts(**copy.deepcopy(self._base.get("counts", {})))
        self.told = told
        # What is asked is thought, not guessed: half of what the model can hold is left to it.
        self._answer = min(_ANSWER, max(256, profile.context // 4))
        self._room = int((profile.context - self._answer) * _CHARS) - asking.CONSTANT

    async def run(self, days: Sequence[str]) -> Told:
        """Read the days, the oldest first; never raises for what the model or the budget does."""
        await asyncio.to_thread(self._desk.recover)
        known = day.days(self._home / "memory")
        try:
            if self._room < _LEAST * 2:
                raise Stopped(
                    "the model of the lane review can hold too little at once for it", again=False
                )
            for one in sorted(days):
                self.told.day = one
                await self._day(one, known.get(one, []))
                self.told.days.append(one)
        except Stopped as stop:
            self.told.why, self.told.again = stop.why, stop.again
        if not self.told.dry_run:
            await asyncio.to_thread(self._household)
            await asyncio.to_thread(self._save_spent)
        self.told.day = ""
        return self.told

    # --- a day ---------------------------------------------------------------------------

    async def _day(self, one: str, paths: Sequence[str]) -> None:
        state = self._book.day(one)
        try:
            for path in paths:
                await self._file(one, path, state)
            state["done"] = {path: _size(self._home / path) for path in paths}
        finally:
            if not self.told.dry_run:
                await asyncio.to_thread(self._take, one, state)

    async def _file(self, one: str, path: str, state: dict[str, Any]) -> None:
        cursors = state.setdefault("cursors", {})
        start = Cursor(**cursors.get(path, {}))
        most = min(_PIECE_MOST, self._room * 2 // 3)
        found = day.pieces(self._entries, self._home, path, start, most)
        while (piece := await asyncio.to_thread(_next, found)) is not None:
            self.told.counts.pieces += bool(piece.lines)
            wanted: list[tuple[Operation, bool, str]] = []
            if piece.lines:
                wanted = await self._read(one, piece.lines, state)
            if self.told.dry_run:
                self._show(wanted)
                continue
            await asyncio.to_thread(self._keep, one, path, piece, wanted, state)

    def _keep(
        self, one: str, path: str, piece: Piece, wanted: Sequence[tuple[Operation, bool, str]],
        state: dict[str, Any],
    ) -> None:  # fmt: skip
        """A piece is over: proposals first (the same ones have the same ids), then the place in
        the day together with what is to be taken."""
        for wish, take, why in wanted:
            if take:
                state.setdefault("taken", []).append(wish.as_dict())
                self.told.counts.taken += 1
                self.told.taken.append(desk.summary(wish))
            else:
                self._offer(wish, why)
        state["cursors"][path] = asdict(piece.after)
        self._book.save_day(one, state)
        self._save_spent()

    def _offer(self, wish: Operation, why: str) -> None:
        try:
            ident = self._desk.offer(wish, why)
        except Unfit:
            if wish.op is Op.CLOSE and wish.text:  # what it speaks against is not written yet
                self._offer(replace(wish, op=Op.ADD, old=""), f"{why}: {wish.old}")
            else:
                self._drop("it does not fit what memory holds")
            return
        if ident:
            self.told.counts.waiting += 1
            self.told.waiting.append({"id": ident, "summary": desk.summary(wish), "why": why})
        else:
            self._drop("you were asked before")

    def _show(self, wanted: Sequence[tuple[Operation, bool, str]]) -> None:
        for wish, take, why in wanted:
            if take:
                self.told.counts.taken += 1
                self.told.taken.append(desk.summary(wish))
            else:
                self.told.counts.waiting += 1
                self.told.waiting.append({"id": "", "summary": desk.summary(wish), "why": why})

    def _take(self, one: str, state: dict[str, Any]) -> None:
        """What may be taken of a day is one change of the home's history."""
        taken = [operation(each) for each in state.get("taken", [])]
        if taken:
            trial = Desktop(self._desk.shelf)
            fit = [each for each in taken if _applied(each, trial)]
            if why := changes.guard(trial.change(), self._terms):
                for each in fit:
                    self._offer(each, why)
            else:
                words = f"review of {one}: {len(fit)} taken by itself"
                done = self._desk.do(fit, words)
                if done["commit"]:
                    self.told.commits.append(done["commit"])
        state.pop("taken", None)
        self._book.save_day(one, state)
        self._save_spent()

    # --- a piece -------------------------------------------------------------------------

    async def _read(
        self, one: str, said: Sequence[Line], state: dict[str, Any]
    ) -> list[tuple[Operation, bool, str]]:
        """Ask about some lines: the operations that hold, whether each is taken, and why."""
        found: list[Operation] = []
        for answer, of in await self._answers(one, said):
            for each in answer:
                self.told.counts.said += 1
                try:
                    found.append(asking.checked(each, one, of))
                except asking.Dropped as dropped:
                    self._drop(str(dropped))
        return await asyncio.to_thread(self._judge, found, state)

    def _judge(
        self, found: Sequence[Operation], state: dict[str, Any]
    ) -> list[tuple[Operation, bool, str]]:
        desktop = Desktop(self._desk.shelf)
        for each in state.get("taken", []):
            _applied(operation(each), desktop)
        judged: list[tuple[Operation, bool, str]] = []
        taken = self._before.taken + self.told.counts.taken
        for each in found:
            if self._known(each, desktop):
                continue
            settled = changes.settled(each, desktop)
            if settled is None:
                self._drop("known already")
                continue
            try:
                take, why = desk.decide(settled, desktop, self._terms)
                if self._desk.facts is not None and (more := self._desk.facts.against(settled)):
                    take, why = False, f"it speaks against what is known: {more}"
                changes.apply(settled, desktop.copy())
            except Unfit:
                self._drop("it does not fit what memory holds")
                continue
            if take and taken >= self._terms.most_taken:
                take, why = False, f"{self._terms.most_taken} were taken tonight already"
            if take:
                taken += 1
                changes.apply(settled, desktop)
            judged.append((settled, take, why))
        return judged

    def _known(self, each: Operation, desktop: Desktop) -> bool:
        if each.op not in (Op.FACT, Op.END_FACT, Op.NOTE):
            return False
        facts = self._desk.facts
        if facts is None:
            self._drop("there is no graph to put it in")
        elif facts.knows(each) or each in desktop.facts:
            self._drop("known already")
        else:
            return False
        return True

    async def _answers(
        self, one: str, said: Sequence[Line], deep: int = 0
    ) -> list[tuple[list[dict[str, Any]], Sequence[Line]]]:
        """The model's answer; one that was cut short is asked for in halves."""
        numbered = [replace(line, number=at) for at, line in enumerate(said, 1)]
        topics, cards = await asyncio.to_thread(self._related, numbered)
        wanted = asking.request(one, numbered, topics, cards, self._answer)
        self._afford(wanted.messages)
        counts = self.told.counts
        try:
            answer = await asking.ask(self._client, wanted)
        except SteadError as error:
            if error.failure is Failure.SCHEMA and len(said) > 1 and deep < 4:
                return await self._halves(one, said, deep)  # more than the model can hold
            raise Stopped(error.message, again=_again(error)) from None
        counts.calls += 1
        counts.prompt_tokens += answer.usage.prompt_tokens
        counts.answer_tokens += answer.usage.completion_tokens
        counts.cost_micro += answer.usage.cost_micro
        try:
            return [(asking.operations(answer), numbered)]
        except asking.Thrown as thrown:
            counts.failed += 1
            counts.thrown[str(thrown)] = counts.thrown.get(str(thrown), 0) + 1
            if answer.finish == "length" and len(said) > 1 and deep < 2:
                return await self._halves(one, said, deep)
            return []

    async def _halves(
        self, one: str, said: Sequence[Line], deep: int
    ) -> list[tuple[list[dict[str, Any]], Sequence[Line]]]:
        middle = len(said) // 2
        first = await self._answers(one, said[:middle], deep + 1)
        return first + await self._answers(one, said[middle:], deep + 1)

    def _afford(self, messages: Sequence[dict[str, Any]]) -> None:
        """Raises :class:`Stopped` where the next call might go over what a night may cost."""
        terms, now, before = self._terms, self.told.counts, self._before
        tokens = now.tokens + before.tokens
        size = sum(len(message["content"]) for message in messages)
        if tokens + size / _CHARS + self._answer > terms.tokens:
            raise Stopped(
                f"the {terms.tokens} tokens of a night are used up ([memory] review_tokens)",
                again=False,
            )
        cost, calls = now.cost_micro + before.cost_micro, max(1, now.calls + before.calls)
        # Nobody knows what a call costs before it is made: at most, say, twice what one did.
        if cost and cost + 2 * cost // calls > terms.cost_micro:
            raise Stopped(
                f"the money of a night (${terms.cost_micro / 1e6:.2f}) is used up ([memory]"
                " review_usd)",
                again=False,
            )

    def _related(self, said: Sequence[Line]) -> tuple[list[str], str]:
        """The topics of cards, those first that the lines speak of, and what these cards say."""
        spoken: frozenset[str] = frozenset().union(*(telling(line.text) for line in said))
        desktop = Desktop(self._desk.shelf)
        near: list[tuple[str, str]] = []
        far: list[tuple[str, str]] = []
        for path, topic in desktop.cards():
            (near if telling(topic) & spoken else far).append((path, topic))
        told, left = "", min(_CARDS_MOST, self._room // 3)
        for path, topic in near:
            held = lines.open_statements(desktop.read(path) or "")
            held.sort(key=lambda each: -len(telling(each.text) & spoken))
            shown = "".join(f"- {each.text}\n" for each in held[:8] if len(each.text) < 400)
            block = f"Card {topic} says:\n{shown}"
            if len(block) > left:
                break
            told += block
            left -= len(block)
        topics = [topic for _, topic in (*near, *far)][:_TOPICS_MOST]
        while topics and sum(map(len, topics)) > self._room // 6:
            topics.pop()
        return topics, told

    # --- what is not of a day ------------------------------------------------------------

    def _household(self) -> None:
        """Cards that say the same, and cards that nobody used."""
        for wish, why in household.wishes(self._desk.shelf, self._terms, self._used):
            self._offer(wish, why)

    def _save_spent(self) -> None:
        told, base = self.told, self._base
        total = Counts(**copy.deepcopy(base.get("counts", {})))
        total.add(told.counts)
        self._book.save_night(told.slot, {
            **base, "counts": asdict(total),
            "taken": [*base.get("taken", []), *told.taken][-_TOLD_MOST:],
            "waiting": [*base.get("waiting", []), *told.waiting][-_TOLD_MOST:],
            "commits": [*base.get("commits", []), *told.commits],
            "days": list(dict.fromkeys([*base.get("days", []), *told.days])),
        })  # fmt: skip

    def _drop(self, why: str) -> None:
        dropped = self.told.counts.dropped
        dropped[why] = dropped.get(why, 0) + 1


def _applied(each: Operation, desktop: Desktop) -> bool:
    try:
        changes.apply(each, desktop)
    except Unfit:
        return False
    return True


def _next(found: Iterator[_T]) -> _T | None:
    return next(found, None)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _again(error: SteadError) -> bool:
    return not error.failure.permanent and error.failure is not Failure.BUDGET


Clock = Callable[[], float]


def today(clock: Clock = time.time) -> str:
    """The local date."""
    return time.strftime("%Y-%m-%d", time.localtime(clock()))
