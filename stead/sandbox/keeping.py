"""Starts the keeper (:mod:`stead.sandbox.keeper`) when it is needed and talks with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from stead.sandbox.box import Ended
from stead.sandbox.cgroups import WEIGHT
from stead.sandbox.errors import NoSandbox

_IDLE_S = 60.0
_START_S = 20.0


class Kept:
    """A process in a sandbox, seen through what the keeper tells of it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        streams: _Streams,
        open_while: AsyncExitStack,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ended: Ended | None = None
        self._open_while = open_while
        self.stdin = streams.stdin
        self.stdout = streams.stdout
        self.stderr = streams.stderr
        self._end = asyncio.ensure_future(self._until_gone())

    @property
    def ended(self) -> Ended | None:
        return self._ended

    async def wait(self) -> Ended:
        return await asyncio.shield(self._end)

    async def kill(self) -> Ended:
        if self._ended is None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write(b"k")
        return await self.wait()

    def on_end(self, done: Any) -> None:
        """Call ``done(self)`` when it is gone."""
        self._end.add_done_callback(lambda _: done(self))

    async def _until_gone(self) -> Ended:
        ended = Ended(-signal.SIGKILL, "the process that watches over sandboxes is gone")
        try:
            async for line in self._reader:
                told = json.loads(line)
                if "code" in told:
                    ended = Ended(told["code"], told["why"])
        except OSError:
            pass
        finally:
            self._writer.close()
            self._ended = ended
            if self.stdin is not None:
                self.stdin.close()
            await self._open_while.aclose()
        return ended


class _Streams:
    """The three standard streams of a process: our ends as asyncio's, its ends as descriptors."""

    def __init__(self) -> None:
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self.theirs: list[int] = []
        self._to_close: list[int] = []
        self._transports: list[asyncio.BaseTransport] = []

    async def open(self, stdin: int | None, stdout: int | None, stderr: int | None) -> None:
        loop = asyncio.get_running_loop()
        if stdin == PIPE:
            read, write = self._pipe()
            self.theirs.append(read)
            protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
            transport, _ = await loop.connect_write_pipe(
                lambda: protocol, os.fdopen(os.dup(write), "wb", 0)
            )
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
            self._transports.append(transport)
        else:
            self.theirs.append(self._given(stdin, os.O_RDONLY))
        self.stdout = await self._out(stdout)
        if stderr == STDOUT:
            self.theirs.append(self.theirs[1])
        else:
            self.stderr = await self._out(stderr)

    async def _out(self, wanted: int | None) -> asyncio.StreamReader | None:
        if wanted != PIPE:
            self.theirs.append(self._given(wanted, os.O_WRONLY))
            return None
        read, write = self._pipe()
        self.theirs.append(write)
        reader = asyncio.StreamReader()
        file = os.fdopen(os.dup(read), "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
        self._transports.append(transport)
        return reader

    def _pipe(self) -> tuple[int, int]:
        made = os.pipe()
        self._to_close += made
        return made

    def _given(self, wanted: int | None, mode: int) -> int:
        if wanted is None or wanted == DEVNULL:
            fd = os.open(os.devnull, mode)
            self._to_close.append(fd)
            return fd
        return wanted

    async def said(self) -> str:
        """What a process that has ended at once has left, if it can be read here."""
        for stream in (self.stderr, self.stdout):
            if stream is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        return (await stream.read(500)).decode("utf-8", "replace").strip()
        return ""

    def sent(self) -> None:
        """The process has its ends now."""
        for fd in set(self._to_close):
            os.close(fd)
        self._to_close = []

    def drop(self) -> None:
        """There will be no process."""
        self.sent()
        for transport in self._transports:
            transport.close()


class Keeping:
    """The keeper of this process: started at the first use, ended when it has long been idle."""

    def __init__(self, idle_s: float = _IDLE_S) -> None:
        self._idle_s = idle_s
        self._keeper: asyncio.Future[_Keeper] | None = None
        self._running: set[Kept] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Future[None]] = set()
        self.groups: dict[str, Any] = {}
        """What kind of groups it has, and what they limit; empty before the first start."""

    async def start(
        self,
        asked: dict[str, Any],
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        pass_fds: Sequence[int],
        open_while: AsyncExitStack,
    ) -> Kept:
        """``asked`` as :mod:`stead.sandbox.enter` reads it; ``open_while`` is left when it ends.

        Raises ``OSError``.
        """
        keeper = await self._there()
        streams = _Streams()
        ours, theirs = socket.socketpair()
        try:
            await streams.open(stdin, stdout, stderr)
            numbers = [0, 1, 2, *pass_fds]
            words = _in_memory(json.dumps(asked | {"fds": numbers}).encode())
            try:
                await keeper.send([words, theirs.fileno(), *streams.theirs, *pass_fds])
            finally:
                os.close(words)
            streams.sent()
            theirs.close()
            reader, writer = await asyncio.open_connection(sock=ours, limit=1_000_000)
            try:
                told = json.loads(await reader.readline() or b"{}")
                if "started" not in told:
                    why = told.get("failed") or told.get("why") or await streams.said()
                    raise OSError(why or "it did not start")
            except BaseException:
                writer.close()  # and so it ends, whenever it comes to be
                raise
        except BaseException:
            streams.drop()
            theirs.close()
            ours.close()
            raise
        kept = Kept(reader, writer, streams, open_while)
        self._running.add(kept)
        kept.on_end(self._on_end)
        return kept

    async def aclose(self) -> None:
        """End all that runs, and the keeper."""
        for kept in list(self._running):
            await kept.kill()
        self._end_keeper()
        if self._ending:
            await asyncio.wait(self._ending, timeout=5.0)

    async def _there(self) -> _Keeper:
        if self._idle is not None:
            self._idle.cancel()
        known = self._keeper
        if known is not None and known.done() and (known.exception() or not known.result().alive):
            self._end_keeper()
        if self._keeper is None:
            self._keeper = asyncio.ensure_future(_Keeper.start())
        keeper = await asyncio.shield(self._keeper)
        self.groups = keeper.groups
        self._arm()
        return keeper

    def _on_end(self, kept: Kept) -> None:
        self._running.discard(kept)
        self._arm()

    def _arm(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)

    def _end_idle(self) -> None:
        if not self._running:
            self._end_keeper()

    def _end_keeper(self) -> None:
        async def end(starting: asyncio.Future[_Keeper]) -> None:
            with contextlib.suppress(OSError, NoSandbox):
                await (await starting).end()

        if self._idle is not None:
            self._idle.cancel()
        if self._keeper is not None:
            ending = asyncio.ensure_future(end(self._keeper))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        self._keeper = None


