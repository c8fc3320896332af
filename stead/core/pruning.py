"""What the rooms ask of a storage where detail is no longer wanted: part of ``Store``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stead.core.states import JobState

View = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PruneRule:
    """Which jobs are no longer wanted in detail: those that ended so, so long ago."""

    states: tuple[JobState, ...]
    older_ms: int
    words: str
    """The rule as the owner reads it in `stead why`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch of pruning did."""

    many: int
    """Rows pruned (jobs, calls, messages or pages)."""
    after: str
    """Where the next batch goes on; empty: there is nothing more."""
    took_ms: float
    """How long the storage was kept from other writes."""


class PruneStore(Protocol):
    """Retention: what is over goes in small batches, between which others write.

    A pruned job is still known by its id and its idempotency key, and a message by its
    identity: what comes again is not done again.
    """

    async def prune_begin(self, words: str) -> int:
        """Note that a rule is being applied; the number for :meth:`prune_jobs`."""
        ...

    async def prune_jobs(self, rule: PruneRule, pruning: int, after: str, most: int) -> Batch: ...

    async def prune_calls(self, older_ms: int, most: int) -> Batch:
        """Calls of the ledger; the sums of their days stay."""
        ...

    async def prune_notices(self, older_ms: int, after: str, most: int) -> Batch:
        """Deliveries that belong to no job and are over."""
        ...

    async def prune_messages(self, before: int, after: str, most: int) -> Batch:
        """The words of messages from before a time (ms); only when the owner says so."""
        ...

    async def prune_plan(
        self, rules: Sequence[PruneRule], calls_ms: int, before: int | None
    ) -> View:
        """What these would prune now: ``jobs`` by rule, ``calls``, ``messages``."""
        ...

    async def view_call_days(self) -> list[View]:
        """The sums of calls that were pruned, by day, caller, lane, share, model and backend."""
        ...

    async def size(self) -> View:
        """Bytes ``used``, ``free`` within the database, and of its ``log`` of writes."""
        ...

    async def give_back(self, most: int) -> Batch:
        """Return some free space to the disk (``most`` pages)."""
        ...

    async def trim(self) -> None:
        """Shorten the log of writes as far as that keeps nobody waiting."""
        ...
