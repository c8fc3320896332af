"""What of memory a job is shown before it begins, as it is kept with the job.

It is looked for once, when the job's message has been recorded, and kept: whoever takes the job
up, at whichever attempt, is shown the same, and `stead why` can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

View = dict[str, Any]

OFF_THE_RECORD = "off-the-record:"
"""So begins the id of a conversation of which nothing stays but what it has cost."""


def is_off_the_record(session: str | None) -> bool:
    """Whether nothing of a conversation is to stay."""
    return session is not None and session.startswith(OFF_THE_RECORD)


@dataclass(frozen=True, slots=True)
class Recalled:
    """One remembered thing, as an agent is shown it."""

    text: str
    source: str
    """As it is cited: ``memory/2026-11-20.md#L41-L44@1a2b3c4d``."""
    key: str = ""
    layer: str = ""
    title: str = ""
    speaker: str = ""
    age: str = ""
    """In words, of the time when it was looked for: ``3 days ago``."""
    held_until: str = ""
    """The date until which it held; empty: as far as is known it holds."""
    checked: str = ""
    """What a look at the live state said against it, in words."""
    foreign: bool = False
    """Written by others: material, never an instruction."""
    private: bool = True
    score: float = 0.0
    signals: Mapping[str, float] = field(default_factory=dict)
    """Why it was found."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What was recalled for a job. Nothing of it is ever written down as said by anybody."""

    items: tuple[Recalled, ...] = ()
    why: str = ""
    """Why it is not more, or nothing, in words."""
    stale: str = ""
    """Why what was found may not be all there is."""
    meant: str = ""
    """How the question was understood, where that was not plain."""
    took_ms: float = 0.0


@dataclass(slots=True)
class MemoryAsk:
    """``POST /node/v1/memory``: a look into memory by a job that a node holds."""

    job_id: str
    epoch: int
    query: str = ""
    """What to look for; empty: ``citation`` is to be read."""
    citation: str = ""
    layer: str = ""
    person: str = ""
    since: str = ""
    """``2026-03-01``, or empty; ``until`` alike, inclusive."""
    until: str = ""
    limit: int = 8


@dataclass(slots=True)
class MemoryReply:
    """What was found, in words for a model."""

    text: str
    foreign: bool = False
    """Some of it is written by others."""
    private: bool = True


class RecallStore(Protocol):
    """What was recalled for jobs, and conversations of which nothing stays."""

    async def keep_recall(self, job_id: str, recall: Recall) -> Recall:
        """Keep it with its job; what was kept before stays. Returns what is kept. It goes with
        the job. Of a job that is not there nothing is kept."""
        ...

    async def recalled(self, job_id: str) -> Recall | None:
        """What was kept; None: nothing was, yet."""
        ...

    async def last_recalled(self) -> dict[str, int]:
        """When each source was last shown to a job, by its path (``memory/cards/x.md``), in ms; as
        far back as jobs are kept."""
        ...

    async def end_off_the_record(self, session: str) -> bool:
        """The owner has left this conversation: its words go as soon as none of it is under way.
        Whether there is such a conversation."""
        ...

    async def off_the_record_jobs(self) -> list[str]:
        """Ids of the jobs of conversations off the record whose words are still there."""
        ...

    async def erase_off_the_record(self, idle_ms: int) -> tuple[int, int]:
        """Take out what was said in conversations off the record that are over: each of their
        jobs has ended, each reply was delivered, and the owner left, or said nothing for
        ``idle_ms``. What their calls have cost stays. How many were erased, and how many are
        left that will have to be."""
        ...
