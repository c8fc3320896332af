"""Where changes are made: a batch is written down, done, committed and struck off.

A batch that was cut off (``kill -9``, a full disk) is done again from its note. Every operation
changes nothing where it is done already, so that nothing is there twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stead.core.errors import BadRequest, SteadError
from stead.memory.review import changes, rules
from stead.memory.review.book import OPEN, Book, ident_of
from stead.memory.review.changes import Desktop
from stead.memory.review.nouns import (
    Changed,
    Facts,
    Op,
    Operation,
    Shelf,
    Stale,
    Take,
    Terms,
    Unfit,
    operation,
)
from stead.memory.review.said import flat

#: So often a batch is thought out anew because somebody else wrote a file meanwhile.
_TRIES = 5
_OF_GRAPH = (Op.FACT, Op.END_FACT, Op.NOTE)


class Desk:
    """The one place that changes memory for the review. Not for more than one thread at a time."""

    def __init__(
        self,
        shelf: Shelf,
        book: Book,
        terms: Callable[[], Terms],
        facts: Facts | None = None,
        mask: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.shelf = shelf
        self.book = book
        self.facts = facts
        self._terms = terms
        self._mask = mask

    # --- proposals -----------------------------------------------------------------------

    def offer(self, one: Operation, why: str) -> str:
        """Let the owner decide; its id, empty where he was asked before. Raises ``Unfit``."""
        one = self.masked(one)
        ident = ident_of(one)
        if self.book.has_proposal(ident):
            return ""
        self.book.save_proposal(self._made(one, ident, why))
        return ident

    def masked(self, one: Operation) -> Operation:
        """Without secrets, whatever the model made of what it read."""
        mask = self._mask
        return replace(
            one, topic=mask(one.topic), text=mask(one.text), old=mask(one.old),
            other=mask(one.other), quote=mask(one.quote),
        )  # fmt: skip

    def _made(self, one: Operation, ident: str, why: str) -> dict[str, Any]:
        change = changes.change_of(one, self.shelf)
        if change.nothing:
            raise Unfit(why="memory says so already")
        notes = (changes.too_large(change, self._terms()), changes.guard(change, self._terms()))
        return {
            "id": ident, "state": OPEN, "at": int(time.time() * 1000), "day": one.day,
            "summary": summary(one), "why": why, "note": "; ".join(filter(None, notes)),
            "quote": one.quote, "source": one.source, "speaker": one.speaker,
            "paths": sorted(change.after) or [changes.JOURNAL],
            "base": changes.base_of(change), "diff": changes.diff_of(change),
            "operation": one.as_dict(),
        }  # fmt: skip

    def accept(self, idents: Sequence[str], by: str = "owner") -> dict[str, Any]:
        """The owner says yes: all of these are one change. Raises ``Stale`` where a file was
        changed since it was shown (the proposal is made anew), ``Unfit``, ``NotFound``."""
        self.recover()
        found = [self._open(ident) for ident in dict.fromkeys(idents)]
        ones = [operation(one["operation"]) for one in found]
        for proposal, one in zip(found, ones, strict=True):
            self._fresh(proposal, one)
        desk = Desktop(self.shelf)
        for one in ones:
            changes.apply(one, desk)
        if why := changes.too_large(desk.change(), self._terms()):
            raise Unfit(why=why)
        names = [one["id"] for one in found]
        words = summary(ones[0]) if len(ones) == 1 else f"{len(ones)} proposals"
        return self.do(ones, f"review: {words} (accepted by {by})", accepted=names, by=by)

    def _open(self, ident: str) -> dict[str, Any]:
        found = self.book.proposal(ident)
        if found["state"] != OPEN:
            raise BadRequest(f"Proposal {found['id']} is {found['state']} already.")
        return found

    def _fresh(self, proposal: dict[str, Any], one: Operation) -> None:
        """Raises ``Stale``, with the proposal made anew, or ``Unfit``, with it struck off."""
        try:
            now = self._made(one, proposal["id"], proposal["why"])
        except Unfit as error:
            self.book.save_proposal({**proposal, "state": "stale", "note": error.message})
            raise
        if now["base"] != proposal["base"] or now["diff"] != proposal["diff"]:
            self.book.save_proposal({**now, "at": proposal["at"]})
            paths = ", ".join(now["paths"])
            raise Stale(path=paths, ident=proposal["id"])

    def reject(self, ident: str, by: str = "owner", why: str = "") -> dict[str, Any]:
        """The owner says no: it is not asked again."""
        found = self._open(ident)
        found |= {"state": "rejected", "by": by, "said": why, "answered_at": _now()}
        self.book.save_proposal(found)
        return found

    def edit(self, ident: str, text: str) -> dict[str, Any]:
        """The owner's own words instead; it stays open. The quote stays what it was."""
        found = self._open(ident)
        text = flat(text)
        if not text:
            raise BadRequest("Say the words that shall stand there (or reject the proposal).")
        one = operation(found["operation"])
        if one.op not in (Op.ADD, Op.CLOSE, Op.PROMOTE, Op.NOTE):
            raise BadRequest(f"A proposal to {one.op.value} has no words to edit.")
        made = self._made(self.masked(replace(one, text=text)), found["id"], found["why"])
        made |= {"at": found["at"], "edited": True}
        self.book.save_proposal(made)
        return made

    # --- batches -------------------------------------------------------------------------

    def do(
        self, ones: Sequence[Operation], words: str, *, accepted: Sequence[str] = (), by: str = ""
    ) -> dict[str, Any]:
        """Make changes as one batch. ``accepted``: the proposals that it settles."""
        batch = {
            "at": _now(), "words": words, "accepted": list(accepted), "by": by,
            "operations": [self.masked(one).as_dict() for one in ones],
        }  # fmt: skip
        self.shelf.settle()
        beside = self._as_shown(accepted)
        self.book.save_batch(batch)
        done = self._finish(batch)
        self._follow(beside)
        return done

    def _as_shown(self, but: Sequence[str]) -> list[dict[str, Any]]:
        """The open proposals whose files are what they were made against."""
        found = []
        for proposal in self.book.proposals():
            try:
                now = self._made(operation(proposal["operation"]), proposal["id"], "")
            except Unfit:
                continue
            if now["base"] == proposal["base"] and proposal["id"] not in but:
                found.append(proposal)
        return found

    def _follow(self, proposals: Sequence[dict[str, Any]]) -> None:
        """What was changed here is no reason to call the other proposals stale."""
        for proposal in proposals:
            one = operation(proposal["operation"])
            try:
                made = self._made(one, proposal["id"], proposal["why"])
            except Unfit as error:
                made = {**proposal, "state": "stale", "note": error.message}
            if made["base"] != proposal["base"]:
                self.book.save_proposal({**made, "at": proposal["at"]})

    def recover(self) -> bool:
        """Do what a crash left half done; whether there was something."""
        batch = self.book.batch()
        if batch:
            self._finish(batch)
        return bool(batch)

    def _finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        ones = [operation(one) for one in batch["operations"]]
        unfit: list[str] = []
        for left in range(_TRIES, 0, -1):
            unfit = []
            try:
                paths = self._written(ones, unfit)
                break
            except Changed:
                if left == 1:
                    raise
        journal = self._into_graph([one for one in ones if one.op in _OF_GRAPH], unfit)
        commit = self.shelf.commit(batch["words"], journal)
        for ident in batch["accepted"]:
            found = self.book.proposal(ident)
            found |= {"state": "accepted", "by": batch["by"], "answered_at": batch["at"]}
            self.book.save_proposal({**found, "commit": commit})
        self.book.drop_batch()
        return {"paths": paths, "commit": commit, "unfit": unfit, "operations": len(ones)}

    def _into_graph(self, ones: Sequence[Operation], unfit: list[str]) -> list[str]:
        if self.facts is None or not ones:
            return []
        for one in ones:
            try:
                self.facts.take(one, f"review-{ident_of(one)}")
            except SteadError as error:  # a name that several have
                unfit.append(error.message)
        return [changes.JOURNAL]

    def _written(self, ones: Sequence[Operation], unfit: list[str]) -> list[str]:
        desk = Desktop(self.shelf)
        for one in ones:
            try:
                changes.apply(one, desk)
            except Unfit as error:  # a file was changed between the note and this moment
                unfit.append(error.message)
        change = desk.change()
        # What is new first: a file that goes is then already in its other place.
        for path in sorted(change.after, key=lambda path: (change.after[path] is None, path)):
            self.shelf.write(path, change.before[path], change.after[path])
        return sorted(change.after)


def summary(one: Operation) -> str:
    """One line for people."""
    match one.op:
        case Op.ADD:
            return f"{one.topic}: {one.text}"
        case Op.CLOSE:
            now = f"; now: {one.text}" if one.text else ""
            return f"{one.topic}: “{one.old}” held until {one.day}{now}"
        case Op.MERGE:
            return f"the card {one.other} goes into {one.topic}"
        case Op.PROMOTE:
            return f"always to be known: {one.text}"
        case Op.ARCHIVE:
            return f"{one.other} into the archive: {one.text}"
        case _:
            return changes.fact_words(one)


def decide(one: Operation, desktop: Desktop, terms: Terms) -> tuple[bool, str]:
    """Whether an operation is taken by itself, and why (not)."""
    rule = rules.ruling(one)
    if rule.take is not Take.NOW:
        return False, rule.why
    if not terms.auto:
        return False, "you want to see everything first ([memory] review_auto)"
    trial = desktop.copy()
    changes.apply(one, trial)
    if why := changes.guard(trial.change(), terms) or changes.too_large(trial.change(), terms):
        return False, why
    return True, rule.why


def _now() -> int:
    return int(time.time() * 1000)
