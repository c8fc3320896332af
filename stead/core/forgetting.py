"""What the rooms ask of a storage when words are to be forgotten: part of ``Store``.

That something was said stays (who, when, by which way, what it cost), so that nothing is answered
twice; the words go, and no byte of them is left behind in free space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are meant: those named, those of a span of time, those whose words match."""

    idents: tuple[str, ...] = ()
    """Ids of messages or jobs, or the ends of ids (six characters at least)."""
    since: int = 0
    until: int = 0
    """Messages recorded at or after the one and before the other (ms); 0 and 0: no span."""
    session: str = ""
    """Of the span: only this conversation."""
    matches: Callable[[str], bool] | None = None
    """Whether a text is meant. Called from another thread."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message that is to go."""

    id: str
    at: int
    channel: str
    session: str
    role: str
    job_id: str
    text: str


@dataclass(slots=True)
class Traces:
    """Where in the storage words lie that are meant. Whole jobs: a message, what was done for it
    and what was answered belong together."""

    jobs: dict[str, str] = field(default_factory=dict)
    """Job id -> its state; empty for one whose row was pruned."""
    messages: list[Said] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    """Ids of the model calls of these jobs."""
    texts: list[str] = field(default_factory=list)
    """Other words that these jobs were given, by which copies can be recognized."""
    lines: list[int] = field(default_factory=list)
    """Lines on their way into the daily log that belong to none of these jobs."""
    rows: list[tuple[str, str]] = field(default_factory=list)
    """(table, job id): errors, notes and recalled copies that say it in other jobs."""
    elsewhere: list[str] = field(default_factory=list)
    """Rows that match and cannot be blanked (``table.column of ID``), in words."""


class ForgetStore(Protocol):
    """Forgetting, by the owner's word alone."""

    async def forget_find(self, wanted: Wanted) -> Traces:
        """What is meant. Changes nothing. Raises ``NotFound``, ``BadRequest`` (several)."""
        ...

    async def forget(
        self,
        jobs: Sequence[str],
        messages: Sequence[str] = (),
        lines: Sequence[int] = (),
        rows: Sequence[tuple[str, str]] = (),
    ) -> dict[str, int]:
        """Blank the words of these in every table; rows blanked, by table.

        Of jobs with all that belongs to them, of single messages, of lines on their way into the
        daily log, of ``rows`` (``Traces.rows``) what stands beside in jobs that stay. Identities,
        times, states, counts and costs stay. What a job still has to deliver is dropped. A
        forgotten job cannot be queued again, and what a node reports of it later is not kept. Again
        is the same as once. One transaction, freed bytes overwritten.
        Raises ``WrongState`` for a job that is not over, ``NotSettled`` while a reply is being
        sent; nothing is changed then.
        """
        ...

    async def forget_clean(self, *, rewrite: bool = False) -> bool:
        """Empty the log of writes; with ``rewrite`` first write the whole storage anew, so that no
        byte of what was there before is left. Others wait meanwhile. False: somebody reads for
        so long that the log could not be emptied; try again later."""
        ...
