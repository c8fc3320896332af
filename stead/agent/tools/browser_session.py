"""The browser of one job, from outside its sandbox: started at the first page, ended with the job.

Driver and browser are in one sandbox that sees its profile, a folder for files on their way in and
one for those on their way out, and the network through the egress proxy. What it tells has read
hostile pages and is believed only where a page may be believed anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

import stead
from stead.agent.browser.lines import Element, elements, folded, secrets
from stead.agent.browser.messages import MOST_LINE, Order, Start, Told
from stead.agent.tools.base import Context, ToolError
from stead.agent.web import Browser
from stead.sandbox.box import Bounds, Box, Boxed, Host, Mount
from stead.sandbox.egress_relay import PORT
from stead.sandbox.view import interpreter, system

HANDLE = "browser"
"""In the background processes of a job."""
FOLDER = "browser"
"""Below ``Context.keep``."""
_WHERE = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_PROFILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_START_S = 100.0
_GRACE_S = 60.0
"""What an order may take beyond its limit, before all is ended: what hangs is closed first."""
_QUIT_S = 8.0
_LOCK_S = 5.0
_LIFE_S = 4 * 3600.0
_FILE_MB = 1024


def program_of(terms: Browser) -> Path:
    """The browser of the system. Raises ``ToolError``."""
    if terms.program:
        named = shutil.which(terms.program, path=_WHERE)
        if named is None:
            raise ToolError(f"there is no program {terms.program} ([browser] program)")
        return Path(named)
    for name in _NAMES:
        if found := shutil.which(name, path=_WHERE):
            return Path(found)
    raise ToolError("no Chromium is installed here; the owner gets it with: apt install chromium")


def profile_folder(context: Context, name: str) -> Path:
    """Where a kept profile lies. Raises ``ToolError`` for a name that is none."""
    if not _PROFILE.fullmatch(name):
        raise ToolError(
            f"{name[:60]!r} is no name for a profile; use up to 32 small letters, digits, - and _"
        )
    return keep_of(context) / "profiles" / name


def keep_of(context: Context) -> Path:
    """The folder of all that browsers keep. Raises ``ToolError``."""
    if context.keep is None:
        raise ToolError("there is no place here for what a browser keeps")
    return context.keep / FOLDER


def box(context: Context, hosts: Sequence[Host], folders: Sequence[Mount]) -> Box:
    """The sandbox of driver and browser."""
    code = Path(stead.__file__).parent
    program = program_of(context.web.browser).resolve()
    own = () if any(program.is_relative_to(p) for p in system()[0]) else (Mount(program.parent),)
    return Box(
        "browser",
        mounts=(*interpreter(), *own, *folders),
        hosts=tuple(hosts),
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(code.parent)},
        bounds=Bounds(
            memory_mb=context.web.browser.memory_mb,
            processes=1024,  # threads count as well
            cpu_s=0,
            wall_s=_LIFE_S,
            file_mb=_FILE_MB,
            disk_mb=8192,
        ),
        low=context.low,
        job=context.job,
    )


def hosts_of(terms: Browser, first: Host | None) -> tuple[Host, ...]:
    """What it may reach: by the owner's settings, and the first page's own port."""
    made = []
    for text in terms.hosts:
        name, colon, port = text.rpartition(":")
        plain = bool(colon) and port.isdigit() and not name.endswith(":")
        made.append(Host(name if plain else text, int(port) if plain else 0))
    if first is not None and first.port and reaches(made, Host(first.name)):
        made.append(first)
    return tuple(made)


def reaches(hosts: Sequence[Host], wanted: Host) -> bool:
    """Whether a host is among those, by name and port."""
    return any(
        one.port == wanted.port
        and (one.name in ("*", wanted.name)
             or (one.name.startswith("*.") and wanted.name.endswith(one.name[1:])))
        for one in hosts
    )  # fmt: skip


@dataclass(eq=False)
class Session:
    """A browser that runs."""

    context: Context
    boxed: Boxed
    stage: Path
    profile: str
    hosts: tuple[Host, ...]
    lock: int = -1
    told: Told = field(default_factory=lambda: Told(0))
    lines: list[str] = field(default_factory=list)
    elements: dict[str, Element] = field(default_factory=dict)
    secret: frozenset[str] = frozenset()
    """References of fields for passwords."""
    _n: int = 0
    _rest: bytearray = field(default_factory=bytearray)
    _waiting: asyncio.TimerHandle | None = None
    _stopping: asyncio.Future[None] | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def host(self) -> str:
        """Of the page that is shown; empty: of none."""
        with contextlib.suppress(ValueError):
            parts = urlsplit(self.told.url)
            if parts.scheme in ("http", "https"):
                return (parts.hostname or "").lower()
        return ""

    @property
    def out(self) -> Path:
        return self.stage / "out"

    @property
    def inside(self) -> Path:
        return self.stage / "in"

    @property
    def over(self) -> bool:
        """Whether it was ended; one that fell by itself is told of at the next order."""
        return self._stopping is not None

    def about(self) -> str:
        gone = self.over or self.boxed.ended is not None
        return f"{HANDLE}: {'closed' if gone else 'shows ' + (self.told.url or 'no page')}"

    # --- orders ---------------------------------------------------------------------------

    async def ask(self, order: Order) -> Told:
        """What came of an order. Raises ``ToolError`` when the browser had to be ended."""
        self.rest(0.0)
        async with self._one:
            self._n += 1
            order = msgspec.structs.replace(
                order, n=self._n, known={ref: self.elements[ref] for ref in _refs(order)
                                         if ref in self.elements},
            )  # fmt: skip
            assert self.boxed.stdin is not None
            try:
                async with asyncio.timeout(order.seconds + _GRACE_S):
                    self.boxed.stdin.write(msgspec.json.encode(order) + b"\n")
                    await self.boxed.stdin.drain()
                    told = await self._answer(self._n)
            except TimeoutError:
                await self.stop(kill=True)
                raise ToolError(
                    f"the browser did not answer for {order.seconds + _GRACE_S:g} s and was ended;"
                    " open the page again, or another one"
                ) from None
            except (OSError, EOFError, ValueError, msgspec.DecodeError) as problem:
                raise ToolError(await self._fell(problem)) from problem
        self.told = told
        if told.snapshot is not None:
            text = self.context.hide(told.snapshot)
            self.lines, self.elements = folded(text), elements(told.snapshot)
            self.secret = secrets(told.snapshot)
        elif not told.failed and told.tab == 0:
            self.lines, self.elements, self.secret = [], {}, frozenset()
        return told

    async def _answer(self, n: int) -> Told:
        assert self.boxed.stdout is not None
        while True:
            while (end := self._rest.find(b"\n")) < 0:
                piece = await self.boxed.stdout.read(65536)
                if not piece:
                    raise EOFError
                self._rest += piece
                if len(self._rest) > MOST_LINE:
                    raise ValueError("its answer is too long")
            told = msgspec.json.decode(bytes(self._rest[:end]), type=Told)
            del self._rest[: end + 1]
            if told.n == n:  # else of a call that was given up
                return told

    async def _fell(self, problem: Exception) -> str:
        """Words for a browser that is gone."""
        why = str(problem)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_QUIT_S):
                ended = await self.boxed.wait()
                why = ended.why or why or f"exit code {ended.code}"
        await self.stop(kill=True)
        return f"the browser has ended ({why}); open the page again"

    # --- its end --------------------------------------------------------------------------

    def rest(self, seconds: float) -> None:
        """Nobody uses it: end it when that lasts so long; 0: it is used."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if seconds:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(seconds, lambda: asyncio.ensure_future(self.stop()))

    def linger(self) -> None:
        """Its job waits for the owner: what he is asked about must still be there afterwards."""
        self.rest(max(self.context.web.browser.wait_s, 0.001))  # 0 would be: not at all

    async def stop(self, *, kill: bool = False) -> None:
        """End it; what its profile keeps is written before, unless it is killed."""
        self.rest(0.0)
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(kill))
        await asyncio.shield(self._stopping)

    async def _stop(self, kill: bool) -> None:
        try:
            if not kill and self.profile and self.boxed.ended is None:
                await self._leave()
            await self.boxed.kill()
        finally:
            if self.lock >= 0:
                os.close(self.lock)
                self.lock = -1
            self.context.background.drop(self.context.job, HANDLE, self)
            await asyncio.to_thread(shutil.rmtree, self.stage, ignore_errors=True)

    async def _leave(self) -> None:
        """Let it end by itself."""
        assert self.boxed.stdin is not None
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_QUIT_S):
                self.boxed.stdin.write(msgspec.json.encode(Order(0, "close")) + b"\n")
                await self.boxed.wait()


