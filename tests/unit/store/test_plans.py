"""A million rows cost no more than a thousand: what is done often looks rows up, it walks none."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import apsw
import apsw.ext
import pytest

from stead.core.ids import uuid7
from stead.core.nouns import Call, Cap, Usage
from stead.core.states import StepState
from stead.core.wire import Held
from stead.store.sqlite import SqliteStore, engine
from tests.contract.storages import (
    background,
    chat,
    claim,
    claimed,
    crash_rule,
    finish,
    inbound,
    journal,
    report,
    rule,
    step,
)

#: A walk over a whole table, or over an index of it that has a row for each of its rows.
WALK = re.compile(r"^SCAN (?!.*(VIRTUAL TABLE|job_running|job_ready|outbox_open|call_open))")

#: Tables of which there are few rows, or whose rows go as soon as they are done with.
SMALL = ("dayline", "demand", "(subquery", "CONSTANT")


@pytest.fixture
async def seen(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every statement that any connection runs."""
    seen: set[str] = set()
    real = engine.connect

    def connect(path: Path, *, readonly: bool = False) -> apsw.Connection:
        connection = real(path, readonly=readonly)
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: seen.add(str(event["sql"])))
        return connection

    monkeypatch.setattr(engine, "connect", connect)
    return seen


@pytest.fixture
async def store(tmp_path: Path, seen: set[str]) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


def walks(path: Path, statements: set[str]) -> list[str]:
    connection = engine.connect(path, readonly=True)
    found = []
    for sql in sorted(statements):
        if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", sql):
            continue
        explain = f"EXPLAIN QUERY PLAN {sql}"
        bindings = [None] * apsw.ext.query_info(connection, explain).bindings_count
        for row in connection.execute(explain, bindings):
            plan = str(row[3])
            if WALK.match(plan) and not plan.removeprefix("SCAN ").startswith(SMALL):
                found.append(f"{plan}: {' '.join(sql.split())[:200]}")
    connection.close()
    return found


async def everyday(store: SqliteStore) -> None:
    """All that happens on the way of messages, many times a second."""
    accepted = await store.accept(inbound(external_id="1"), chat(), "line")
    await store.accept(inbound(external_id="1"), chat(), "line")
    await store.accept(inbound(body_hash="h", is_retry=True), chat("b"), "line")
    await store.enqueue(background(idem_key="k"))
    await store.enqueue(background(idem_key="k"))
    granted = await claim(store, request_id="r", labels=("gpu",))
    assert granted is not None
    await claim(store, request_id="r")
    job = granted.job
    await store.history(job)
    await store.heartbeat("n1", [Held(job.id, 1), Held("x", 1)], 30_000)
    await journal(store, job, step(1), step(1, StepState.DONE), step(2))
    await finish(store, job, "waiting", waiting_for="?")
    await store.answer(job.id, "done")
    again = await claimed(store)
    await journal(store, again, step(2))
    done = report(again, "done", "hello")
    for _ in range(2):
        assert again.node_id is not None
        await store.finish(again.node_id, done, rule)
    await claimed(store, lease_ms=-1000)
    await store.reap(crash_rule)
    await store.enqueue(background(limits="a=1,b=1/1s", prefer="x", run_at=10**14))
    await store.enqueue(background(limits="a=1,b=1/1s", prefer="x", avoid="y"))
    await claimed(store, labels=("gpu",))
    await store.release("n1", "b2", crash_rule)
    await store.cancel((await store.enqueue(chat("c")))[0], crash_rule)
    await store.extend_leases(30_000)
    await store.leases()
    await store.next_due_ms()
    (sent, *_) = await store.take("cli")
    await store.delivered(sent.id)
    await store.fetched(accepted.job_id)
    await store.fetched_messages([sent.message_id])
    await store.notice("cli", "main", "away", "words")
    await store.next_delivery_ms("cli")
    (notice, *_) = await store.take("cli")
    await store.undelivered(notice.id, delay_ms=0, note="later")


async def the_rest(store: SqliteStore) -> None:
    """The ledger, and what is looked at every few seconds or at each start."""
    call = Call(
        uuid7(), 0, "m", "b", "owner", "j", "chat", Usage(), 10, "reserved", 0, 0.0, 0.0, ""
    )
    await store.reserve(call, [Cap("", 100), Cap("chat", 100), Cap("key:k", 100, month=True)])
    await store.record_calls([replace(call, id=uuid7())], [replace(call, id=uuid7())])
    await store.close_open_calls()
    await store.view_spent()
    await store.view_calls(since=10**12)
    await store.unsettled("cli")
    await store.view_outbox()
    await store.view_outbox(state="failed", channel="cli")
    await store.view_counts()
    await store.view_waiting(await store.view_demands())
    await store.view_messages("main", 0, 10)
    await store.view_messages("main", -1, 10)
    for state in ("queued", "running", "waiting", "dead"):
        await store.view_jobs(state=state)


async def test_nothing_is_walked_through(
    store: SqliteStore, seen: set[str], tmp_path: Path
) -> None:
    """Each statement of the everyday finds its rows by an index."""
    await everyday(store)
    await the_rest(store)
    assert len(seen) > 50
    assert walks(tmp_path / "state.db", seen) == []


def tables_made(path: Path, statements: set[str]) -> list[str]:
    """The statements that change a row and make a table each time, which costs as much again."""
    connection = engine.connect(path, readonly=True)
    found = []
    for sql in sorted(statements):
        if not re.match(r"\s*(INSERT|UPDATE)\b", sql) or re.search(r"\b(FROM|RETURNING)\b", sql):
            continue
        explain = f"EXPLAIN {sql}"
        bindings = [None] * apsw.ext.query_info(connection, explain).bindings_count
        if any(row[1] == "OpenEphemeral" for row in connection.execute(explain, bindings)):
            found.append(" ".join(sql.split())[:200])
    connection.close()
    return found


async def test_no_row_costs_a_table(store: SqliteStore, seen: set[str], tmp_path: Path) -> None:
    """SQLite makes a table for ``IN (...)`` with more than two values, also in a CHECK and in the
    condition of an index, and then at each change of a row."""
    await everyday(store)
    assert tables_made(tmp_path / "state.db", seen) == []
