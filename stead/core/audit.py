"""What the rooms ask of a storage in matters of money and of what was asked: part of ``Store``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from stead.core.nouns import Call, Cap


class LedgerStore(Protocol):
    """Money and model calls (invariant 7), each request a row of the audit."""

    async def reserve(self, call: Call, caps: Sequence[Cap]) -> Cap | None:
        """Write a reserved call; where that would pass a cap, write nothing and return the cap."""
        ...

    async def record_calls(self, opened: Sequence[Call], ended: Sequence[Call]) -> None:
        """Write many rows in one go: of calls that are under way, and of calls that are over.

        An end needs no beginning: who is done before he was written is one row. Where there is
        one, what the end tells replaces it, but for when it came and what was set aside; of a
        call that is over already nothing is changed. The sums of the days move along. The calls
        may be changed as soon as this was called. A row that cannot be written holds up no other.
        """
        ...

    async def view_spent(self) -> dict[str, tuple[int, int]]:
        """Micro-dollars spent and set aside by scope (see ``Cap``): today and this month (UTC)."""
        ...

    async def close_open_calls(self) -> int:
        """After a crash: calls still ``reserved`` become ``unknown`` at what was reserved."""
        ...

    async def view_calls(self, **filters: Any) -> dict[str, Any]:
        """``calls``, the newest first, and whether there are ``more``: by ``key`` (its name or
        id), ``lane``, ``model``, ``backend``, ``api``, ``status`` (429, 4xx), ``outcome`` (also
        ``error``: any that is no good end), ``since`` and ``until`` (ms), ``slow_ms``,
        ``cost_over`` (micro-dollars), ``job``, ``ended_after`` (ms), ``before`` (an id), ``limit``.
        Raises ``BadRequest``, ``NotFound`` (of a job)."""
        ...

    async def view_call(self, ident: str) -> dict[str, Any]:
        """One call by its id or a piece of it, with its ``shadows``. Raises ``NotFound``,
        ``BadRequest``."""
        ...

    async def view_call_sums(self, **filters: Any) -> dict[str, Any]:
        """``sums`` of calls, tokens and money, pruned ones included: ``by`` model, backend, lane,
        key, share, day, month or session (empty: of no job, or of one that was pruned); of
        ``since`` to ``until`` (ms), ``key``, ``lane``, ``model``, ``backend``. Raises
        ``BadRequest``."""
        ...
