"""Commands in sandboxes: what tools share that start processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
import time
from asyncio import FIRST_COMPLETED
from collections.abc import Sequence

from stead.agent.spool import MOST, Spool
from stead.agent.tools.base import Context, ToolError
from stead.sandbox.box import Box, Boxed, Ended

ROWS, COLUMNS = 50, 160
"""Of a terminal."""
_LINGER_S = 2.0
"""How long an output is waited for whose processes have all ended."""


class Command:
    """One command under way, its output on its way into a spool."""

    def __init__(self, boxed: Boxed, spool: Spool, shown: str, out: int, terminal: bool) -> None:
        self.spool = spool
        self.shown = shown
        self.flooded = False
        self.out_of_time = False
        self._boxed = boxed
        self._started = time.monotonic()
        self._took = 0.0
        self._terminal = terminal
        self._out = out
        loop = asyncio.get_running_loop()
        self._drained: asyncio.Future[None] = loop.create_future()
        self._over = asyncio.ensure_future(self._until_over())
        self._limit: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._killing: asyncio.Future[Ended] | None = None
        os.set_blocking(out, False)
        loop.add_reader(out, self._more)

    @classmethod
    async def start(
        cls, context: Context, box: Box, argv: Sequence[str], *, shown: str, terminal: bool = False
    ) -> Command:
        """Start it; its standard input is open. Raises ``ToolError`` and what walls raise."""
        if context.walls is None:
            raise ToolError("there are no sandboxes on this worker, so no command may run here")
        try:
            spool = Spool(context.keep, context.job, f"p{context.step}")
        except OSError as problem:
            raise ToolError(f"its output could not be kept: {problem.strerror}") from problem
        read, write = os.openpty() if terminal else os.pipe()
        try:
            if terminal:
                size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
                fcntl.ioctl(write, termios.TIOCSWINSZ, size)
                argv = ["setsid", "--ctty", "--wait", *argv]
            boxed = await context.walls.start(
                box, argv, stdout=write, stderr=write,
                stdin=write if terminal else asyncio.subprocess.PIPE,
            )  # fmt: skip
        except BaseException:
            os.close(read)
            spool.close()
            raise
        finally:
            os.close(write)
        return cls(boxed, spool, shown, read, terminal)

    # --- what it prints ----------------------------------------------------------------

    def _more(self) -> None:
        try:
            data = os.read(self._out, 65_536)
        except BlockingIOError:
            return
        except OSError:  # a terminal that nobody has open any more
            data = b""
        if not data:
            self._close()
            return
        if not self.flooded:
            self.spool.add(data)
            self._news.set()
        if self.spool.full and not self.flooded:
            self.flooded = True
            self.kill()

    def _close(self) -> None:
        if self._out >= 0:
            asyncio.get_running_loop().remove_reader(self._out)
            os.close(self._out)
            self._out = -1
            self.spool.close()
        if not self._drained.done():
            self._drained.set_result(None)

    async def _until_over(self) -> Ended:
        ended = await self._boxed.wait()
        self._took = time.monotonic() - self._started
        await asyncio.wait({self._drained}, timeout=_LINGER_S)
        self._close()
        if self._limit is not None:
            self._limit.cancel()
        return ended

    # --- its life ----------------------------------------------------------------------

    async def wait(self, seconds: float) -> None:
        """Until it has ended, or for so long."""
        await asyncio.wait({self._over}, timeout=seconds)

    async def more(self, size: int, seconds: float) -> None:
        """Until it has printed more than so many bytes, or has ended, or for so long."""
        until = time.monotonic() + seconds
        while self.spool.size <= size and (left := until - time.monotonic()) > 0:
            self._news.clear()
            news = asyncio.ensure_future(self._news.wait())
            try:
                await asyncio.wait({news, self._over}, timeout=left, return_when=FIRST_COMPLETED)
            finally:
                news.cancel()
            if self._over.done():
                return

    def end_after(self, seconds: float) -> None:
        """End it when it has run for so long."""

        def over() -> None:
            self.out_of_time = True
            self.kill()

        self._limit = asyncio.get_running_loop().call_later(seconds, over)

    def kill(self) -> None:
        """End all of it; :meth:`wait` says when."""
        if self._killing is None and not self._over.done():
            self._killing = asyncio.ensure_future(self._boxed.kill())

    async def stop(self) -> None:
        self.kill()
        await asyncio.wait({self._over})

    @property
    def ended(self) -> Ended | None:
        return self._over.result() if self._over.done() else None

    async def write(self, text: str, *, end: bool) -> None:
        """Hand it text; ``end``: no more will come."""
        data = text.encode()
        if self._terminal:
            await self._type(data + b"\x04" if end else data)
        elif self._boxed.stdin is not None:
            with contextlib.suppress(OSError):  # it need not read all, or any of it
                self._boxed.stdin.write(data)
                await self._boxed.stdin.drain()
                if end:
                    self._boxed.stdin.close()

    async def _type(self, data: bytes) -> None:
        while data and self._out >= 0 and not self._over.done():
            try:
                data = data[os.write(self._out, data[:1024]) :]
            except BlockingIOError:
                await asyncio.sleep(0.02)
            except OSError:
                return

    # --- in words ----------------------------------------------------------------------

    def how(self) -> str:
        """How it is, or how it came to its end."""
        ended = self.ended
        if ended is None:
            return f"still runs, for {time.monotonic() - self._started:.0f} s now"
        if self.flooded:
            return f"stopped: it printed more than {MOST // 1_000_000} MB"
        if self.out_of_time:
            return f"stopped at its time limit after {self._took:.0f} s"
        if ended.why:
            return f"stopped: {ended.why}"
        if self._killing is not None:
            return f"stopped after {self._took:.0f} s"
        return in_words(ended.code)

    def about(self) -> str:
        return f"{self.spool.name}: {self.how()}; {self.spool.size} bytes printed: {self.shown}"


def in_words(code: int) -> str:
    """An exit code, or minus a signal; shells give 128 and the signal."""
    number = -code if code < 0 else code - 128 if code > 128 else 0
    with contextlib.suppress(ValueError):
        if number:
            name = signal.Signals(number).name
            return f"ended by {name}" if code < 0 else f"exit code {code} ({name})"
    return f"exit code {code}"


async def run(
    context: Context, box: Box, argv: Sequence[str], *,
    shown: str, seconds: float, stdin: str = "", terminal: bool = False,
) -> str:  # fmt: skip
    """Run a command to its end; what it printed and its exit code, as a model is told.

    Raises ``ToolError`` when it was stopped, with what it had printed until then. Cancelled, it
    leaves nothing running.
    """
    command = await Command.start(context, box, argv, shown=shown, terminal=terminal)
    typing = asyncio.ensure_future(command.write(stdin, end=not terminal or bool(stdin)))
    try:
        command.end_after(seconds)
        await command.wait(seconds + 60)
    finally:
        typing.cancel()
        await command.stop()
    ended = command.ended
    assert ended is not None
    text = command.spool.text(context.limit - 240).rstrip("\n")
    if command.out_of_time:
        raise ToolError(
            f"stopped after {seconds:g} s, with all that it had started. Output until then:\n{text}"
        )
    if command.flooded or ended.why:
        raise ToolError(f"{command.how()}. Its output begins and ends so:\n{text}")
    return f"{text}\n[{command.how()}]" if text else f"[no output; {command.how()}]"
