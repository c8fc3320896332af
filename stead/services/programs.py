"""Programs that a service runs: fed, read, bounded, and ended with the request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from stead.core.errors import ServiceMissing, SteadError
from stead.services.kinds import PATH

_PIECE = 65_536


class ProgramMissing(ServiceMissing):
    """{what} needs {program}, which is not installed here.
    Install it with `{command}`; no restart is needed."""

    # The service as such is well: nothing is to be tried again, or kept from it.
    status = 422
    kind = "invalid_request_error"


class ProgramFailed(SteadError):
    """{program} could not do this: {why}"""

    status = 422
    kind = "invalid_request_error"
    code = "not_understood"


def found(program: str, what: str) -> str:
    """Where the program is. Raises ``ProgramMissing``: ``what`` needs it."""
    path = shutil.which(program, path=PATH)
    if path is None:
        installer = "brew" if sys.platform == "darwin" else "apt"
        raise ProgramMissing(what=what, program=program, command=f"{installer} install {program}")
    return path


async def output(
    args: Sequence[str], data: bytes = b"", *, fds: Sequence[int] = (), most: int
) -> bytes:
    """What a program writes when it is fed ``data``; killed when the caller leaves.

    Raises ``ProgramFailed`` with its last words where it fails, or writes more than ``most``.
    """
    process = await _start(args, fds)
    errors = asyncio.ensure_future(_tail(process.stderr))
    feeding = asyncio.ensure_future(_feed(process, data))
    pieces: list[bytes] = []
    size = 0
    try:
        assert process.stdout is not None
        while piece := await process.stdout.read(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise ProgramFailed(program=_name(args), why=f"its answer has over {most} bytes")
        code = await process.wait()
        if code:
            raise ProgramFailed(program=_name(args), why=await errors or f"it ended with {code}")
        return b"".join(pieces)
    finally:
        await _end(process, feeding, errors)


async def piped(args: Sequence[str], source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What a program writes while it is fed, as it comes."""
    process = await _start(args, ())
    errors = asyncio.ensure_future(_tail(process.stderr))

    async def feed() -> None:
        assert process.stdin is not None
        try:
            async for piece in source:
                process.stdin.write(piece)
                await process.stdin.drain()
        finally:
            with contextlib.suppress(OSError, RuntimeError):
                process.stdin.close()

    feeding = asyncio.ensure_future(feed())
    try:
        assert process.stdout is not None
        while piece := await process.stdout.read(_PIECE):
            yield piece
        code = await process.wait()
        if feeding.done():
            feeding.result()
        if code:
            raise ProgramFailed(program=_name(args), why=await errors or f"it ended with {code}")
    finally:
        await _end(process, feeding, errors)


async def _start(args: Sequence[str], fds: Sequence[int]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # One thread: several pages or requests may be under way, and tesseract gains nothing.
        env={"PATH": PATH, "LANG": "C.UTF-8", "OMP_THREAD_LIMIT": "1", "HOME": "/nonexistent"},
        pass_fds=tuple(fds),
    )


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it may end before it has read all
        process.stdin.write(data)
        await process.stdin.drain()
    with contextlib.suppress(OSError, RuntimeError):
        process.stdin.close()


async def _tail(stream: asyncio.StreamReader | None) -> str:
    """The last line of what it has to say."""
    assert stream is not None
    text = b""
    while piece := await stream.read(_PIECE):
        text = (text + piece)[-4000:]
    lines = [line for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


async def _end(process: asyncio.subprocess.Process, *tasks: asyncio.Future[Any]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _name(args: Sequence[str]) -> str:
    return os.path.basename(args[0])
