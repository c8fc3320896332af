"""One running process of a service: started, listened to, ended. The gateway's side."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from stead.services.kinds import PATH
from stead.services.orders import Orders, Word

log = logging.getLogger("stead.services")

_LAST = 4000
"""Characters of its stderr that are kept, for the reason of its end."""
_LONGEST = 65_536
"""Bytes of a line."""


class Process:
    """A service's process.

    ``heard`` gets each of its words; ``ended`` is called once, when it is gone, with its exit
    code (minus the signal that ended it).
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        heard: Callable[[Word], None],
        ended: Callable[[int], None],
    ) -> None:
        self._process = process
        self._heard = heard
        self._ended = ended
        self._errors = ""
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(
        cls, orders: Orders, heard: Callable[[Word], None], ended: Callable[[int], None]
    ) -> Process:
        """Raises ``OSError`` when no process can be started."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "stead.services.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(orders.threads),
            cwd="/",
            start_new_session=True,
            limit=_LONGEST,
        )  # fmt: skip
        assert process.stdin is not None
        # A pipe of the kernel holds this line whether or not the other side reads yet.
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        return cls(process, heard, ended)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last line that it wrote to its stderr."""
        lines = [line for line in self._errors.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    async def end(self, grace_s: float = 3.0) -> None:
        """Let it end its requests, for so long; then it is killed."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        await asyncio.wait((self._listening,), timeout=grace_s)
        if not self._listening.done():
            self.kill()
            await asyncio.wait((self._listening,), timeout=5.0)

    def kill(self) -> None:
        """At once, with all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        errors = asyncio.ensure_future(self._read_errors())
        try:
            async for line in self._process.stdout:
                try:
                    word = msgspec.json.decode(line, type=Word)
                except msgspec.DecodeError:
                    continue
                self._heard(word)
        except ValueError:  # a line without end: it is out of its mind
            pass
        finally:
            self.kill()  # what it may have started goes with it
            code = await self._process.wait()
            await asyncio.wait((errors,), timeout=1.0)
            errors.cancel()
            self._close_pipe()
            self._ended(code)

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._process.stdin.close()

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(4096):
            text = piece.decode("utf-8", "replace")
            self._errors = (self._errors + text)[-_LAST:]
            log.debug("service %d: %s", self._process.pid, text.rstrip())


def _environment(threads: int) -> dict[str, str]:
    """Made from nothing, so that no secret of the gateway's own can be in it (invariant 9)."""
    count = str(threads)
    return {
        "PATH": PATH,
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        # Nothing is fetched at run time: a library that would try is told not to.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
