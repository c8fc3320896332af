"""Files as they are handed in: taken, found again, given up. Whatever the way in: the owner's API,
an OpenAI client, a channel."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from stead.blobs.blobs import Blobs
from stead.blobs.names import cleaned
from stead.blobs.sniff import ENDINGS, sniffed
from stead.core.attached import MOST, Attached, FileStore
from stead.core.errors import BadRequest, NotFound
from stead.core.ids import uuid7
from stead.core.people import OWNER

log = logging.getLogger(__name__)


class Handed:
    """The files of a house. ``swept`` is told the ids of all that are left after a tidying."""

    def __init__(self, store: FileStore, blobs: Blobs, unused_ms: Callable[[], int]) -> None:
        self._store = store
        self.blobs = blobs
        self._unused_ms = unused_ms
        self.swept: list[Callable[[Sequence[str]], None]] = []

    async def take(
        self, pieces: AsyncIterator[bytes], name: str, size: int = 0, person: str = OWNER
    ) -> Attached:
        """Keep a file of a person; it stays for good once it hangs on a message. ``size``: of what
        is said to come. Raises ``FileTooLarge``, ``NoRoom``, and what the pieces raise."""
        async with self.blobs.take(pieces, size) as taken:
            kind, what = sniffed(taken.head)
            file = Attached(
                uuid7(), cleaned(name, ENDINGS.get(kind, "")), kind, what, taken.size,
                taken.sha256, person=person,
            )  # fmt: skip
            return await self._store.add_file(file)

    async def take_bytes(self, data: bytes, name: str, person: str = OWNER) -> Attached:
        """The same, of what is in memory already."""

        async def one() -> AsyncIterator[bytes]:
            yield data

        return await self.take(one(), name, len(data), person)

    async def one(self, ident: str, person: str = OWNER) -> Attached:
        """A file of a person. Raises ``NotFound``, also for one that is another's."""
        (file,) = await self._store.files([ident])
        if file.person != person:
            raise NotFound(what=f"file {ident!r}")
        return file

    async def given(self, ids: Sequence[str], person: str = OWNER) -> tuple[Attached, ...]:
        """Those that a message of a person names. Raises ``NotFound``, ``BadRequest``."""
        if len(ids) > MOST:
            raise BadRequest(f"A message may have at most {MOST} files.", param="files")
        if len({*ids}) < len(ids):
            raise BadRequest("A file is named twice.", param="files")
        return tuple([await self.one(ident, person) for ident in ids])

    def path(self, file: Attached) -> Path:
        """Where its bytes lie. Raises ``NotFound``."""
        try:
            return self.blobs.path(file.sha256)
        except NotFound as error:
            raise NotFound(what=f"content of {file.name!r} any more in files/") from error

    async def drop(self, ident: str, person: str = OWNER) -> None:
        """Give one up that hangs on no message. Raises ``NotFound``, ``FileInUse``."""
        await self.one(ident, person)
        await self._store.drop_file(ident)
        await self.sweep()

    async def tidy(self) -> int:
        """Give up what nobody sent in time, and remove bytes that nothing names; how many."""
        await self._store.drop_unused(self._unused_ms())
        return await self.sweep()

    async def sweep(self) -> int:
        """Remove bytes that nothing names."""
        left: list[str] = []

        async def named() -> list[str]:
            kept = await self._store.kept_files()
            left.extend(ident for ident, _ in kept)
            return [sha for _, sha in kept]

        many = await self.blobs.sweep(named)
        for tell in self.swept:
            with contextlib.suppress(OSError):
                tell(left)
        if many:
            log.info("removed %d file(s) that nothing names", many)
        return many
