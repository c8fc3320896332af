"""Memory as the gateway uses it: questions to the process that keeps the index.

The process (:mod:`stead.memory.child`) is started at the first question, ended when nobody has
asked it anything for a while, and started anew when it falls. Nothing heavy is imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from stead.core.errors import SteadError
from stead.memory.index import Progress, Report
from stead.memory.nouns import Entry, Found, Question
from stead.memory.wire import HEAD, Ask, EmbedAt, Orders, Told, frame

log = logging.getLogger("stead.memory")

Embedding = Callable[[bool], Awaitable[EmbedAt | None]]
"""Where embeddings are made; None: nowhere now. True: start what makes them, if need be."""

_START_S = 60.0
_QUICK_S = 30.0
_BACKOFF_S = (0.0, 0.5, 2.0, 10.0, 60.0)
_EMBED_AGAIN_S = 60.0


class MemoryAway(SteadError):
    """Memory cannot be searched: {why}"""


class Memory:
    """The remembered things of a home.

    ``idle_s``: so long after its last use the process ends. ``look_s``: files are looked at anew
    when they were not for so long. ``embedding``: None: meanings are not compared.
    """

    def __init__(
        self,
        home: Path,
        *,
        idle_s: float = 900.0,
        look_s: float = 2.0,
        embedding: Embedding | None = None,
    ) -> None:
        self._home = home
        self._idle_s = idle_s
        self._look_s = look_s
        self._embedding = embedding
        self._process: _Process | None = None
        self._starting: asyncio.Task[_Process] | None = None
        self._sent: EmbedAt | None = None
        self._embed_task: asyncio.Task[None] | None = None
        self._embed_tried = -1e9
        self._falls = 0
        self._fell_at = -1e9
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._told: dict[str, Any] = {}
        self._trouble = ""
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether there is anything to search at all; costs no process."""
        if self._process is not None:
            return True
        for folder in ("memory", "knowledge"):
            with contextlib.suppress(OSError), os.scandir(self._home / folder) as found:
                if any(True for _ in found):
                    return True
        return False

    @property
    def running(self) -> bool:
        return self._process is not None

    async def search(
        self, question: Question, within_s: float = 5.0, *, fresh: bool = True
    ) -> Found:
        """What fits, best first. Never raises but when it is cancelled: ``stale`` says why there
        is nothing, or perhaps not all. ``fresh``: files that have just changed are read first, as
        far as there is time."""
        try:
            async with asyncio.timeout(within_s):
                told = await self._ask(Ask(0, "search", question, within_s, fresh), embed=True)
        except TimeoutError:
            return Found(stale=f"the index did not answer within {within_s:g} s")
        except SteadError as error:
            return Found(stale=error.message)
        return told.found or Found(stale="the index gave no answer")

    async def entries(self, keys: Sequence[str], within_s: float = 5.0) -> tuple[Entry, ...]:
        """Those of these keys that there still are. Raises ``MemoryAway``."""
        return (await self._within(Ask(0, "entries", keys=tuple(keys)), within_s)).entries

    async def refresh(self, within_s: float = 600.0) -> Report:
        """Look at the files now; what has changed is found from then on. Raises ``MemoryAway``."""
        told = await self._within(Ask(0, "refresh"), within_s)
        return told.report or Report(stale="the index gave no answer")

    async def reindex(
        self, progress: Progress = lambda done, total: None, within_s: float = 86_400.0
    ) -> Report:
        """Make the index anew; nothing of the old one is left. Raises ``MemoryAway``."""
        process = await self._up()
        process.watchers.add(progress)
        try:
            told = await self._within(Ask(0, "reindex"), within_s)
        finally:
            process.watchers.discard(progress)
        return told.report or Report(stale="the index gave no answer")

    async def stats(self, within_s: float = 10.0) -> dict[str, Any]:
        """How the index is. Raises ``MemoryAway``."""
        return (await self._within(Ask(0, "stats"), within_s)).stats

    def state(self) -> dict[str, Any]:
        """What is known of the index without asking: ``running``, and, once it has run,
        ``entries``, ``stale`` and ``model``."""
        return {"running": self.running, "pid": self._process.pid if self._process else 0,
                **self._told}  # fmt: skip

    def remarks(self) -> list[str]:
        """For `stead status`."""
        if not self.running or "entries" not in self._told:
            return []
        model = self._told["model"]
        by = f", meanings by {model}" if model else ""
        return [f"memory: {self._told['entries']:,} entries can be searched{by}"]

    def troubles(self) -> list[str]:
        """What is the matter with it, for `stead status`."""
        return [f"memory: {said}" for said in (self._trouble, self._told.get("stale")) if said]

    def nudge(self) -> None:
        """Files may have changed. Costs nothing where no process runs."""
        if self._process is not None:
            self._process.send(Ask(0, "nudge"))

    async def aclose(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._starting, self._embed_task):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._process is not None:
            await self._process.end()
        if self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    # --- asking --------------------------------------------------------------------------------

    async def _within(self, ask: Ask, within_s: float) -> Told:
        try:
            async with asyncio.timeout(within_s):
                return await self._ask(ask)
        except TimeoutError:
            raise MemoryAway(why=f"the index did not answer within {within_s:g} s") from None

    async def _ask(self, ask: Ask, *, embed: bool = False) -> Told:
        """Asks again, once, where the process fell meanwhile."""
        for again in (True, False):
            process = await self._up()
            if embed:
                await self._tell_embedding(process)
            try:
                told = await process.ask(ask)
            except _Fell as error:
                if again and not self._closed:
                    continue
                raise MemoryAway(why=f"its process fell ({error})") from None
            if told.error:
                log.warning("the index failed on %s: %s", ask.op, told.error)
                raise MemoryAway(why=told.error)
            return told
        raise AssertionError

    async def _up(self) -> _Process:
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        if self._process is not None:
            return self._process
        if self._closed:
            raise MemoryAway(why="stead is being stopped")
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
            # Who waited for it may be gone by the time it fails.
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        starting = self._starting
        await asyncio.wait((starting,))  # many may wait for it: one that leaves takes it from none
        if starting.cancelled():
            raise MemoryAway(why="stead is being stopped")
        return starting.result()

    async def _start(self) -> _Process:
        loop = asyncio.get_running_loop()
        try:
            wait_s = _BACKOFF_S[min(self._falls, len(_BACKOFF_S) - 1)]
            if (left := self._fell_at + wait_s - loop.time()) > 0:
                await asyncio.sleep(left)
            try:
                process = await _Process.start(
                    Orders(str(self._home), self._look_s), self._word, self._gone
                )
            except OSError as error:
                raise MemoryAway(why=f"its process could not be started ({error})") from error
            try:
                async with asyncio.timeout(_START_S):
                    await process.ready
            except (TimeoutError, _Fell) as error:
                process.kill()
                why = str(error) or f"it was not ready within {_START_S:g} s"
                raise MemoryAway(why=f"its process did not come up ({why})") from None
            except asyncio.CancelledError:
                process.kill()
                raise
            self._process, self._sent, self._trouble = process, None, ""
            self._last = loop.time()
            self._arm()
            return process
        finally:
            self._starting = None

    def _gone(self, process: _Process, code: int) -> None:
        if self._process is process:
            self._process = None
        if process.wanted_end or self._closed:
            return
        now = asyncio.get_running_loop().time()
        self._falls = self._falls + 1 if now - process.since < _QUICK_S else 1
        self._fell_at = now
        self._trouble = f"the index process fell ({process.last_words or f'code {code}'})"
        log.warning("%s", self._trouble)

    # --- idleness ------------------------------------------------------------------------------

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        left = max(0.05, self._last + self._idle_s - loop.time())
        self._timer = loop.call_later(left, self._look_idle)

    def _look_idle(self) -> None:
        self._timer = None
        process = self._process
        if process is None or self._closed:
            return
        now = asyncio.get_running_loop().time()
        if process.busy or now - self._last < self._idle_s:
            self._last = now if process.busy else self._last
            self._arm()
            return
        self._process = None
        task = asyncio.ensure_future(process.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    # --- embeddings ----------------------------------------------------------------------------

    async def _tell_embedding(self, process: _Process) -> None:
        """Where embeddings are made, if they are; what makes them is started on the side."""
        if self._embedding is None:
            return
        at = await self._embedding(False)
        if at is None:
            self._want_embedding()
        elif at != self._sent:
            self._sent = at
            process.send(Ask(0, "embed", embed=at))

    def _word(self, told: Told) -> None:
        """What the process says unasked."""
        if told.word == "want embed":
            self._want_embedding()
        elif told.word == "state":
            self._told = told.stats

    def _want_embedding(self) -> None:
        now = asyncio.get_running_loop().time()
        busy = self._embed_task is not None and not self._embed_task.done()
        if self._embedding is None or busy or now - self._embed_tried < _EMBED_AGAIN_S:
            return
        self._embed_tried = now
        self._embed_task = asyncio.ensure_future(self._start_embedding(self._embedding))

    async def _start_embedding(self, embedding: Embedding) -> None:
        try:
            at = await embedding(True)
        except SteadError as error:
            log.info("meanings are not compared: %s", error.message)
            return
        if at is not None and self._process is not None:
            self._sent = at
            self._process.send(Ask(0, "embed", embed=at))


class _Fell(Exception):
    """The process is gone."""


class _Process:
    """The running process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        word: Callable[[Told], None],
        gone: Callable[[_Process, int], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        self._word = word
        self._gone = gone
        self._count = 0
        self._waiting: dict[int, asyncio.Future[Told]] = {}
        self._errors = ""
        self.since = loop.time()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.wanted_end = False
        self.watchers: set[Progress] = set()
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(
        cls,
        orders: Orders,
        word: Callable[[Told], None],
        gone: Callable[[_Process, int], None],
    ) -> _Process:
        """Raises ``OSError``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "stead.memory.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(orders.threads),
            cwd="/",
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(frame(orders))
        return cls(process, word, gone)

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        lines = [line for line in self._errors.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def send(self, ask: Ask) -> None:
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(frame(ask))

    async def ask(self, ask: Ask) -> Told:
        """Raises ``_Fell``."""
        self._count += 1
        number = self._count
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        if self._listening.done():
            raise _Fell(self.last_words or "it is gone")
        self._waiting[number] = future
        try:
            self.send(msgspec.structs.replace(ask, id=number))
            return await future
        finally:
            self._waiting.pop(number, None)

    async def end(self, grace_s: float = 3.0) -> None:
        self.wanted_end = True
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._process.stdin.close()
        await asyncio.wait((self._listening,), timeout=grace_s)
        if not self._listening.done():
            self.kill()
            await asyncio.wait((self._listening,), timeout=5.0)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _listen(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        errors = asyncio.ensure_future(self._read_errors())
        decode = msgspec.json.Decoder(Told).decode
        try:
            while True:
                (size,) = HEAD.unpack(await stdout.readexactly(HEAD.size))
                self._heard(decode(await stdout.readexactly(size)))
        except (asyncio.IncompleteReadError, msgspec.DecodeError, OSError):
            pass
        finally:
            self.kill()
            code = await self._process.wait()
            await asyncio.wait((errors,), timeout=1.0)
            errors.cancel()
            if self._process.stdin is not None:
                with contextlib.suppress(OSError, RuntimeError):
                    self._process.stdin.close()
            fell = _Fell(self.last_words or f"code {code}")
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(fell)
            if not self.ready.done():
                self.ready.set_exception(fell)
                self.ready.exception()  # seen: who waited for it may be gone
            self._gone(self, code)

    def _heard(self, told: Told) -> None:
        if told.id:
            future = self._waiting.get(told.id)
            if future is not None and not future.done():
                future.set_result(told)
        elif told.word == "ready":
            if not self.ready.done():
                self.ready.set_result(None)
        elif told.word == "progress":
            for watcher in tuple(self.watchers):
                watcher(told.done, told.total)
        else:
            self._word(told)

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(4096):
            self._errors = (self._errors + piece.decode("utf-8", "replace"))[-4000:]


def _environment(threads: int) -> dict[str, str]:
    """Made from nothing, so that no secret of the gateway's own can be in it (invariant 9)."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
    }
