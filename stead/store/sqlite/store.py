"""The SQLite storage as the other rooms see it: every method one operation of the writer."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from stead.core.errors import StoreUnusable
from stead.core.ids import go_on_after, uuid7
from stead.core.limits import Limit
from stead.core.nouns import Call, Cap, Inbound, Job, NewJob, Post, Step, Turn
from stead.core.pruning import Batch, PruneRule
from stead.core.scope import KeyRow, KeyScope
from stead.core.storage import (
    Accepted,
    Beat,
    CrashRule,
    Delivery,
    Ended,
    Granted,
    NodeRow,
    Rule,
    View,
)
from stead.core.wire import Events, Finish, Held
from stead.store.sqlite import (
    calls,
    discarded,
    ends,
    engine,
    holds,
    jobs,
    keys,
    ledger,
    nodes,
    outbox,
    poison,
    prune,
    recall,
    record,
    setback,
    views,
    waits,
)
from stead.store.sqlite.attaching import Attaching
from stead.store.sqlite.claims import Asked, Claims
from stead.store.sqlite.conversations import Conversations
from stead.store.sqlite.demands import Asker, Demands
from stead.store.sqlite.entries import Entries
from stead.store.sqlite.persons import Persons
from stead.store.sqlite.pushes import Pushes
from stead.store.sqlite.questions import Questions
from stead.store.sqlite.remembered import Remembered
from stead.store.sqlite.running import Running
from stead.store.sqlite.sql import row, rows
from stead.store.sqlite.writer import CLOSING, Op, Writer, why

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Jobs that are made ready in one operation, when their time has come for many.
_AT_ONCE = 500


class SqliteStore(Questions, Remembered, Persons, Conversations, Attaching, Pushes, Entries):
    """One file, one writer thread, two reading threads with a connection each.

    ``age_ms`` of waiting count in the queue as much as one ``prio``, for jobs queued from now on.
    ``limits`` hold for the jobs of their keys, also for those queued before.
    Raises ``NewerSchema`` or ``StoreUnusable`` when the file cannot be used.
    """

    def __init__(
        self, path: Path, copies: Path, *, age_ms: int = 600_000, limits: Sequence[Limit] = ()
    ) -> None:
        engine.migrate(path, copies)
        self.path = path
        connection = engine.connect(path)
        # Ids are an order: also when the clock was set back.
        for table in ("job", "message", "call"):
            go_on_after(str(row(connection, f"SELECT max(id) FROM {table}")[0]))
        demands = Demands(connection, limits)
        self._insert = jobs.Inserter(demands, age_ms).insert
        running = Running(connection)
        self._claim = Claims(demands, running).claim
        self._finish = ends.Ends(running).finish
        self._writer = Writer(connection, str(path), demands.undone)
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-reader")
        # By thread, and not in a threading.local: what is in one is thrown away in a forked child
        # before it becomes its program. SQLite would close the connection there, and stand still
        # for ever before a lock that one of our threads held at the fork; and so would the parent.
        self._looking: dict[int, apsw.Connection] = {}
        self._closed = False

    def close(self) -> None:
        self._closed = True
        self._readers.shutdown()
        for connection in self._looking.values():
            connection.close()
        self._looking.clear()
        self._writer.close()

    @property
    def trouble(self) -> str:
        """Why nothing can be written now, in words; empty when all is well."""
        return self._writer.trouble

    @property
    def writes(self) -> tuple[int, int]:
        """Commits so far, and operations in them."""
        return self._writer.commits, self._writer.operations

    # --- the two crossings -------------------------------------------------------

    async def write(self, op: Op[T]) -> T:
        """One operation in the next group commit; durable when this returns."""
        return await self._writer.run(op)

    async def write_alone(self, op: Op[T]) -> T:
        """One operation in no transaction, while nobody else writes."""
        return await self._writer.run_alone(op)

    async def read(self, look: Callable[[apsw.Connection], T]) -> T:
        """A look at the last committed state, in a reading thread."""
        if self._closed:
            raise StoreUnusable(path=self.path, why=CLOSING)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, look)

    def _look(self, look: Callable[[apsw.Connection], T]) -> T:
        connection = self._looking.get(threading.get_ident())
        if connection is None:
            connection = engine.connect(self.path, readonly=True)
            self._looking[threading.get_ident()] = connection
        try:
            with connection:  # one snapshot for all its statements
                found = look(connection)
        except apsw.Error as error:
            raise StoreUnusable(path=self.path, why=why(error)) from error
        return found

    # --- the record ----------------------------------------------------------------

    async def accept(self, inbound: Inbound, job: NewJob, line: str) -> Accepted:
        def op(c: apsw.Connection) -> Accepted:
            known = record.known(c, inbound, job)
            if known is not None:
                return known
            job_id = uuid7()
            full, turn, message_id = record.owner_message(c, inbound, job, job_id)
            self._insert(c, full, turn, job_id, inbound.channel)
            off = recall.note(c, inbound.session)
            if line and not off:
                record.day_line(c, line.replace("{job}", job_id[-8:], 1))
            return Accepted(message_id, job_id, False, job.route)

        return await self.write(op)

    async def notice(self, channel: str, session: str, external_id: str, text: str) -> str | None:
        return await self.write(lambda c: record.notice(c, channel, session, external_id, text))

    async def tell(self, external_id: str, text: str) -> str | None:
        return await self.write(lambda c: record.tell(c, external_id, text, first=("cli", "main")))

    async def history(self, job: Job) -> list[Turn]:
        return await self.read(lambda c: record.history(c, job))

    # --- the queue -----------------------------------------------------------------

    async def enqueue(self, job: NewJob) -> tuple[str, bool]:
        def op(c: apsw.Connection) -> tuple[str, bool]:
            if job.idem_key is not None:
                known = jobs.by_idem_key(c, job.idem_key)
                known = known or prune.by_idem_key(c, job.idem_key)
                if known is not None:
                    return known, False
            return self._insert(c, job), True

        return await self.write(op)

    async def claim(
        self,
        *,
        request_id: str,
        node_id: str,
        boot: str,
        lanes: Sequence[str],
        labels: Sequence[str],
        lease_ms: int,
        name: str = "",
        there: Collection[str] = (),
    ) -> Granted | None:
        asker = Asker(name, tuple(labels), frozenset(there))
        asked = Asked(request_id, node_id, boot, tuple(lanes), asker, lease_ms)
        # Last: what the other operations of the batch make ready is there to be claimed.
        return await self._writer.run_bulk(self._claim, asked, last=True)

    async def heartbeat(self, node_id: str, held: Sequence[Held], lease_ms: int) -> Beat:
        return await self.write(lambda c: jobs.heartbeat(c, node_id, held, lease_ms))

    def heartbeat_sync(self, node_id: str, held: Sequence[Held], lease_ms: int) -> Beat:
        return self._writer.run_sync(lambda c: jobs.heartbeat(c, node_id, held, lease_ms))

    async def journal(
        self, job_id: str, epoch: int, node_id: str, steps: Sequence[Step], lines: Sequence[str],
        posts: Sequence[Post | None] = (),
    ) -> bool:  # fmt: skip
        def op(c: apsw.Connection) -> bool:
            cancel = jobs.fence(c, job_id, epoch, node_id)
            news = [jobs.journal(c, job_id, epoch, step) for step in steps]
            told = any(lines) and not record.is_apart(c, job_id)
            for line, new in zip(lines, news, strict=True):
                if new and line and told:
                    record.day_line(c, line)
            for step, post in zip(steps, posts, strict=False):
                if post is not None:
                    record.post(c, job_id, step.seq, post)
            return cancel

        return await self.write(op)

    async def finish(self, node_id: str, report: Finish, rule: Rule) -> Ended:
        return await self._writer.run_bulk(self._finish, ends.Reported(node_id, report, rule))

    async def discard(self, node_id: str, report: Events | Finish) -> bool:
        return await self.write(lambda c: discarded.keep(c, node_id, report))

    async def reap(self, rule: CrashRule, *, limit: int = 100) -> list[Ended]:
        def look(c: apsw.Connection) -> tuple[list[str], list[bytes], bool]:
            due = ends.expired(c, limit) + ends.past_deadline(c, limit)
            return due, poison.aside(c, limit), bool(row(c, holds.ANY_DUE)[0])

        # A look first: an idle house must not write to its disk every second.
        due, aside, later = await self.read(look)
        while later:
            later = await self.write(lambda c: holds.promote(c, _AT_ONCE)) == _AT_ONCE
        back = await self._each(due, lambda c, job_id: ends.reap(c, job_id, rule))
        return back + await self._each(aside, lambda c, raw: poison.end(c, raw, rule))

    async def release(self, node_id: str, boot: str, rule: CrashRule) -> list[Ended]:
        left = await self.read(lambda c: ends.left_behind(c, node_id, boot))
        return await self._each(
            left, lambda c, job_id: ends.release(c, job_id, node_id, boot, rule)
        )

    async def _each(
        self, job_ids: list[T], take: Callable[[apsw.Connection, T], Ended | None]
    ) -> list[Ended]:
        """One operation a job, so that one that cannot be judged does not hold up the others."""

        def of(job_id: T) -> Op[Ended | None]:
            return lambda c: take(c, job_id)

        ended = []
        results = await asyncio.gather(
            *(self.write(of(job_id)) for job_id in job_ids), return_exceptions=True
        )
        for job_id, result in zip(job_ids, results, strict=True):
            if isinstance(result, BaseException):
                log.error("job %s could not be taken back", job_id, exc_info=result)
            elif result is not None:
                ended.append(result)
        return ended

    async def extend_leases(self, lease_ms: int, moved_ms: int = 0) -> int:
        return await self.write(lambda c: setback.leases_anew(c, lease_ms, moved_ms))

    async def cancel(self, job_id: str, rule: CrashRule) -> Ended:
        return await self.write(lambda c: ends.cancel(c, job_id, rule))

    async def revive(self, job_id: str) -> Job:
        return await self.write(lambda c: ends.revive(c, job_id))

    async def answer(self, job_id: str, answer: str) -> Job:
        return await self.write(lambda c: ends.answer(c, job_id, answer))

    async def next_due_ms(self) -> int | None:
        return await self.read(holds.next_due_ms)

    async def leases(self) -> list[tuple[str, int, str]]:
        return await self.read(
            lambda c: rows(c, "SELECT id, epoch, node_id FROM job WHERE state = 'running'")
        )

    async def job(self, job_id: str) -> Job:
        """Raises ``NotFound``."""
        return await self.read(lambda c: jobs.get(c, job_id))

    # --- the outbox ----------------------------------------------------------------

    async def take(self, channel: str, limit: int = 20) -> list[Delivery]:
        return await self.write(lambda c: outbox.take(c, channel, limit))

    async def delivered(self, delivery_id: int, note: str = "") -> None:
        await self.write(lambda c: outbox.mark(c, delivery_id, "sent", note))

    async def undelivered(
        self,
        delivery_id: int,
        *,
        delay_ms: int,
        note: str,
        doubt: bool = False,
        counts: bool = True,
    ) -> None:
        later = outbox.Later(delay_ms, doubts=int(doubt), uncounted=int(not counts))
        await self.write(lambda c: outbox.mark(c, delivery_id, "pending", note, later))

    async def ambiguous(self, delivery_id: int, note: str) -> None:
        await self.write(lambda c: outbox.mark(c, delivery_id, "ambiguous", note, outbox.DOUBTED))

    async def left(self, delivery_id: int, note: str) -> None:
        await self.write(lambda c: outbox.mark(c, delivery_id, "left", note, outbox.DOUBTED))

    async def undeliverable(self, delivery_id: int, note: str) -> None:
        await self.write(lambda c: outbox.mark(c, delivery_id, "failed", note))

    async def unsettled(self, channel: str) -> list[Delivery]:
        return await self.read(lambda c: outbox.unsettled(c, channel))

    async def next_delivery_ms(self, channel: str) -> int | None:
        return await self.read(lambda c: outbox.next_due_ms(c, channel))

    async def settle_delivery(self, ident: str, how: str) -> View:
        return await self.write(lambda c: outbox.settle(c, ident, how))

    async def fetched(self, job_id: str) -> None:
        await self.write(lambda c: outbox.fetched(c, job_id))

    async def fetched_messages(self, message_ids: Sequence[str]) -> None:
        ids = list(message_ids)
        if ids:
            await self.write(lambda c: outbox.fetched_messages(c, ids))

    # --- the ledger ----------------------------------------------------------------

    async def reserve(self, call: Call, caps: Sequence[Cap]) -> Cap | None:
        row, caps = ledger.written(call, time.monotonic()), tuple(caps)
        return await self.write(lambda c: ledger.reserve(c, row, caps))

    async def record_calls(self, opened: Sequence[Call], ended: Sequence[Call]) -> None:
        now = time.monotonic()
        begun = [ledger.written(call, now) for call in opened]
        over = [ledger.written(call, now) for call in ended]
        if begun or over:
            await self.write(lambda c: ledger.record_many(c, begun, over))

    async def view_spent(self) -> dict[str, tuple[int, int]]:
        return await self.read(ledger.spent)

    async def close_open_calls(self) -> int:
        return await self.write(ledger.close_open)

    # --- the keys of programs --------------------------------------------------------

    async def add_key(self, name: str, key_hash: str, scope: KeyScope) -> KeyRow:
        return await self.write(lambda c: keys.add(c, name, key_hash, scope))

    async def keys(self) -> list[KeyRow]:
        return await self.read(keys.every)

    async def set_key(self, name: str, scope: KeyScope) -> KeyRow:
        return await self.write(lambda c: keys.change(c, name, scope))

    async def revoke_key(self, name: str) -> KeyRow:
        return await self.write(lambda c: keys.revoke(c, name))

    # --- nodes, facts, the daily log -----------------------------------------------

    async def add_node(self, name: str, key_hash: str) -> str:
        return await self.write(lambda c: nodes.add(c, name, key_hash))

    async def node_by_key(self, key_hash: str, *, revoked: bool = False) -> NodeRow | None:
        return await self.read(lambda c: nodes.by_key(c, key_hash, revoked))

    async def drain_node(self, name: str, *, draining: bool) -> bool:
        return await self.write(lambda c: nodes.drain(c, name, draining))

    async def note_given(self, job_id: str, epoch: int, why: str) -> None:
        await self.write(lambda c: nodes.note_given(c, job_id, epoch, why))

    async def nodes(self) -> list[NodeRow]:
        return await self.read(nodes.every)

    async def revoke_node(self, name: str) -> bool:
        return await self.write(lambda c: nodes.revoke(c, name))

    async def saw_node(
        self,
        node_id: str,
        *,
        boot: str | None = None,
        labels: Sequence[str] | None = None,
        version: str | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        kept = None if labels is None else list(labels)
        await self.write(lambda c: nodes.saw(c, node_id, boot, kept, version, facts))

    async def fact(self, name: str) -> str | None:
        return await self.read(lambda c: nodes.fact(c, name))

    async def set_fact(self, name: str, value: str | None) -> None:
        await self.write(lambda c: nodes.set_fact(c, name, value))

    async def day_lines(self, limit: int = 500) -> list[tuple[int, int, str]]:
        return await self.read(lambda c: record.day_lines(c, limit))

    async def day_lines_written(self, upto: int) -> None:
        await self.write(lambda c: c.execute("DELETE FROM dayline WHERE id <= ?", (upto,)).get)

    async def add_day_line(self, text: str) -> None:
        await self.write(lambda c: record.day_line(c, text))

    # --- retention -------------------------------------------------------------------

    async def prune_begin(self, words: str) -> int:
        return await self.write(lambda c: prune.begin(c, words))

    async def prune_jobs(self, rule: PruneRule, pruning: int, after: str, most: int) -> Batch:
        return await self.write(lambda c: prune.jobs(c, rule, pruning, after, most))

    async def prune_calls(self, older_ms: int, most: int) -> Batch:
        return await self.write(lambda c: prune.calls(c, older_ms, most))

    async def prune_notices(self, older_ms: int, after: str, most: int) -> Batch:
        return await self.write(lambda c: prune.notices(c, older_ms, after, most))

    async def prune_messages(self, before: int, after: str, most: int) -> Batch:
        return await self.write(lambda c: prune.messages(c, before, after, most))

    async def prune_plan(
        self, rules: Sequence[PruneRule], calls_ms: int, before: int | None
    ) -> View:
        return await self.read(lambda c: prune.plan(c, rules, calls_ms, before))

    async def view_call_days(self) -> list[View]:
        return await self.read(prune.call_days)

    async def size(self) -> View:
        found = await self.read(prune.size)
        return {**found, "log": engine.log_size(self.path)}

    async def give_back(self, most: int) -> Batch:
        return await self.write(lambda c: prune.give_back(c, most))

    async def trim(self) -> None:
        await asyncio.to_thread(engine.trim, self.path)

    # --- looks ---------------------------------------------------------------------

    async def view_jobs(self, **filters: Any) -> View:
        return await self.read(lambda c: views.jobs(c, **filters))

    async def view_why(self, ident: str) -> View:
        return await self.read(lambda c: views.why(c, ident))

    async def view_attempts(self, ident: str) -> View:
        return await self.read(lambda c: views.attempts(c, ident))

    async def view_counts(self) -> View:
        return await self.read(views.counts)

    async def view_messages(self, session: str, after: int, limit: int) -> View:
        return await self.read(lambda c: views.messages(c, session, after, limit))

    async def view_outbox(self, **filters: Any) -> View:
        return await self.read(lambda c: outbox.view(c, **filters))

    async def view_delivery(self, ident: str) -> View:
        return await self.read(lambda c: outbox.show(c, ident))

    async def view_calls(self, **filters: Any) -> View:
        return await self.read(lambda c: views.calls(c, **filters))

    async def view_call(self, ident: str) -> View:
        return await self.read(lambda c: calls.shown_one(c, ident))

    async def view_call_sums(self, **filters: Any) -> View:
        return await self.read(lambda c: calls.sums(c, **filters))

    async def view_demands(self) -> list[tuple[str, str, str]]:
        return await self.read(waits.demands)

    async def view_open_demands(self) -> list[tuple[tuple[str, str, str], int]]:
        return await self.read(waits.open_demands)

    async def view_waiting(self, demands: Collection[tuple[str, str, str]]) -> View:
        return await self.read(lambda c: waits.of_demands(c, demands))
