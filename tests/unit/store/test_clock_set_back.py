"""A clock that was set back while nothing ran."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stead.core import ids
from stead.core.nouns import Inbound, NewJob
from stead.store.sqlite import SqliteStore


async def test_messages_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said after a start sorts behind what was said before it, whatever the clock says:
    a conversation is worked off in the order of saying."""

    async def say(store: SqliteStore, name: str) -> str:
        message = Inbound("cli", name, f"say {name}", session="s")
        job = NewJob("chat", {}, conc_key="session:s")
        return (await store.accept(message, job, "")).job_id

    real = time.time_ns
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3_600_000_000_000)
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    first = await say(store, "first")
    store.close()
    monkeypatch.setattr(ids, "_last", 0)  # as in a process that has just started
    monkeypatch.setattr(time, "time_ns", real)
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    try:
        second = await say(store, "second")
        assert first < second
        granted = await store.claim(
            request_id="r", node_id="n", boot="b", lanes=["chat"], labels=[], lease_ms=1000
        )
        assert granted is not None and granted.job.id == first
    finally:
        store.close()


@pytest.mark.parametrize("ident", ["", "None", "node-1", "f" * 32, "7" * 40])
def test_what_is_no_id_changes_nothing(ident: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged row does not push the ids that follow into a far future."""
    monkeypatch.setattr(ids, "_last", 5)
    ids.go_on_after(ident)
    assert ids._last == 5
