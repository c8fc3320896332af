"""Where the processes of tools are born: bare, or inside a sandbox; at what priority."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stead.sandbox.box import Box, Ended, Walls
from stead.sandbox.errors import NoSandbox
from stead.sandbox.view import interpreter, readable, writable

_SLOW_S = 2.0
"""A process that a nursery was told to end is gone by then, or the nursery ends with it."""
_END_S = 10.0
"""A nursery on a busy machine may say as late as that how a process ended: to free gigabytes takes
its time."""


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of nursery."""

    low: bool
    box: Box | None = None

    @property
    def key(self) -> str:
        """The same for all calls that may share one. Those that may reach the network share it only
        within a job: its log of connections names the job."""
        if self.box is None:
            return f"bare {self.low}"
        return repr(replace(self.box, job=self.box.job if self.box.hosts else "", low=self.low))

    @classmethod
    def of(cls, low: bool, box: Box | None) -> Place:
        """Processor and wall time are limited for each call, not for the nursery."""
        if box is None:
            return cls(low)
        bounds = replace(box.bounds, cpu_s=0, wall_s=0)
        return cls(low, replace(box, bounds=bounds, low=low))


class Nursery:
    """The process that forks those in which tools run, all of one place.

    One for all of them, so that they are one session: Linux shares the processor out by session.
    """

    def __init__(
        self,
        control: socket.socket,
        boxed: bool,
        end: Callable[[], Awaitable[object]],
        over: Callable[[], Awaitable[Ended]] | None = None,
    ) -> None:
        self.boxed = boxed
        self._over = over
        self._control = control
        self._end = end
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._listening = asyncio.ensure_future(self._listen())
        self._watching: set[asyncio.Future[None]] = set()

    @classmethod
    async def start(cls, registry: str, place: Place, walls: Walls | None) -> Nursery:
        """Raises ``OSError``, and of a sandbox ``SteadError``."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        priority = "low" if place.low else "normal"
        words = [sys.executable, "-m", "stead.agent.child", registry]
        try:
            if place.box is None:
                made = await cls._bare(ours, theirs, [*words, str(os.getpid()), priority])
            else:
                made = await cls._boxed(ours, theirs, [*words, "1", priority], place.box, walls)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return made

    @classmethod
    async def _bare(cls, ours: socket.socket, theirs: socket.socket, words: list[str]) -> Nursery:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=theirs.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )

        async def end() -> None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()

        return cls(ours, False, end)

    @classmethod
    async def _boxed(
        cls,
        ours: socket.socket,
        theirs: socket.socket,
        words: list[str],
        box: Box,
        walls: Walls | None,
    ) -> Nursery:
        if walls is None:
            raise NoSandbox(why="this process has no walls")
        needed = {"PYTHONPATH": _python_path(), "PYTHONDONTWRITEBYTECODE": "1"}
        whole = replace(
            box, mounts=(*interpreter(), *box.mounts), env={**needed, **box.env}, cwd=None
        )
        told = {"read": readable(whole), "write": writable(whole), "tcp": bool(box.hosts)}
        boxed = await walls.start(whole, [*words, json.dumps(told)], stdin=theirs.fileno())
        return cls(ours, True, boxed.kill, boxed.wait)

    async def why(self) -> str:
        """Which limit of its sandbox has ended it; empty if none has, or it lives."""
        if self._over is None or self.alive:
            return ""
        # Its socket closes before the keeper of sandboxes says how that came about.
        try:
            async with asyncio.timeout(_END_S):
                return (await self._over()).why
        except TimeoutError:
            return ""

    @property
    def alive(self) -> bool:
        return not self._listening.done()

    async def fork(self) -> tuple[int, socket.socket]:
        """A process and the socket by which it takes calls.

        Raises ``OSError`` or ``EOFError`` when it is gone."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            socket.send_fds(self._control, [b"f"], [theirs.fileno()])
            theirs.close()
            told = b""
            while not told.endswith(b"\n"):
                more = await asyncio.get_running_loop().sock_recv(ours, 1)
                if not more:
                    raise EOFError
                told += more
        except BaseException:
            ours.close()  # and so it ends, whenever it comes to be
            raise
        finally:
            theirs.close()
        pid = int(told)
        self._ends[pid] = asyncio.get_running_loop().create_future()
        return pid, ours

    def kill(self, pid: int) -> None:
        """End a process and all it has started."""
        if self.how(pid) is not None or not self.alive:
            return  # the number may be another's by now
        if not self.boxed:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            return
        # Only inside is it known by this number. Whoever runs there may stop the nursery too: what
        # is not gone in time ends with the whole sandbox.
        with contextlib.suppress(OSError):
            self._control.send(b"k%10d" % pid)
        end = self._ends.get(pid)
        if end is not None:
            watching = asyncio.ensure_future(self._see_it_end(end))
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)

    async def _see_it_end(self, end: asyncio.Future[int]) -> None:
        await asyncio.wait((end, self._listening), timeout=_SLOW_S, return_when=FIRST_COMPLETED)
        if not end.done():
            await self.end()

    async def end_of(self, pid: int) -> int | None:
        """How a process ended: its code, or minus the signal; None if that cannot be said."""
        end = self._ends.get(pid)
        if end is None:
            return None
        await asyncio.wait((end, self._listening), timeout=_END_S, return_when=FIRST_COMPLETED)
        return end.result() if end.done() else None

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_connection(sock=self._control.dup())
        try:
            while line := await reader.readline():
                pid, code = map(int, line.split())
                end = self._ends.get(pid)
                if end is not None and not end.done():
                    end.set_result(code)
        finally:
            writer.close()

    def how(self, pid: int) -> int | None:
        """The same, if it is known by now."""
        end = self._ends.get(pid)
        return end.result() if end is not None and end.done() else None

    def forget(self, pid: int) -> None:
        self._ends.pop(pid, None)

    async def end(self) -> None:
        self._control.close()
        self._listening.cancel()
        await self._end()


def _environment() -> dict[str, str]:
    """Made from nothing, so that no secret of the node's own can be in it (invariant 9)."""
    return {
        "PATH": os.defpath,
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": _python_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _python_path() -> str:
    return os.pathsep.join(path for path in sys.path if path)
