"""What the rooms ask of a storage about questions to the owner and his lasting grants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stead.core.nouns import Job
from stead.core.permits import PermitRule

View = dict[str, Any]

OPEN, ANSWERED, EXPIRED, VOID = "open", "answered", "expired", "void"
"""The states of a question. ``void``: its job was ended, or asks something else now."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A question that is over, and its job, which is queued again."""

    approval: View
    job: Job


class ApprovalStore(Protocol):
    """Questions about calls (``stead.core.permits.Approval``), made by the report that lets the
    job wait (``JobStore.finish``), and what was granted for ever.

    ::

        open -> answered | expired     its job goes on with the answer (payload ``answered``)
        open -> void                   its job was cancelled, or is past its deadline
    """

    async def decide(self, ident: str, word: str, *, text: str = "", by: str = "owner") -> Decided:
        """The owner's word: one of what the question offers, or (``answer``) the ``text`` that
        answers a question of the agent's own. ``always`` makes a grant.

        ``ident``: the question's id or its job's, or a piece of at least 6 characters. Raises
        ``NotFound``, ``BadRequest``, ``AlreadyAnswered``.
        """
        ...

    async def expire_approvals(self) -> list[Decided]:
        """End the questions whose time is over; their jobs go on with that."""
        ...

    async def next_expiry_ms(self) -> int | None:
        """Milliseconds until the next open question is too late (0: now); None: there is none."""
        ...

    async def view_approvals(
        self, *, state: str = OPEN, limit: int = 50, before: str = "",
        jobs: Sequence[str] | None = None,
    ) -> View:  # fmt: skip
        """``approvals``, the newest first, and whether there are ``more``; ``state`` empty: all.

        ``before``: the id of the last one seen; ``jobs``: only of these jobs. ``open``: how many
        wait for an answer in all.
        """
        ...

    async def view_approval(self, ident: str) -> View:
        """One question. Raises ``NotFound``, ``BadRequest``."""
        ...

    async def grants(self) -> list[PermitRule]:
        """What the owner allowed for ever and has not taken back, as rules."""
        ...

    async def view_grants(
        self, *, revoked: bool = False, limit: int = 500, before: str = ""
    ) -> View:
        """``grants``, the newest first, and whether there are ``more`` before the last one;
        ``revoked``: those taken back too."""
        ...

    async def view_grant(self, ident: str) -> View:
        """One of them, by its whole id. Raises ``NotFound``."""
        ...

    async def revoke_grant(self, ident: str) -> View:
        """Take one back: its id or a piece of it. Raises ``NotFound``, ``BadRequest``."""
        ...