def _refs(order: Order) -> list[str]:
    return [order.ref, *order.fields] if order.ref else list(order.fields)


def of(context: Context) -> Session | None:
    """The browser of this job, if one runs."""
    found = context.background.of(context.job).get(HANDLE)
    return found if isinstance(found, Session) and not found.over else None


async def start(context: Context, profile: str, first: Host) -> Session:
    """Start a browser for a job. Raises ``ToolError``, and what walls raise."""
    terms = context.web.browser
    if context.walls is None:
        raise ToolError("there are no sandboxes on this worker, so no browser may run here")
    running = [one for one in context.background.all() if isinstance(one, Session)]
    if sum(one.boxed.ended is None for one in running) >= terms.at_once:
        raise ToolError(
            f"{terms.at_once} browsers run here already, of other jobs; try again later"
        )
    program = program_of(terms)
    lock = -1 if not profile else await _lock(profile_folder(context, profile), profile)
    stage: Path | None = None
    boxed: Boxed | None = None
    try:
        stage, mounts = _folders(context, profile)
        hosts = hosts_of(terms, first)
        boxed = await context.walls.start(
            box(context, hosts, mounts),
            [sys.executable, "-P", "-B", "-m", "stead.agent.browser.child"],
            stdin=PIPE, stdout=PIPE,
        )  # fmt: skip
        made = Session(context, boxed, stage, profile, hosts, lock)
        await _started(made, Start(
            program=str(program), profile=str(profile_folder(context, profile)) if profile else "",
            out=str(made.out), proxy=f"http://127.0.0.1:{PORT}",
            most_bytes=int(terms.max_download_mb * 1_000_000),
        ))  # fmt: skip
    except BaseException:
        if boxed is not None:
            await asyncio.shield(boxed.kill())
        if lock >= 0:
            os.close(lock)
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        raise
    context.background.keep(context.job, HANDLE, made)
    return made


