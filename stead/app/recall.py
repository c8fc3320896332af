"""What jobs are shown of memory, as the settings want it; and what is said off the record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from stead.app.audit import Audit
from stead.config import Settings
from stead.core.nouns import ModelProfile
from stead.core.storage import Store
from stead.flow.flow import Flow
from stead.flow.off_record import OffRecord
from stead.gateway.node_service import NodeService
from stead.memory.nouns import Entry, Layer
from stead.memory.recall.asking import Asking
from stead.memory.recall.checks import Checks, Close
from stead.memory.recall.service import Recalls, RecallTerms, Searches
from stead.memory.uses import Uses


def recall_into(
    home: Path, settings: Settings, store: Store, flow: Flow, service: NodeService, audit: Audit,
    profile: Callable[[str], ModelProfile], searches: Searches | None,
) -> OffRecord:  # fmt: skip
    """Have messages looked up while they are recorded, and jobs given what comes of it. What it
    gives back erases what was said off the record."""
    checks = Checks(store, _closing(home))
    recalls = Recalls(store, searches, profile, checks, terms_of(settings))
    recalls.used = Uses(home).note
    flow.recalls = service.recalls = recalls
    service.memory = None if searches is None else Asking(home, searches)
    off = OffRecord(store, int(settings.memory.off_the_record_s * 1000))
    flow.off_record = off
    flow.on_reply(off.nudge)
    audit.bodies.hushed = off.holds
    return off


def _closing(home: Path) -> Close:
    """How what is no longer true gets its end date: in its file, or in the journal of the graph."""

    async def close(entry: Entry, when_ms: int, why: str) -> bool:
        return await asyncio.to_thread(_close, home, entry, when_ms, why)

    return close


def _close(home: Path, entry: Entry, when_ms: int, why: str) -> bool:
    if entry.layer is Layer.FACT:
        from stead.app.graph import graph_of  # late: the gateway holds no graph but for this

        with graph_of(home, by="stead") as graph:
            graph.close_fact(entry.ident, when_ms, why=why)
        return True
    from stead.memory.files import cards  # late: the same

    return cards.close(home, entry, when_ms, why)


def terms_of(settings: Settings) -> RecallTerms:
    given = settings.memory
    return RecallTerms(on=given.recall, within_s=given.recall_ms / 1000)
