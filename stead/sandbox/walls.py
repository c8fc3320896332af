"""Sandboxes on this machine: which kind there is, and what starts processes in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Sequence

from stead.sandbox.box import Box, Ended, Walls
from stead.sandbox.bubblewrap import arguments, environment
from stead.sandbox.errors import NoSandbox

_DEVNULL = asyncio.subprocess.DEVNULL


class BoxedProcess:
    """What runs under one ``bwrap``; it is gone when process 1 of its PID namespace is."""

    def __init__(self, process: asyncio.subprocess.Process, first: int) -> None:
        self._process = process
        self._first = first
        self._ended: Ended | None = None
        self.stdin = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr
        self._killed = False
        self._watch = asyncio.ensure_future(self._until_gone())

    @property
    def ended(self) -> Ended | None:
        return self._ended

    async def wait(self) -> Ended:
        return await asyncio.shield(self._watch)

    async def kill(self) -> Ended:
        if self._ended is None:
            self._killed = True
            if self._first >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._first, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        return await self.wait()

    async def _until_gone(self) -> Ended:
        code = await self._process.wait()
        if self._first >= 0:
            try:
                await _readable(self._first)  # a namespace ends with its first process
            finally:
                os.close(self._first)
        self._ended = Ended(-signal.SIGKILL if self._killed else code)
        return self._ended


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(fd, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(fd)


class Bubblewrap:
    """Walls made by bubblewrap."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._running: set[BoxedProcess] = set()

    @property
    def works(self) -> bool:
        return True

    async def start(
        self,
        box: Box,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> BoxedProcess:
        options = arguments(box, uid=os.getuid() or 65534, gid=os.getgid() or 65534)
        read, write = os.pipe()
        given = os.memfd_create("bwrap", 0)
        try:
            os.write(given, b"".join(os.fsencode(word) + b"\0" for word in options))
            os.lseek(given, 0, os.SEEK_SET)
            process = await asyncio.create_subprocess_exec(
                self._program, "--args", str(given), "--info-fd", str(write),
                "--", *command,
                stdin=_DEVNULL if stdin is None else stdin,
                stdout=_DEVNULL if stdout is None else stdout,
                stderr=_DEVNULL if stderr is None else stderr,
                pass_fds=(given, write, *pass_fds),
                env=environment(box),
            )  # fmt: skip
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
            os.close(given)
        try:
            first = await _first_process(read)
        finally:
            os.close(read)
        boxed = BoxedProcess(process, first)
        self._running.add(boxed)
        boxed._watch.add_done_callback(lambda _: self._running.discard(boxed))
        return boxed

    async def aclose(self) -> None:
        for boxed in list(self._running):
            await boxed.kill()


async def _first_process(status: int) -> int:
    """A descriptor of process 1 inside, from what bubblewrap tells; -1 if it never came to be."""
    told = b""
    while True:
        await _readable(status)
        more = os.read(status, 4096)
        told += more
        if not more:
            break
    with contextlib.suppress(ValueError, KeyError, ProcessLookupError):
        return os.pidfd_open(int(json.loads(told)["child-pid"]))
    return -1


class NoWalls:
    """No sandbox can be had: whatever has effects is refused."""

    def __init__(self, why: str) -> None:
        self.why = why

    @property
    def works(self) -> bool:
        return False

    async def start(
        self,
        box: Box,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> BoxedProcess:
        raise NoSandbox(why=self.why)

    async def aclose(self) -> None:
        pass


def walls_here() -> Walls:
    """The walls of this machine."""
    program = shutil.which("bwrap")
    if program is None:
        return NoWalls("bubblewrap is missing: apt install bubblewrap, or dnf install bubblewrap")
    return Bubblewrap(program)