async def _started(made: Session, start: Start) -> None:
    assert made.boxed.stdin is not None
    try:
        async with asyncio.timeout(_START_S):
            made.boxed.stdin.write(msgspec.json.encode(start) + b"\n")
            told = await made._answer(0)
    except TimeoutError:
        raise ToolError(f"the browser did not start within {_START_S:g} s") from None
    except (OSError, EOFError, ValueError, msgspec.DecodeError) as problem:
        ended = await made.boxed.wait()
        why = ended.why or str(problem) or f"exit code {ended.code}"
        raise ToolError(f"the browser did not start: {why}") from problem
    if told.failed:
        raise ToolError(told.failed)


def _folders(context: Context, profile: str) -> tuple[Path, tuple[Mount, ...]]:
    """The folder for files of this session, and what the sandbox sees."""
    top = keep_of(context) / "stage"
    top.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(top)
    stage = Path(tempfile.mkdtemp(dir=top))
    for name in ("in", "out"):
        (stage / name).mkdir(mode=0o755)
    mounts: tuple[Mount, ...] = (Mount(stage / "in"), Mount(stage / "out", write=True))
    if profile:
        folder = profile_folder(context, profile)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mounts += (Mount(folder, write=True),)
    return stage, mounts


def _sweep(top: Path) -> None:
    """What workers left that were killed."""
    for folder in top.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > 2 * _LIFE_S:
                shutil.rmtree(folder, ignore_errors=True)


async def _lock(folder: Path, name: str) -> int:
    """The only one that uses a profile, of all processes on this machine. Raises ``ToolError``."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder.with_name(f"{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _LOCK_S
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise ToolError(
                        f"the profile {name!r} is in use by another job; try again later, or open"
                        " the page without a profile"
                    ) from None
            await asyncio.sleep(0.1)
    except BaseException:
        os.close(fd)
        raise