class _Keeper:
    """One process of it."""

    def __init__(
        self, process: asyncio.subprocess.Process, control: socket.socket, groups: dict[str, Any]
    ) -> None:
        self._process = process
        self._control = control
        self.groups = groups

    @classmethod
    async def start(cls) -> _Keeper:
        for scope in (_scope(), []):
            made = await cls._try(scope)
            if made is not None:
                return made
        raise OSError("the process that watches over sandboxes ended at once")

    @classmethod
    async def _try(cls, scope: list[str]) -> _Keeper | None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        words = ["-m", "stead.sandbox.keeper", str(os.getpid())] + (["delegated"] if scope else [])
        try:
            process = await asyncio.create_subprocess_exec(
                *scope, sys.executable, *words,
                stdin=theirs.fileno(), stdout=DEVNULL, stderr=DEVNULL,
                env=_environment(), start_new_session=True,
            )  # fmt: skip
        except BaseException as problem:
            ours.close()
            if scope and isinstance(problem, OSError):
                return None
            raise
        finally:
            theirs.close()
        told = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_START_S):  # a bus that does not answer must hold up nothing
                told = await asyncio.get_running_loop().sock_recv(ours, 4096)
        if told:
            return cls(process, ours, json.loads(told))
        ours.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return None

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def send(self, fds: Sequence[int]) -> None:
        while True:
            try:
                socket.send_fds(self._control, [b"s"], fds)
            except BlockingIOError:
                await asyncio.sleep(0.005)
            else:
                return

    async def end(self) -> None:
        self._control.close()
        waiting = asyncio.ensure_future(self._process.wait())
        await asyncio.wait((waiting,), timeout=3.0)
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await waiting


def _scope() -> list[str]:
    """What starts a program in a group of its own, handed to it (systemd-run(1)), if there is."""
    if not Path("/run/systemd/system").is_dir():
        return []
    user = [] if os.geteuid() == 0 else ["--user"]
    wishes = ["-p", "Delegate=yes", "-p", f"CPUWeight={WEIGHT}"]
    return ["systemd-run", *user, "--scope", "--quiet", "--collect", *wishes, "--"]


def _environment() -> dict[str, str]:
    """Made from nothing. The first two are how systemd-run finds the user's systemd; nothing in a
    sandbox gets them."""
    run = f"/run/user/{os.getuid()}"
    return {
        "XDG_RUNTIME_DIR": run,
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={run}/bus",
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _in_memory(data: bytes) -> int:
    fd = os.memfd_create("asked", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(data)
    return fd
