"""Memory, as the settings want it: the gateway's client of the index, and the index by itself where
no gateway runs."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from stead.config import Settings
from stead.core.errors import NotFound
from stead.gateway.memory_routes import shown
from stead.memory.client import Memory
from stead.memory.index import Index, Progress
from stead.memory.nouns import Layer, Question
from stead.memory.wire import EmbedAt
from stead.services.supervisor import Services

_SERVICE = "embed"


def memory_of(home: Path, settings: Settings, light: Services) -> Memory:
    """What the gateway searches with. No process runs before something is asked."""
    given = settings.memory
    return Memory(
        home,
        idle_s=given.idle_s,
        look_s=given.look_s,
        embedding=_embedding(light) if given.meaning else None,
    )


def _embedding(light: Services) -> Callable[[bool], Awaitable[EmbedAt | None]]:
    async def embedding(start: bool) -> EmbedAt | None:
        try:
            if not start and light.state(_SERVICE).phase != "ready":
                return None
            if not light.gives(_SERVICE):
                return None
        except NotFound:
            return None
        at = await light.backend(_SERVICE)
        return EmbedAt(at.url, at.key, at.model)

    return embedding


# --- with no gateway ---------------------------------------------------------------------------


def search(home: Path, *, layers: tuple[str, ...] = (), **filters: Any) -> dict[str, Any]:
    """As ``/api/v1/memory/search`` answers, but for meanings: nothing computes them here."""
    given = {name: value for name, value in filters.items() if value is not None}
    question = Question(layers=frozenset(map(Layer, layers)), **given)
    with _index(home) as index:
        index.refresh()
        return shown(index.search(question))


def reindex(home: Path, progress: Progress) -> dict[str, Any]:
    """Its report, as ``/api/v1/memory/reindex`` has it."""
    with _index(home) as index:
        report: dict[str, Any] = msgspec.to_builtins(index.rebuild(progress))
        return report


def stats(home: Path) -> dict[str, Any]:
    with _index(home) as index:
        index.refresh()
        return index.stats()


@contextlib.contextmanager
def _index(home: Path) -> Iterator[Index]:
    # late: the gateway, which imports this file, leaves the index to a process of its own
    from stead.memory.index.sqlite import SqliteIndex
    from stead.memory.places import sources_of

    index = SqliteIndex(home, sources_of(home))
    try:
        yield index
    finally:
        index.close()
