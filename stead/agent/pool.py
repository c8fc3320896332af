"""Processes in which tools run, so that none can hold up the node or the owner's chat.

A tool that computes in a thread of the node would hold the interpreter's lock against every
token on its way. In a process of its own it cannot; it can be killed at its time limit, and
what it does to itself (out of memory, a fault in a library) is a failure of that call alone.

Processes start at the first use, work on one call at a time, and end when nothing was asked
of them for a while. Those for background work have the lowest priority there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio import FIRST_COMPLETED
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import msgspec

#: Where a process finds the tools: ``module:name`` of an iterable of them.
REGISTRY = "stead.agent.tools:TOOLS"

_MOST_ANSWER = 64_000_000
"""Bytes of one answer line."""

PATIENCE = 5
"""At the lowest priority a tool may take so many times its time limit: it may have to wait."""


class Asked(msgspec.Struct, array_like=True):
    """A call, as it goes to a process."""

    tool: str
    args: str
    """JSON text."""
    workspace: str
    limit: int
    seconds: float
    """After which the tool itself should come to an end."""
    most_s: float
    """After which it is killed."""


class Answer(msgspec.Struct, array_like=True):
    """What became of a call."""

    text: str
    ok: bool = True
    whole: bool = True
    """Whether the tool came to its own end."""


class _Nursery:
    """The process that forks those in which tools run, all of one priority.

    One for all of them, so that they are one session: Linux shares the processor out by session.
    """

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self.process = process
        self._control = control
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, registry: str, low: bool) -> _Nursery:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "stead.agent.child",
                registry, str(os.getpid()), "low" if low else "normal",
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, ours)

    @property
    def alive(self) -> bool:
        return not self._listening.done()

    async def fork(self) -> _Child:
        """Raises ``OSError`` or ``EOFError`` when it is gone."""
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [b"f"], [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_MOST_ANSWER)
        try:
            pid = int(await reader.readuntil(b"\n"))
        except BaseException:
            writer.close()  # and so it ends, whenever it comes to be
            raise
        self._ends[pid] = asyncio.get_running_loop().create_future()
        return _Child(pid, reader, writer, self)

    async def end_of(self, pid: int) -> int | None:
        """How a process ended: its code, or minus the signal; None if that cannot be said."""
        end = self._ends.get(pid)
        if end is None:
            return None
        await asyncio.wait((end, self._listening), timeout=2.0, return_when=FIRST_COMPLETED)
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
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()


@dataclass(eq=False)
class _Child:
    """A process in which tools run, one call at a time."""

    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    nursery: _Nursery
    closing: asyncio.TimerHandle | None = None

    async def ask(self, asked: Asked) -> Answer:
        self.writer.write(msgspec.json.encode(asked) + b"\n")
        await self.writer.drain()
        return msgspec.json.decode(await self.reader.readuntil(b"\n"), type=Answer)


class Pool:
    """Runs tools by their name in processes; ``most`` at once of those in the background.

    ``idle_s``: how long a process that has nothing to do is kept.
    """

    def __init__(self, *, most: int = 8, idle_s: float = 20.0, registry: str = REGISTRY) -> None:
        self._registry = registry
        self._tools: tuple[object, ...] | None = None
        self._idle_s = idle_s
        self._room = asyncio.Semaphore(max(1, most))
        self._idle: dict[bool, list[_Child]] = {True: [], False: []}
        self._all: dict[_Child, bool] = {}
        self._nurseries: dict[bool, asyncio.Future[_Nursery]] = {}
        self._endings: set[asyncio.Future[None]] = set()

    def has(self, tool: object) -> bool:
        """Whether a process would find this very tool, and not another of its name or none."""
        if self._tools is None:
            module, _, name = self._registry.partition(":")
            self._tools = tuple(getattr(import_module(module), name))
        return any(one is tool for one in self._tools)

    @property
    def processes(self) -> list[int]:
        """The ids of the processes in which tools run now, or may soon."""
        return [child.pid for child in self._all]

    async def call(
        self, tool: str, args: str, workspace: Path, *, limit: int, seconds: float, low: bool
    ) -> Answer:
        """Run a tool; ``args`` is JSON, ``low`` whether it is background work.

        Never raises for what a tool does. Cancelled, it kills the tool. Raises ``OSError``
        when no process can be started.
        """
        if not low:
            return await self._call(tool, args, workspace, limit, seconds, low)
        async with self._room:
            return await self._call(tool, args, workspace, limit, seconds, low)

    async def _call(
        self, tool: str, args: str, workspace: Path, limit: int, seconds: float, low: bool
    ) -> Answer:
        most_s = seconds * PATIENCE if low else seconds
        asked = Asked(tool, args, str(workspace), limit, seconds, most_s)
        try:
            child = await self._take(low)
        except EOFError as gone:
            raise OSError("the process that starts them is gone") from gone
        whole = False
        try:
            async with asyncio.timeout(most_s):
                answer = await child.ask(asked)
        except TimeoutError:
            return Answer(f"gave up after {most_s:g} s", ok=False, whole=False)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            return Answer(await self._how_it_died(child), ok=False, whole=False)
        else:
            whole = True
            self._put_back(child, low)
            return answer
        finally:
            if not whole:  # also when the job was cancelled
                self._kill(child)

    async def aclose(self) -> None:
        """End all processes."""
        for child in list(self._all):
            self._kill(child)
        for low in list(self._nurseries):
            self._end_nursery(low)
        if self._endings:
            await asyncio.wait(self._endings, timeout=5.0)

    # --- the life of a process ----------------------------------------------------

    async def _take(self, low: bool) -> _Child:
        while self._idle[low]:
            child = self._idle[low].pop()
            if child.closing is not None:
                child.closing.cancel()
            if not child.reader.at_eof() and child.nursery.alive:
                return child
            self._kill(child)
        try:
            nursery = await self._nursery(low)
            child = await nursery.fork()
        except BaseException:  # also when the job was cancelled meanwhile
            asyncio.get_running_loop().call_later(self._idle_s, self._end_unused, low)
            raise
        self._all[child] = low
        return child

    async def _nursery(self, low: bool) -> _Nursery:
        starting = self._nurseries.get(low)
        fell = starting is not None and starting.done() and not _alive(starting)
        if fell:
            self._end_nursery(low)
            starting = None
        if starting is None:
            starting = asyncio.ensure_future(_Nursery.start(self._registry, low))
            self._nurseries[low] = starting
        # Many may wait for it: one that is cancelled takes it from nobody.
        return await asyncio.shield(starting)

    def _end_nursery(self, low: bool) -> None:
        async def end() -> None:
            with contextlib.suppress(OSError):
                await (await starting).end()

        starting = self._nurseries.pop(low)
        self._later(asyncio.ensure_future(end()))

    def _later(self, ending: asyncio.Future[None]) -> None:
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _put_back(self, child: _Child, low: bool) -> None:
        self._idle[low].append(child)
        loop = asyncio.get_running_loop()
        child.closing = loop.call_later(self._idle_s, self._end_idle, child, low)

    def _end_idle(self, child: _Child, low: bool) -> None:
        self._kill(child)
        self._end_unused(low)

    def _end_unused(self, low: bool) -> None:
        """End a nursery whose processes have all ended."""
        if low not in self._all.values() and low in self._nurseries:
            self._end_nursery(low)

    def _kill(self, child: _Child) -> None:
        """At once, with all that it has started."""
        if child.closing is not None:
            child.closing.cancel()
        for idle in self._idle.values():
            if child in idle:
                idle.remove(child)
        if self._all.pop(child, None) is None:
            return
        end = child.nursery.how(child.pid)
        if end is None and child.nursery.alive:  # else the number may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        child.nursery.forget(child.pid)
        child.writer.close()

    async def _how_it_died(self, child: _Child) -> str:
        """In words, for the model and the owner."""
        code = await child.nursery.end_of(child.pid)
        if code is None:
            return "the tool's process gave no sensible answer and was ended"
        if code == -signal.SIGKILL:
            return "the tool's process was killed (perhaps the machine ran out of memory)"
        if code == -signal.SIGXCPU:
            return "the tool's process was killed: it had used up its processor time"
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        return f"the tool's process ended {how} in the middle of its work"


def _alive(started: asyncio.Future[_Nursery]) -> bool:
    return started.exception() is None and started.result().alive


def _environment() -> dict[str, str]:
    """Made from nothing, so that no secret of the node's own can be in it (invariant 9)."""
    return {
        "PATH": os.defpath,
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
