"""Walls that another program makes and watches: podman, and macOS's sandbox-exec."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from stead.sandbox import podman, seatbelt, selftest
from stead.sandbox.box import Box, Boxed, Egress, Ended, Report
from stead.sandbox.bubblewrap import environment
from stead.sandbox.errors import BadBox
from stead.sandbox.tried import TriedWalls


class Plain:
    """A process and what ends all that it has started."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        box: Box,
        end: Callable[[], Awaitable[None]],
    ) -> None:
        self._process = process
        self._box = box
        self._end = end
        self._ended: Ended | None = None
        self._why: str | None = None
        self.stdin = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr
        self._watch = asyncio.ensure_future(self._until_gone())

    @property
    def ended(self) -> Ended | None:
        return self._ended

    async def wait(self) -> Ended:
        return await asyncio.shield(self._watch)

    async def kill(self) -> Ended:
        if self._ended is None:
            self._why = self._why or ""
            await self._end()
        return await self.wait()

    async def _until_gone(self) -> Ended:
        wall = self._box.bounds.wall_s
        waiting = asyncio.ensure_future(self._process.wait())
        await asyncio.wait((waiting,), timeout=wall or None)
        if not waiting.done():
            self._why = f"ran longer than {wall:g} s"
        await self._end()
        code = await waiting
        killed = self._why is not None
        self._ended = Ended(-signal.SIGKILL if killed else code, self._why or "")
        return self._ended


class PlainWalls(TriedWalls):
    """Knows what runs, so that it can be ended."""

    def __init__(self, program: str, run: Path, egress: Egress | None) -> None:
        super().__init__(program, run, egress)
        self._running: set[Plain] = set()

    async def _try(self) -> Report:
        return await selftest.test_plain(self._start, self.kind, self._run)

    async def _close(self) -> None:
        for plain in list(self._running):
            await plain.kill()

    def _noted(self, plain: Plain) -> Plain:
        self._running.add(plain)
        plain._watch.add_done_callback(lambda _: self._running.discard(plain))
        return plain


class Podman(PlainWalls):
    """Containers of an image. Only for programs: functions of stead's own are not in it."""

    kind = "podman"

    def __init__(self, program: str, image: str, run: Path, egress: Egress | None) -> None:
        super().__init__(program, run, egress)
        self._image = image

    def _also(self) -> str:
        return self._image

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
        if pass_fds:
            raise BadBox(why="a container of podman cannot be handed open files")
        name = f"stead-{secrets.token_hex(8)}"
        words = podman.arguments(box, command, name=name, image=self._image, root=os.geteuid() == 0)
        process = await asyncio.create_subprocess_exec(
            self._program, *_runtime(), *words,
            stdin=DEVNULL if stdin is None else stdin,
            stdout=DEVNULL if stdout is None else stdout,
            stderr=DEVNULL if stderr is None else stderr,
            env=_environment(),
            start_new_session=True,
        )  # fmt: skip

        async def end() -> None:
            """Also where it ended by itself: then there is none of that name any more."""
            killer = await asyncio.create_subprocess_exec(
                self._program, *_runtime(), "rm", "--force", "--ignore", "--time", "0", name,
                stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=_environment(),
            )  # fmt: skip
            await killer.wait()

        return self._noted(Plain(process, box, end))


class Seatbelt(PlainWalls):
    """macOS. Each call has a folder of its own as its home and ``/tmp``, removed at its end."""

    kind = "seatbelt"

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
        if box.hosts:
            raise BadBox(why="on macOS there is no way out of a sandbox yet")
        scratch = Path(tempfile.mkdtemp(prefix="scratch.", dir=self._run))
        try:
            profile = seatbelt.profile(box, scratch)
            bounds = box.bounds
            # ulimit(1): the only limits there are here; in kilobytes, seconds, blocks of 512 bytes.
            limits = (
                f"ulimit -c 0; ulimit -v {bounds.memory_mb * 1024} 2>/dev/null;"
                f" ulimit -f {bounds.file_mb * 2048};"
                f" {f'ulimit -t {int(bounds.cpu_s)};' if bounds.cpu_s else ''}"
                f' nice -n {19 if box.low else 5} "$@"'
            )
            env = environment(box) | {"HOME": str(scratch), "TMPDIR": str(scratch)}
            process = await asyncio.create_subprocess_exec(
                self._program, "-p", profile, "/bin/sh", "-c", limits, "sh", *command,
                stdin=DEVNULL if stdin is None else stdin,
                stdout=DEVNULL if stdout is None else stdout,
                stderr=DEVNULL if stderr is None else stderr,
                pass_fds=tuple(pass_fds),
                cwd=box.cwd or scratch,
                env=env,
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise

        async def end() -> None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(shutil.rmtree, scratch, True)

        return self._noted(Plain(process, box, end))


def _runtime() -> list[str]:
    """crun refuses machines that have both versions of control groups; runc does not."""
    if os.path.isdir("/sys/fs/cgroup/unified") and shutil.which("runc"):
        return ["--runtime", "runc"]
    return []


def _environment() -> dict[str, str]:
    run = f"/run/user/{os.getuid()}"
    found = {"PATH": f"{os.defpath}:/usr/sbin:/sbin", "HOME": str(Path.home()), "LANG": "C.UTF-8"}
    return found | ({"XDG_RUNTIME_DIR": run} if os.path.isdir(run) else {})


def seatbelt_program() -> str | None:
    return "/usr/bin/sandbox-exec" if sys.platform == "darwin" else None
