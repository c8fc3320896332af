"""Processes in which tools run, so that none can hold up the node or the owner's chat.

A tool that computes in a thread of the node would hold the interpreter's lock against every
token on its way. In a process of its own it cannot; it can be killed at its time limit, and
what it does to itself (out of memory, a fault in a library) is a failure of that call alone.

Processes start at the first use, work on one call at a time, and end when nothing was asked
of them for a while. Those for background work have the lowest priority there is.

A tool that has a :class:`~stead.sandbox.box.Box` runs in processes inside that sandbox, which start
it once and fork for each call: entering a sandbox anew would cost as much as starting Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import msgspec

from stead.agent.places import Nursery, Place
from stead.core.errors import SteadError
from stead.sandbox.box import Box, Walls

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
    job: str = ""
    step: int = 0
    keep: str = ""


class Calling(Protocol):
    """Of the context of a call, what goes along to a process."""

    @property
    def workspace(self) -> Path: ...
    @property
    def limit(self) -> int: ...
    @property
    def job(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def keep(self) -> Path | None: ...


class Answer(msgspec.Struct, array_like=True):
    """What became of a call."""

    text: str
    ok: bool = True
    whole: bool = True
    """Whether the tool came to its own end."""


@dataclass(eq=False)
class _Child:
    """A process in which tools run, one call at a time."""

    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    nursery: Nursery
    closing: asyncio.TimerHandle | None = None

    async def ask(self, asked: Asked) -> Answer:
        self.writer.write(msgspec.json.encode(asked) + b"\n")
        await self.writer.drain()
        return msgspec.json.decode(await self.reader.readuntil(b"\n"), type=Answer)


class Pool:
    """Runs tools by their name in processes; ``most`` at once of those in the background.

    ``idle_s``: how long a process that has nothing to do is kept.
    """

    def __init__(
        self,
        *,
        most: int = 8,
        idle_s: float = 20.0,
        registry: str = REGISTRY,
        walls: Walls | None = None,
    ) -> None:
        self._registry = registry
        self._walls = walls
        self._tools: tuple[object, ...] | None = None
        self._idle_s = idle_s
        self._room = asyncio.Semaphore(max(1, most))
        self._idle: dict[str, list[_Child]] = {}
        self._all: dict[_Child, str] = {}
        self._nurseries: dict[str, asyncio.Future[Nursery]] = {}
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
        self,
        tool: str,
        args: str,
        context: Calling,
        *,
        seconds: float,
        low: bool,
        box: Box | None = None,
    ) -> Answer:
        """Run a tool; ``args`` is JSON, ``low`` whether it is background work, ``box`` its sandbox.

        Never raises for what a tool does. Cancelled, it kills the tool. Raises ``OSError``
        when no process can be started, ``NoSandbox`` and ``BadBox`` when no sandbox can be.
        """
        most_s = seconds * PATIENCE if low else seconds
        asked = Asked(
            tool, args, str(context.workspace), context.limit, seconds, most_s, context.job,
            context.step, str(context.keep or ""),
        )  # fmt: skip
        place = Place.of(low, box)
        if not low:
            return await self._call(asked, place)
        async with self._room:
            return await self._call(asked, place)

    async def _call(self, asked: Asked, place: Place) -> Answer:
        try:
            child = await self._take(place)
        except EOFError as gone:
            raise OSError("the process that starts them is gone") from gone
        whole = False
        try:
            async with asyncio.timeout(asked.most_s):
                answer = await child.ask(asked)
        except TimeoutError:
            return Answer(f"gave up after {asked.most_s:g} s", ok=False, whole=False)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            return Answer(await self._how_it_died(child), ok=False, whole=False)
        else:
            whole = True
            self._put_back(child, place.key)
            return answer
        finally:
            if not whole:  # also when the job was cancelled
                self._kill(child)

    async def aclose(self) -> None:
        """End all processes."""
        for child in list(self._all):
            self._kill(child)
        for key in list(self._nurseries):
            self._end_nursery(key)
        if self._endings:
            await asyncio.wait(self._endings, timeout=5.0)

    # --- the life of a process ----------------------------------------------------

    async def _take(self, place: Place) -> _Child:
        idle = self._idle.get(place.key, [])
        while idle:
            child = idle.pop()
            if child.closing is not None:
                child.closing.cancel()
            if not child.reader.at_eof() and child.nursery.alive:
                return child
            self._kill(child)
        try:
            nursery = await self._nursery(place)
            pid, ours = await nursery.fork()
        except BaseException:  # also when the job was cancelled meanwhile
            loop = asyncio.get_running_loop()
            loop.call_later(self._idle_s, self._end_unused, place.key)
            raise
        reader, writer = await asyncio.open_connection(sock=ours, limit=_MOST_ANSWER)
        child = _Child(pid, reader, writer, nursery)
        self._all[child] = place.key
        return child

    async def _nursery(self, place: Place) -> Nursery:
        key = place.key
        starting = self._nurseries.get(key)
        fell = starting is not None and starting.done() and not _alive(starting)
        if fell:
            self._end_nursery(key)
            starting = None
        if starting is None:
            starting = asyncio.ensure_future(Nursery.start(self._registry, place, self._walls))
            self._nurseries[key] = starting
        # Many may wait for it: one that is cancelled takes it from nobody.
        return await asyncio.shield(starting)

    def _end_nursery(self, key: str) -> None:
        async def end() -> None:
            with contextlib.suppress(OSError, SteadError):
                await (await starting).end()

        starting = self._nurseries.pop(key)
        self._idle.pop(key, None)
        self._later(asyncio.ensure_future(end()))

    def _later(self, ending: asyncio.Future[None]) -> None:
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _put_back(self, child: _Child, key: str) -> None:
        self._idle.setdefault(key, []).append(child)
        loop = asyncio.get_running_loop()
        child.closing = loop.call_later(self._idle_s, self._end_idle, child, key)

    def _end_idle(self, child: _Child, key: str) -> None:
        self._kill(child)
        self._end_unused(key)

    def _end_unused(self, key: str) -> None:
        """End a nursery whose processes have all ended."""
        if key not in self._all.values() and key in self._nurseries:
            self._end_nursery(key)

    def _kill(self, child: _Child) -> None:
        """At once, with all that it has started."""
        if child.closing is not None:
            child.closing.cancel()
        for idle in self._idle.values():
            if child in idle:
                idle.remove(child)
        if self._all.pop(child, None) is None:
            return
        child.nursery.kill(child.pid)
        child.nursery.forget(child.pid)
        child.writer.close()

    async def _how_it_died(self, child: _Child) -> str:
        """In words, for the model and the owner."""
        code = await child.nursery.end_of(child.pid)
        if why := await child.nursery.why():
            return f"the tool was stopped: it {why}"
        if code is None:
            return "the tool's process gave no sensible answer and was ended"
        if code == -signal.SIGKILL and child.nursery.boxed:
            return "the tool's process was killed: it took more memory than its sandbox may"
        if code == -signal.SIGKILL:
            return "the tool's process was killed (perhaps the machine ran out of memory)"
        if code == -signal.SIGXCPU:
            return "the tool's process was killed: it had used up its processor time"
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        return f"the tool's process ended {how} in the middle of its work"


def _alive(started: asyncio.Future[Nursery]) -> bool:
    return started.exception() is None and started.result().alive
