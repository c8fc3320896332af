"""What hangs on the messages of a job is brought here: to where tools read it, and to the model.

Files come from the gateway, for the attempt that holds the job. Those of the message itself first;
those of the conversation before it as far as they are few. One that cannot be had is told of, and
ends no job.
"""

from __future__ import annotations

import base64
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from stead.blobs import copies
from stead.blobs.copies import NotCopied
from stead.blobs.pictures import measured
from stead.blobs.sniff import SEEN
from stead.core.attached import Attached
from stead.core.errors import BadRequest, NotFound
from stead.core.nouns import ModelProfile, Turn
from stead.core.ports import Emit
from stead.core.wire import ClaimedJob

log = logging.getLogger(__name__)

Fetch = Callable[[str, int, str], AsyncIterator[bytes]]
"""The bytes of a file, for a job at an epoch."""

_EARLIER = 30
"""Files of the conversation before that are brought; the newest."""
_SHOWN, _SHOWN_EARLIER = 10, 4
"""Pictures that the model is shown: of the message, and of those before."""
_PICTURE = 3_700_000
"""Bytes of one (5 MB as base64, which is what providers take)."""
_PICTURES = 8_000_000
_LARGE = 20_000_000
_CHARS_A_TOKEN = 3


@dataclass(slots=True)
class Brought:
    """What an agent is told of files."""

    text: str
    """The message; of one that is too long its beginning and its end."""
    files: tuple[Attached, ...] = ()
    """Of the message."""
    words: dict[str, str] = field(default_factory=dict)
    """By id: where it lies and what it is."""
    pictures: dict[str, str] = field(default_factory=dict)
    """By id: ``data:`` addresses."""
    made: list[Attached] = field(default_factory=list)
    """For the time of this attempt alone."""


class Bringer:
    """Brings files for one attempt at a job."""

    def __init__(
        self, job: ClaimedJob, fetch: Fetch | None, workspace: Path, profile: ModelProfile,
        emit: Emit,
    ) -> None:  # fmt: skip
        self._job = job
        self._fetch = fetch
        self._workspace = workspace
        self._profile = profile
        self._emit = emit

    async def bring(self, text: str) -> Brought:
        """Everything there is. Raises ``StaleEpoch``, ``GatewayAway``."""
        files = files_of(self._job)
        brought = Brought(text, files)
        earlier = [file for turn in reversed(self._job.history) for file in reversed(turn.files)]
        if files or earlier:
            copies.remove_old(self._workspace)
        for file in files:
            brought.words[file.id] = await self._one(file)
        for file in dict.fromkeys(earlier[:_EARLIER]):
            brought.words.setdefault(file.id, await self._one(file))
        self._show(brought, files, earlier)
        await self._shorten(brought)
        return brought

    async def _one(self, file: Attached) -> str:
        """Have a copy; where it lies and what it is, in words."""
        kind = f"{file.type}, {_size(file.size)}"
        name = f"{file.name} ({kind})"
        if not copies.is_there(self._workspace, file):
            if self._fetch is None:
                return f"{name}, which cannot be had here"
            if file.size > _LARGE:
                self._emit("note", f"fetching {file.name} ({_size(file.size)})")
            try:
                pieces = self._fetch(self._job.id, self._job.epoch, file.id)
                async with contextlib.aclosing(pieces):  # type: ignore[type-var]
                    await copies.put(self._workspace, file, pieces)
            except NotFound:
                return f"{name}, which was removed since"
            except NotCopied as error:
                log.warning("job %s: %s", self._job.id, error.message)
                return f"{name}, which cannot be read here: {error.message}"
        return f"{copies.place_of(file)} ({kind})"

    def _show(
        self, brought: Brought, files: Sequence[Attached], earlier: Sequence[Attached]
    ) -> None:
        """Choose the pictures that the model is shown; what else of them there is, is told."""
        room = _PICTURES
        for these, most in ((files, _SHOWN), (earlier, _SHOWN_EARLIER)):
            for file in [one for one in these if one.kind == "picture"][:most]:
                if file.id in brought.pictures or file.id not in brought.words:
                    continue
                why = self._why_not(file, room)
                data = b"" if why else self._read(file)
                if not why and measured(data) is None:
                    why = "it is broken or cut off"
                if why:
                    brought.words[file.id] += f"; you are not shown it: {why}"
                    continue
                room -= len(data)
                encoded = base64.b64encode(data).decode()
                brought.pictures[file.id] = f"data:{file.type};base64,{encoded}"

    def _why_not(self, file: Attached, room: int) -> str:
        if not self._profile.seeing:
            return "this model sees no pictures"
        if file.type not in SEEN:
            return "pictures of that kind cannot be shown to a model (the tool image converts them)"
        if file.size > min(_PICTURE, room):
            return "it is too large (the tool image makes it smaller)"
        return ""

    def _read(self, file: Attached) -> bytes:
        try:
            return copies.read(self._workspace, file, _PICTURE + 1)
        except OSError:
            return b""

    async def _shorten(self, brought: Brought) -> None:
        """Of a text that would fill more than half of what the model can read, the model is told
        the beginning and the end; all of it lies in a file for as long as the job runs."""
        text = brought.text
        most = max(2000, self._profile.context * _CHARS_A_TOKEN // 2)
        if len(text) <= most:
            return
        data = text.encode("utf-8", "replace")
        file = copies.text_file(self._job.id, data)
        where = "the rest cannot be read here"
        with contextlib.suppress(NotCopied):
            await copies.put(self._workspace, file, _once(data))
            brought.made.append(file)
            where = f"all of it is in {copies.place_of(file)}, which read_file reads in parts"
        note = f"\n[... {len(text)} characters in all; {where} ...]\n"
        keep = most - len(note)
        brought.text = f"{text[: keep * 2 // 3]}{note}{text[len(text) - keep // 3 :]}"

    def end(self, brought: Brought) -> None:
        """The attempt is over."""
        copies.remove(self._workspace, brought.made)


def files_of(job: ClaimedJob) -> tuple[Attached, ...]:
    """What hangs on the message of a job. Raises ``BadRequest``."""
    try:
        return tuple(msgspec.convert(job.payload.get("files") or [], list[Attached]))
    except msgspec.ValidationError as error:
        raise BadRequest(why=f"payload.files of job {job.id}: {error}") from error


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _size(size: int) -> str:
    return f"{size} bytes" if size < 1000 else f"{size / 1e6:.1f} MB" if size >= 1e6 else (
        f"{size / 1e3:.1f} KB"
    )  # fmt: skip


__all__ = ["Bringer", "Brought", "Fetch", "Turn", "files_of"]
