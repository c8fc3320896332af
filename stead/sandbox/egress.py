"""The way out of sandboxes, as seen by who opens it: a proxy in a process of its own.

Of its own, because it reads what strangers send, holds the values of credentials, and may have to
carry gigabytes: the process that answers the owner shares none of that. It starts with the first
sandbox that has hosts, and ends when none had any for a while. When it falls, what went through it
is cut, and the next sandbox starts another: nothing ever goes around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec

from stead.core.errors import SteadError
from stead.core.states import Failure
from stead.sandbox import egress_relay
from stead.sandbox.box import Box, Host, Way
from stead.sandbox.egress_hosts import Private
from stead.sandbox.egress_terms import MOST_LINE, Close, Logged, Open, Order, Terms, Told
from stead.sandbox.egress_terms import Way as Answered

log = logging.getLogger("stead.egress")

_ANSWER_S = 30.0


class NoWayOut(SteadError):
    """The tool has no way into the network: {why}"""

    status = 503
    code = "no_way_out"
    failure = Failure.UNAVAILABLE


class EgressProcess:
    """Opens ways out; starts and ends the proxy as they are needed.

    ``terms`` are asked for at each start of the proxy. ``idle_s``: how long it is kept without a
    sandbox. Belongs to the event loop it is first used in.
    """

    def __init__(self, terms: Callable[[], Terms], *, idle_s: float = 60.0) -> None:
        self._terms = terms
        self._idle_s = idle_s
        self._starting: asyncio.Future[_Link] | None = None
        self._numbers = itertools.count(1)
        self._users = 0
        self._closing: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Future[None]] = set()
        self.counts: Counter[tuple[str, str]] = Counter()
        """Connections by tool and verdict."""

    def open(self, box: Box) -> AbstractAsyncContextManager[Way]:
        """See :class:`stead.sandbox.box.Egress`. Raises ``NoWayOut``."""
        return self._opened(box)

    async def aclose(self) -> None:
        self._stop()
        if self._endings:
            await asyncio.wait(self._endings, timeout=10.0)

    @property
    def pid(self) -> int | None:
        """Of the proxy, while it runs."""
        starting = self._starting
        if starting is None or not starting.done() or starting.cancelled():
            return None
        return None if starting.exception() else starting.result().process.pid

    @asynccontextmanager
    async def _opened(self, box: Box) -> AsyncIterator[Way]:
        self._users += 1
        if self._closing is not None:
            self._closing.cancel()
        number = next(self._numbers)
        link: _Link | None = None
        try:
            try:
                link = await self._link()
                answered = await link.ask(
                    Open(
                        number, box.name, box.job,
                        tuple((h.name, h.port, h.credentials, h.private) for h in box.hosts),
                    )
                )  # fmt: skip
            except (OSError, TimeoutError) as error:
                raise NoWayOut(why=str(error) or "its proxy does not answer") from None
            if answered.why:
                raise NoWayOut(why=answered.why)
            path = Path(answered.path)
            yield Way(
                egress_relay.mounts(path.parent),
                egress_relay.environment(own_loopback=not any(map(_is_here, box.hosts))),
                egress_relay.opener(path),
            )
        finally:
            if link is not None:
                link.say(Close(number))
            self._users -= 1
            if not self._users:
                loop = asyncio.get_running_loop()
                self._closing = loop.call_later(self._idle_s, self._stop)

    async def _link(self) -> _Link:
        starting = self._starting
        if starting is not None and starting.done() and not _alive(starting):
            starting = None
        if starting is None:
            starting = asyncio.ensure_future(_Link.start(self._terms(), self._logged))
            self._starting = starting
        return await asyncio.shield(starting)  # one that is cancelled takes it from nobody

    def _stop(self) -> None:
        starting, self._starting = self._starting, None
        if starting is None:
            return

        async def end() -> None:
            with contextlib.suppress(OSError, TimeoutError):
                await (await starting).end()

        ending = asyncio.ensure_future(end())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _logged(self, line: dict[str, object]) -> None:
        self.counts[str(line.get("tool")), str(line.get("verdict"))] += 1
        level = logging.INFO if line.get("verdict") == "allowed" else logging.WARNING
        verdict, place = line.get("verdict"), f"{line.get('host')}:{line.get('port')}"
        log.log(level, "%s: %s %s", line.get("tool"), verdict, place, extra={"fields": line})


def _is_here(host: Host) -> bool:
    name = host.name.strip("[]")
    return name in ("localhost", "::1") or name.startswith("127.")


def _alive(starting: asyncio.Future[_Link]) -> bool:
    return not starting.cancelled() and starting.exception() is None and starting.result().alive


class _Link:
    """The running proxy, and what is asked of it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        logged: Callable[[dict[str, object]], None],
    ) -> None:
        self.process = process
        self._writer = writer
        self._logged = logged
        self._asked: dict[int, asyncio.Future[Answered]] = {}
        self._listening = asyncio.ensure_future(self._listen(reader))

    @classmethod
    async def start(cls, terms: Terms, logged: Callable[[dict[str, object]], None]) -> _Link:
        for text in terms.private:
            try:
                Private.read(text)
            except ValueError as error:
                raise OSError(f"[egress] private in stead.toml: {error}") from None
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "stead.sandbox.egress_child",
                stdin=theirs.fileno(), stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL, env=_environment(), start_new_session=True,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=MOST_LINE)
        link = cls(process, reader, writer, logged)
        link.say(terms)
        return link

    @property
    def alive(self) -> bool:
        return not self._listening.done()

    def say(self, order: Order) -> None:
        if self.alive:
            self._writer.write(msgspec.json.encode(order) + b"\n")

    async def ask(self, order: Open) -> Answered:
        """Raises ``OSError`` and ``TimeoutError``."""
        if not self.alive:
            raise OSError("its proxy has ended")
        answer = self._asked[order.number] = asyncio.get_running_loop().create_future()
        try:
            self.say(order)
            async with asyncio.timeout(_ANSWER_S):
                told: Answered = await answer
                return told
        finally:
            self._asked.pop(order.number, None)

    async def end(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(5.0):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        self._listening.cancel()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                said = msgspec.json.decode(line, type=Told)
                if isinstance(said, Logged):
                    self._logged(said.line)
                elif (asked := self._asked.get(said.number)) and not asked.done():
                    asked.set_result(said)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            log.error("the egress proxy cannot be understood: %s", error)
        finally:
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(OSError("its proxy has ended"))
            self._writer.close()


def _environment() -> dict[str, str]:
    """Made from nothing: what this process knows by its environment is not for the proxy."""
    return {
        "PATH": os.defpath,
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
