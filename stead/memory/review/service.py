"""The review in a running gateway: due once a night, asked for by hand, answered by the owner."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

from stead.core.errors import BadRequest, SteadError
from stead.core.nouns import ModelProfile
from stead.core.ports import ModelClient
from stead.memory.review import day, slots
from stead.memory.review.book import Book
from stead.memory.review.day import Entries
from stead.memory.review.desk import Desk, summary
from stead.memory.review.night import Night, Told
from stead.memory.review.nouns import Busy, Facts, Shelf, Tell, Terms, Used, operation

log = logging.getLogger("stead.review")

_LOOK_S = 20.0
_AGAIN_S = 600.0
"""So long after a model that was away it is asked again."""
_TRIES = 12
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Means:
    """What the review works with."""

    client: ModelClient
    profile: Callable[[], ModelProfile]
    terms: Callable[[], Terms]
    at: Callable[[], str]
    """When it is due, ``03:30``; empty: never by itself."""
    entries: Entries
    tell: Tell
    ready: Callable[[], str] = str
    """Why no model can be asked now, in words; empty: one can."""
    facts: Facts | None = None
    used: Used | None = None
    mask: Callable[[str], str] = str


class Review:
    """One house's review. ``shelf`` makes a fresh look at the files."""

    def __init__(self, home: Path, shelf: Callable[[], Shelf], means: Means) -> None:
        self._home = home
        self._shelf = shelf
        self._means = means
        self._book = Book(home)
        self._one = asyncio.Lock()
        self._hands = asyncio.Lock()
        self._told: Told | None = None
        self._runs: set[asyncio.Task[Any]] = set()
        self._try_at = 0.0
        self.trouble = ""

    # --- by itself -----------------------------------------------------------------------

    async def run(self) -> None:
        """Look whether a slot is due, for ever."""
        while True:
            try:
                await self.look()
                self.trouble = ""
            except Exception as error:  # the edge of a service: tonight's review is not the house
                log.exception("the review failed")
                self.trouble = f"the nightly review could not work: {_words(error)}"
                self._try_at = time.monotonic() + _AGAIN_S
            await asyncio.sleep(_LOOK_S)

    async def look(self, now: datetime | None = None) -> dict[str, Any] | None:
        """One look at the clock: the record of the slot that was worked on, if one was due."""
        at = slots.parsed(self._means.at())
        if at is None or (time.monotonic() < self._try_at):
            return None
        now = now or datetime.now()
        newest = slots.due(at, now)
        name = newest.isoformat()
        known = await asyncio.to_thread(self._records)
        if known.get(name, {}).get("state") in slots.OVER:
            return None
        for gone in slots.missed(newest, known, self._means.terms().back_days):
            self._leave(gone, slots.MISSED, "stead did not run then; the next one made up for it")
        if self._one.locked():
            return None
        return await self._slot(newest, at, now)

    async def _slot(self, newest: date, at: Any, now: datetime) -> dict[str, Any]:
        name = newest.isoformat()
        record = self._book.night(name)
        record.setdefault("kind", slots.LATE if slots.late(newest, at, now) else slots.RAN)
        record.setdefault("began", int(time.time() * 1000))
        days = [one for one in await asyncio.to_thread(self._unread) if one < name]
        if not days:
            return self._leave(name, record["kind"], "there was nothing to read", record)
        if why := self._means.ready():
            return self._away(name, record, why)
        self._book.save_night(name, {**record, "state": slots.RUNNING, "why": ""})
        told = await self._work(Told(name), days)
        record = self._book.night(name)
        if told.why and told.again:
            return self._away(name, record, told.why)
        if told.why and not told.counts.calls and not record.get("counts", {}).get("calls"):
            return self._leave(name, slots.SKIPPED, told.why, record)
        return self._leave(name, record.get("kind", slots.RAN), told.why, record)

    def _away(self, name: str, record: dict[str, Any], why: str) -> dict[str, Any]:
        """No model now: again in a while, and not for ever."""
        tries = record.get("tries", 0) + 1
        if tries >= _TRIES:
            kind = record.get("kind", slots.RAN)
            state = kind if record.get("counts", {}).get("calls") else slots.SKIPPED
            return self._leave(name, state, why, record)
        self._try_at = time.monotonic() + _AGAIN_S
        record |= {"state": slots.RUNNING, "why": f"waits: {why}", "tries": tries}
        self._book.save_night(name, record)
        return record

    def _leave(
        self, name: str, state: str, why: str, record: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        record = {**(record or {}), "state": state, "why": why, "ended": int(time.time() * 1000)}
        self._book.save_night(name, record)
        log.info("review %s: %s", name, state, extra={"fields": {"slot": name, "why": why}})
        return record

    def _records(self) -> dict[str, Any]:
        return {one["slot"]: one for one in self._book.nights(60) if _is_day(one["slot"])}

    def _unread(self) -> list[str]:
        """The days of late that are not read to their end, the oldest first."""
        terms = self._means.terms()
        found = day.days(self._home / "memory")
        newest = sorted(found)[-terms.back_days :]
        return [one for one in newest if self._open(one, found[one])]

    def _open(self, one: str, paths: Sequence[str]) -> bool:
        state = self._book.day(one)
        done = state.get("done", {})
        return any(done.get(path) != _size(self._home / path) for path in paths) or bool(
            state.get("taken")
        )

    # --- the work ------------------------------------------------------------------------

    async def _work(self, told: Told, days: Sequence[str]) -> Told:
        means = self._means
        async with self._one, self._hands:
            self._told = told
            try:
                place = self._desk()
                night = Night(
                    self._home, means.client, means.profile(), means.terms(), place,
                    means.entries, told, used=means.used, base=self._book.night(told.slot),
                )  # fmt: skip
                await night.run(days)
            except SteadError as error:  # there is no model at all
                told.why, told.again = error.message, not error.failure.permanent
            finally:
                self._told = None
        if not told.dry_run and (told.taken or told.waiting):
            await means.tell(f"review:{told.slot}:{int(time.time() * 1000)}", notice(told))
        return told

    def _desk(self) -> Desk:
        means = self._means
        return Desk(self._shelf(), self._book, means.terms, means.facts, means.mask)

    async def begin(self, one: str = "", *, dry_run: bool = False) -> dict[str, Any]:
        """By hand: all days of late that are not read yet, or one day. It goes on by itself.

        Raises ``Busy``, ``BadRequest``.
        """
        if self._one.locked():
            raise Busy
        found = await asyncio.to_thread(day.days, self._home / "memory")
        if one:
            if not _is_day(one):
                raise BadRequest(f"{one!r} is not a day, such as 2026-11-20.", param="day")
            if one not in found:
                raise BadRequest(f"There is no log of {one} in memory/.", param="day")
            days = [one]
        else:
            days = await asyncio.to_thread(self._unread)
        told = Told(f"{time.strftime('%Y-%m-%d')}-by-hand-{int(time.time() * 1000)}", dry_run)
        if why := self._means.ready():
            raise BadRequest(f"No review now: {why}.")
        run = asyncio.create_task(self._by_hand(told, days))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        await asyncio.sleep(0)
        return {"run": told.slot, "days": days, "dry_run": dry_run}

    async def _by_hand(self, told: Told, days: Sequence[str]) -> None:
        record: dict[str, Any] = {"state": slots.RUNNING, "kind": slots.RAN, "by": "owner"}
        record["began"] = int(time.time() * 1000)
        try:
            if not told.dry_run:
                self._book.save_night(told.slot, record)
            await self._work(told, days)
            why = told.why
        except Exception as error:  # the edge of a run: its record says why
            log.exception("the review failed")
            why = _words(error)
        known = record if told.dry_run else self._book.night(told.slot)
        if told.dry_run:
            counts = dataclasses.asdict(told.counts)
            known |= {**told.as_dict(), "counts": counts}
        state = slots.RAN if told.counts.calls or not why else slots.SKIPPED
        known |= {"state": state, "why": why, "ended": int(time.time() * 1000)}
        known["dry_run"] = told.dry_run
        self._book.save_night(told.slot, known)

    async def aclose(self) -> None:
        """Stop what is under way; it goes on at the next start."""
        for run in list(self._runs):
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)

    # --- what the owner sees and says ----------------------------------------------------

    async def state(self) -> dict[str, Any]:
        """``at``, ``running`` (None: nothing is), ``open`` proposals, the last ``nights``."""
        nights = await asyncio.to_thread(self._book.nights)
        waiting = await asyncio.to_thread(self._book.proposals)
        return {
            "at": self._means.at(),
            "running": self._told.as_dict() if self._told is not None else None,
            "open": len(waiting),
            "nights": nights,
            "trouble": self.trouble,
        }

    async def night(self, slot: str) -> dict[str, Any]:
        return {"slot": slot, **await asyncio.to_thread(self._book.night, slot)}

    async def proposals(self, state: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self._book.proposals, state)

    async def proposal(self, ident: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._book.proposal, ident)

    async def accept(self, idents: Sequence[str], by: str = "owner") -> dict[str, Any]:
        """See :meth:`~stead.memory.review.desk.Desk.accept`; ``all``: every open one."""

        def work() -> dict[str, Any]:
            names = list(idents)
            if names == ["all"]:
                names = [one["id"] for one in self._book.proposals()]
            if not names:
                raise BadRequest("Nothing waits for your word.")
            full = [self._book.proposal(name)["id"] for name in names]
            return {**self._desk().accept(full, by), "accepted": full}

        return await self._by_owner(work)

    async def reject(self, ident: str, by: str = "owner", why: str = "") -> dict[str, Any]:
        return await self._by_owner(lambda: self._desk().reject(ident, by, why))

    async def edit(self, ident: str, text: str) -> dict[str, Any]:
        return await self._by_owner(lambda: self._desk().edit(ident, text))

    async def _by_owner(self, work: Callable[[], _R]) -> _R:
        if self._hands.locked():
            raise Busy
        async with self._hands:
            return await asyncio.to_thread(work)


def notice(told: Told) -> str:
    """What the owner is told of a review."""
    said = [f"I have read {', '.join(told.days) or 'a part of a day'}."]
    if told.taken:
        said.append(
            "Written down by myself, in your own words (`stead memory undo` takes it back):"
        )
        said += [f"- {one}" for one in told.taken[:10]]
        said += [f"- and {len(told.taken) - 10} more"] if len(told.taken) > 10 else []
    if told.waiting:
        said.append("This waits for your word (`stead memory review show ID`):")
        for one in told.waiting[:10]:
            said.append(f"- {one['id']}: {one['summary']} ({one['why']})")
        if len(told.waiting) > 10:
            said.append(f"- and {len(told.waiting) - 10} more: `stead memory review list`")
        ident = told.waiting[0]["id"]
        said.append(f"`stead memory review accept ID`, or here: approve {ident}, or deny {ident}.")
    if told.why:
        said.append(f"It ended early: {told.why.rstrip('.')}.")
    return "\n".join(said)


def preview(proposal: dict[str, Any]) -> str:
    """One line about a proposal."""
    return f"memory: {summary(operation(proposal['operation']))}"


def _is_day(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}"
    return error.message if isinstance(error, SteadError) else str(error)
