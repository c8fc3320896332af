"""The light services of a gateway: started when asked for, dropped when idle, raised again.

.. code-block:: none

    idle -> loading -> ready -> idle        (nobody asked for idle_s, or the owner said stop)
               \\         \\-> fallen -> loading (after a wait that doubles each time)
                \\-> failed -> loading          (the same, when it is asked for again)
    off, missing: cannot be started; why says what to do
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from stead.core.errors import NotFound, ServiceFell, ServiceMissing, ServiceNotReady, SteadError
from stead.core.keys import new_key
from stead.services.kinds import KINDS, Kind, Means, Options, means_of
from stead.services.orders import Orders, Word
from stead.services.process import Process

log = logging.getLogger("stead.services")

_BACKOFF_S = 0.5
_BACKOFF_MAX_S = 60.0
_STEADY_S = 30.0
"""One that stood so long before it fell is raised as if it had never fallen before."""
_RENEW_S = 0.5
"""How long after its last request one whose settings have changed is ended: who was just told its
address has used it by then."""
_PATIENCE_S = 3.0
"""A caller waits so long for a service that may not be tried yet; else it is told when."""

_MOST_THREADS = 8
"""Models as small as these get no faster with more."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class At:
    """Where a service answers now: an OpenAI-shaped API below ``url``, for the bearer ``key``.

    Good until it is dropped: ask again for each request.
    """

    url: str
    """``http://127.0.0.1:PORT/v1``."""
    key: str = field(repr=False)
    model: str


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service as ``stead services list`` shows it."""

    name: str
    phase: str
    """``idle``, ``loading``, ``ready``, ``fallen``, ``failed``, ``missing`` or ``off``."""
    words: str
    apis: tuple[str, ...]
    means: str = ""
    model: str = ""
    pid: int = 0
    memory_mb: int = 0
    busy: int = 0
    """Requests that it works on."""
    falls: int = 0
    """How often it fell since the gateway started."""
    since: float = 0.0
    """When this phase began, in seconds since 1970."""
    install: str = ""
    """The command that installs it, where it is missing."""


class Services:
    """All light services. Costs nothing until one is asked for."""

    def __init__(self, options: Options, kinds: Iterable[Kind] = KINDS) -> None:
        self._all = {kind.name: _Service(kind, options) for kind in kinds}
        self._by_lane = {lane: one for one in self._all.values() for lane in one.kind.lanes}

    async def backend(self, name: str, tell: Tell | None = None) -> At:
        """Where a service, or a lane of it, answers; started first where it is not running.

        ``tell`` gets words of progress while that takes time. Raises ``ServiceMissing`` (with the
        command that installs it), ``ServiceOff``, ``ServiceNotReady``, ``ServiceFell`` and, for
        a name that there is not, ``NotFound``.
        """
        return await self._named(name).ready(tell)

    def model(self, name: str) -> str:
        """The name of the model that it runs here, or would run. Raises as :meth:`backend`."""
        return self._named(name).means().model

    def gives(self, name: str) -> bool:
        """Whether a service, or a lane of it, runs or could be started here."""
        return self._named(name).given()

    def states(self) -> list[ServiceState]:
        return [service.state() for service in self._all.values()]

    def state(self, name: str) -> ServiceState:
        return self._named(name).state()

    def configure(self, options: Options) -> None:
        """New settings. A running service is started anew with them as soon as it is not busy."""
        for service in self._all.values():
            changed = options != service.options
            service.options = options
            if changed:
                service.renew()

    async def stop(self, name: str) -> None:
        """Drop it now; it is started again when asked for."""
        await self._named(name).drop("it was stopped")

    async def aclose(self) -> None:
        """End all of them, and start none any more."""
        await asyncio.gather(*(service.aclose() for service in self._all.values()))

    def _named(self, name: str) -> _Service:
        service = self._all.get(name) or self._by_lane.get(name)
        if service is None:
            raise NotFound(what=f"service {name!r}; there are: {', '.join(self._all)}")
        return service


class _Service:
    """One service: its process, if it has one, and when it may have one again."""

    def __init__(self, kind: Kind, options: Options) -> None:
        self.kind = kind
        self.options = options
        self._phase = "idle"
        self._words = ""
        self._since = time.time()
        self._means: Means | None = None
        self._process: Process | None = None
        self._at: At | None = None
        self._starting: asyncio.Task[At] | None = None
        self._arrived: asyncio.Future[int] | None = None
        """While it loads: its port, or why not."""
        self._watchers: set[Tell] = set()
        self._busy = 0
        self._mb = 0
        self._falls = 0
        self._failures = 0
        """In a row."""
        self._not_before = 0.0
        self._last = 0.0
        """When it was last asked for, by the loop's clock."""
        self._ready_at = 0.0
        self._ending = ""
        """Why it is being ended; empty: nobody wants it to."""
        self._why = ""
        """What it said itself of its end."""
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._closed = False
        self._stale = False
        """It runs with settings that hold no longer."""

    # --- for callers -------------------------------------------------------------------------

    def means(self) -> Means:
        return means_of(self.kind, self.options)

    def given(self) -> bool:
        if self._process is not None:
            return True
        try:
            self.means()
        except SteadError:
            return False
        return True

    async def ready(self, tell: Tell | None) -> At:
        self._last = asyncio.get_running_loop().time()
        if self._at is not None and not self._ending:
            return self._at
        if self._closed:
            raise ServiceNotReady(name=self.kind.name, why="stead is being stopped")
        self.means()  # what is missing is said at once
        wait_s = self._not_before - self._last
        if self._starting is None and wait_s > _PATIENCE_S:
            raise self._fell(wait_s)
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
            self._starting.add_done_callback(self._started)
        starting = self._starting
        if tell is not None:
            self._watchers.add(tell)
            tell(self._words or f"starting the service {self.kind.name}")
        try:
            # Many may wait for it: one that leaves takes it from nobody.
            await asyncio.wait((starting,))
        finally:
            if tell is not None:
                self._watchers.discard(tell)
        if starting.cancelled():
            raise ServiceNotReady(name=self.kind.name, why="it was stopped meanwhile")
        return starting.result()

    def state(self) -> ServiceState:
        phase, words, install = self._phase, self._words, ""
        if self._process is None and phase in ("idle", "fallen", "failed"):
            try:
                means = self.means()
                words = words or f"{self.kind.words}: ready to be started ({means.name})"
            except SteadError as error:
                phase, words = ("missing", error.message)
                if isinstance(error, ServiceMissing):
                    install = str(error.details.get("install", ""))
                else:
                    phase = "off"
        shown = self._means if self._process is not None else None
        return ServiceState(
            self.kind.name, phase, words, self.kind.apis,
            means=shown.name if shown else "", model=shown.model if shown else "",
            pid=self._process.pid if self._process else 0, memory_mb=self._mb, busy=self._busy,
            falls=self._falls, since=self._since, install=install,
        )  # fmt: skip

    async def drop(self, why: str) -> None:
        self._cancel_timer()
        starting = self._starting
        if starting is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        process = self._process
        if process is None:
            if self._phase in ("fallen", "failed"):
                self._be("idle", "")
            return
        self._ending = why
        await process.end()

    def renew(self) -> None:
        """The settings have changed: what runs with the old ones ends when it is not busy."""
        if self._at is not None:
            self._stale = True
            self._arm(0.0)

    async def aclose(self) -> None:
        self._closed = True
        await self.drop("stead is being stopped")

    # --- its life ----------------------------------------------------------------------------

    async def _start(self) -> At:
        loop = asyncio.get_running_loop()
        if (wait_s := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        if self._process is not None:  # the one before is on its way out
            await self._process.end()
        means = self._means = self.means()
        self._be("loading", f"loading {self.kind.words} ({means.name})")
        self._ending = self._why = ""
        self._arrived = loop.create_future()
        options, orders = self.options, self._orders(means)
        try:
            self._process = await Process.start(orders, self._heard, self._gone)
            async with asyncio.timeout(self.options.start_s):
                port = await self._arrived
        except TimeoutError:
            self._ending = "it did not come up"
            await self._end_process()
            raise self._failed(
                f"it was not ready within {self.options.start_s:g} s (services.start_s)"
            ) from None
        except OSError as error:
            raise self._failed(f"its process could not be started: {error.strerror}") from error
        except asyncio.CancelledError:
            self._ending = self._ending or "it was stopped"
            await self._end_process()
            raise
        finally:
            self._arrived = None
        self._at = At(f"http://127.0.0.1:{port}/v1", orders.key, means.model)
        self._ready_at = self._last = loop.time()
        self._stale = options is not self.options
        self._be("ready", f"{self.kind.words} ({means.name})")
        self._arm(self.options.idle_s)
        return self._at

    def _orders(self, means: Means) -> Orders:
        options = self.options
        return Orders(
            service=self.kind.name, means=means.name, engine=means.engine, model=means.model,
            key=new_key("runtime"), home=str(options.home),
            threads=options.threads or min(_cores(), _MOST_THREADS), memory_mb=options.memory_mb,
            request_s=options.request_s, max_body=options.max_body, whisper=options.whisper,
            voice=options.voice,
        )  # fmt: skip

    async def _end_process(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.end()

    def _started(self, task: asyncio.Task[At]) -> None:
        self._starting = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("the service %s did not come up: %s", self.kind.name, error)

    def _heard(self, word: Word) -> None:
        if word.mb:
            self._mb = word.mb
        if word.now == "loading":
            self._be("loading", word.words)
        elif word.now == "ready":
            if self._arrived is not None and not self._arrived.done():
                self._arrived.set_result(word.port)
        elif word.now == "busy":
            self._busy = word.busy
            self._last = asyncio.get_running_loop().time()
        elif word.now in ("failed", "ending"):
            self._why = word.words

    def _gone(self, code: int) -> None:
        """Its process is over."""
        process, self._process = self._process, None
        was_ready, self._at = self._at is not None, None
        self._busy = self._mb = 0
        self._cancel_timer()
        if self._ending:
            self._failures = 0 if was_ready else self._failures
            self._be("idle", "")
            log.info("the service %s has ended: %s", self.kind.name, self._ending)
            if self._arrived is not None and not self._arrived.done():
                self._arrived.cancel()
            return
        why = self._why or _how(code, process.last_words if process else "")
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_exception(self._failed(why))
            return
        if was_ready:
            self._fall(why)

    def _fall(self, why: str) -> None:
        loop = asyncio.get_running_loop()
        self._falls += 1
        if loop.time() - self._ready_at >= _STEADY_S:
            self._failures = 0
        wait_s = self._count_failure()
        self._be("fallen", f"it fell: {why}")
        log.warning("the service %s fell (%s); next try in %g s", self.kind.name, why, wait_s)
        if not self._closed:  # it was wanted a moment ago: raise it before it is asked for again
            self._timer = loop.call_later(wait_s, self._raise_again)

    def _raise_again(self) -> None:
        idle = asyncio.get_running_loop().time() - self._last
        if self._closed or self._starting is not None or self._process is not None:
            return
        if self.options.idle_s and idle >= self.options.idle_s:
            self._be("idle", "")
            return
        self._starting = asyncio.ensure_future(self._start())
        self._starting.add_done_callback(self._started)

    def _failed(self, why: str) -> ServiceNotReady:
        self._count_failure()
        self._be("failed", why)
        return ServiceNotReady(name=self.kind.name, why=why)

    def _count_failure(self) -> float:
        wait_s: float = min(_BACKOFF_MAX_S, _BACKOFF_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._not_before = asyncio.get_running_loop().time() + wait_s
        return wait_s

    def _fell(self, wait_s: float) -> ServiceFell:
        return ServiceFell(name=self.kind.name, why=self._words, seconds=max(1, round(wait_s)))

    # --- idleness ----------------------------------------------------------------------------

    def _arm(self, in_s: float) -> None:
        self._cancel_timer()
        if self.options.idle_s > 0 or self._stale:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.05, in_s), self._look_idle)

    def _look_idle(self) -> None:
        self._timer = None
        if self._at is None or self._process is None:
            return
        idle = asyncio.get_running_loop().time() - self._last
        if self._busy:
            self._arm(_RENEW_S if self._stale else self.options.idle_s)
        elif idle < (min(_RENEW_S, self.options.idle_s) if self._stale else self.options.idle_s):
            self._arm(_RENEW_S if self._stale else self.options.idle_s - idle)
        else:
            self._ending = f"nobody asked it anything for {self.options.idle_s:g} s"
            if self._stale:
                self._ending = "its settings have changed"
            self._at = None  # who asks from now on gets a new one
            self._leaving = asyncio.ensure_future(self._process.end(self.options.request_s))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _be(self, phase: str, words: str) -> None:
        if phase != self._phase:
            self._since = time.time()
        self._phase, self._words = phase, words
        for tell in tuple(self._watchers):
            tell(words)


def _cores() -> int:
    """Processors that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _how(code: int, last_words: str) -> str:
    """How a process ended, in words."""
    if code == -9:
        return "its process was killed (perhaps the machine ran out of memory)"
    how = f"by signal {-code}" if code < 0 else f"with code {code}"
    return f"its process ended {how}" + (f": {last_words}" if last_words else "")


def words_for_status(states: Sequence[ServiceState]) -> tuple[list[str], list[str]]:
    """What works and what does not, for ``stead status``: only of services that run or fell."""
    works, not_yet = [], []
    for state in states:
        if state.phase in ("ready", "loading"):
            works.append(f"service {state.name} is {state.phase} ({state.memory_mb} MB)")
        elif state.phase in ("fallen", "failed"):
            not_yet.append(f"service {state.name}: {state.words}")
    return works, not_yet
