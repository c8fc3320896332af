"""Files that are handed in with messages: what is known of one, and what a storage keeps of it.

The bytes lie in ``files/`` of the home, by their SHA-256 (:mod:`stead.blobs`); the storage knows
their names, and on which messages they hang. A file that hangs on none goes after a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

View = dict[str, Any]

MOST = 20
"""Files of one message."""

KINDS = ("picture", "sound", "film", "pdf", "text", "other")


@dataclass(frozen=True, slots=True)
class Attached:
    """A file as it was handed in."""

    id: str
    name: str
    """As people know it: no path, nothing that could pass for something else."""
    type: str
    """A media type, by the bytes themselves."""
    kind: str
    """One of ``KINDS``."""
    size: int
    """In bytes."""
    sha256: str
    at: int = 0
    """When it was handed in (ms), on the database's clock."""
    person: str = "owner"
    """Who handed it in (``stead.core.people``): nobody else sends it or is given it."""


class FileStore(Protocol):
    """What is known of files: part of ``Store``. Messages take theirs in ``accept``."""

    async def add_file(self, file: Attached) -> Attached:
        """Know a file whose bytes are on disk; as it is known then. The same id again is it."""
        ...

    async def files(self, ids: Sequence[str]) -> list[Attached]:
        """Those, in that order. Raises ``NotFound`` when one is not known."""
        ...

    async def file_of_job(self, job_id: str, ident: str) -> Attached:
        """A file that hangs on a message of the conversation of a job. Raises ``NotFound``."""
        ...

    async def view_file(self, ident: str) -> View:
        """All of a file, and the ids of the ``messages`` it hangs on. Raises ``NotFound``."""
        ...

    async def view_files(self, before: str, limit: int, person: str = "owner") -> View:
        """``files`` of a person, the newest first, from before an id; ``more``; ``count`` and
        ``bytes`` of all of his."""
        ...

    async def drop_file(self, ident: str) -> None:
        """Know it no more. Raises ``NotFound``, and ``FileInUse`` while it hangs on a message."""
        ...

    async def drop_unused(self, older_ms: int) -> int:
        """Drop those that hang on no message and came so long ago; how many."""
        ...

    async def kept_files(self) -> list[tuple[str, str]]:
        """(id, sha256) of all there are."""
        ...
