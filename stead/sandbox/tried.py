"""What all kinds of walls share: they are tried before anything runs in them, and fail closed."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from stead.sandbox import seccomp, selftest
from stead.sandbox.box import Box, Boxed, Egress, Report
from stead.sandbox.errors import NoSandbox


class TriedWalls(ABC):
    """Who starts something while they are being tried waits for what comes of it."""

    kind = ""

    def __init__(self, program: str, run: Path, egress: Egress | None = None) -> None:
        self._program = program
        self._run = run
        self._egress = egress
        self._testing: asyncio.Future[Report] | None = None

    @property
    def works(self) -> bool:
        testing = self._testing
        return testing is None or not testing.done() or testing.result().ok

    async def tested(self) -> Report:
        """What the test of this boot has found; the first who asks has it made."""
        if self._testing is None:
            self._testing = asyncio.ensure_future(self._test())
        return await asyncio.shield(self._testing)

    async def start(
        self,
        box: Box,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Boxed:
        """As :class:`stead.sandbox.box.Walls` has it."""
        report = await self.tested()
        if not report.ok:
            raise NoSandbox(why=report.why)
        return await self._start(
            box, command, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds
        )

    async def aclose(self) -> None:
        if self._testing is not None:
            self._testing.cancel()
        await self._close()

    async def _test(self) -> Report:
        try:
            self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
            changed = os.stat(self._program).st_mtime_ns
            key = selftest.key_of(self.kind, self._program, changed, self._also())
            report = selftest.kept(self._run, key)
            if report is None:
                report = await self._try()
                if report.ok:
                    selftest.keep(self._run, key, report)
        except OSError as problem:
            report = Report(False, f"it could not be tried: {problem}", self.kind)
        except seccomp.UnknownMachine as machine:
            report = Report(False, f"there is no filter of system calls for {machine}", self.kind)
        return report

    def _also(self) -> str:
        """What else a result holds for."""
        return ""

    @abstractmethod
    async def _try(self) -> Report:
        """Try these walls."""

    @abstractmethod
    async def _start(
        self,
        box: Box,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Boxed:
        """As ``start``, whatever a test has found."""

    @abstractmethod
    async def _close(self) -> None:
        """End all that is in them."""
