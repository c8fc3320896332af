"""The contract of a storage: what is too late."""

from __future__ import annotations

from stead.core.states import JobState
from stead.core.storage import Store
from tests.contract.storages import (
    chat,
    claim,
    claimed,
    crash_rule,
    finish,
    inbound,
    now_of,
    trouble,
    until,
)


async def test_one_that_failed_and_is_too_late_ends_once(store: Store) -> None:
    """A job that had failed before its deadline passed ends once, and for that reason, also when a
    claim has come upon it before."""
    now = await now_of(store)
    accepted = await store.accept(inbound(), chat(max_tries=5, deadline_at=now + 300), "")
    await finish(store, await claimed(store), "failed", trouble=trouble("broken"))
    await until(store, now + 300)
    assert await claim(store) is None
    (ended,) = await store.reap(crash_rule)
    assert (ended.job.id, ended.state) == (accepted.job_id, JobState.DEAD)
    assert (ended.job.error, len(await store.take("cli"))) == ("deadline", 1)
    assert await store.reap(crash_rule) == []
