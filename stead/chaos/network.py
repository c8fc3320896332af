"""The network between nodes and gateway: a faulty proxy for each node, in a thread of their own,
and where the kernel drops packets, a network namespace for each node."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as TooLate
from typing import Any, TypeVar

from stead.chaos.faults.netns import Namespace
from stead.chaos.faults.proxy import Proxy, Weather
from stead.chaos.plan import Fault

T = TypeVar("T")

_MOST_S = 20.0
_SETTLE_S = 8.0
#: Reports are doubled. A model call is not: no proxy repeats a POST of its own accord, and the
#: gateway could not tell the copy from a second call.
_COPIED = ("/node/",)


class Network:
    """Proxies, made before the nodes and closed after them. ``kernel``: with namespaces."""

    def __init__(self, port: int, seed: int, *, kernel: bool) -> None:
        self._port = port
        self._seed = seed
        self._kernel = kernel
        self._proxies: dict[str, Proxy] = {}
        self._spaces: dict[str, Namespace] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def lay(self, name: str, port: int) -> str:
        """A way to the gateway for the node ``name``; the host at which it is to knock."""
        host, device = "127.0.0.1", ""
        if self._kernel:
            space = self._spaces[name] = Namespace(len(self._spaces))
            space.open()
            host, device = space.host, space.device
        seed = self._seed + len(self._proxies)
        proxy = Proxy(("127.0.0.1", self._port), host=host, port=port, device=device, seed=seed)
        self._do(proxy.start())
        self._proxies[name] = proxy
        return host

    def inside(self, name: str, command: list[str]) -> list[str]:
        """The command of a node, run where its network is."""
        return self._spaces[name].command(*command) if name in self._spaces else command

    def begin(self, fault: Fault) -> None:
        """Bring a fault about."""
        if fault.kind == "drop":
            self._spaces[fault.target].cut()
            return
        if fault.kind == "loss":
            self._spaces[fault.target].lose(fault.how.get("share", 0.2))
            return
        self._do(_begin(self._proxies[fault.target], fault))

    def heal(self, name: str) -> bool:
        self._do(self._proxies[name].heal())
        if name in self._spaces:
            self._spaces[name].heal()
        return True

    def heal_all(self) -> None:
        for name in self._proxies:
            self.heal(name)

    def settle(self) -> None:
        """Wait a moment for what is still on its way: copies, held requests."""
        with contextlib.suppress(TooLate, TimeoutError):
            self._do(self._settled(), _SETTLE_S)

    async def _settled(self) -> None:
        for proxy in self._proxies.values():
            await proxy.settled()

    def counts(self) -> Counter[str]:
        """What was done to requests, of all proxies together."""
        total: Counter[str] = Counter()
        for proxy in self._proxies.values():
            total.update(proxy.counts)
        return total

    def close(self) -> None:
        with contextlib.suppress(TooLate, TimeoutError):
            for proxy in self._proxies.values():
                self._do(proxy.close())
        for space in self._spaces.values():
            space.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _do(self, work: Coroutine[Any, Any, T], most_s: float = _MOST_S) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(most_s)
        except (TooLate, TimeoutError):
            future.cancel()
            raise


async def _begin(proxy: Proxy, fault: Fault) -> None:
    share = fault.how.get("share", 1.0)
    match fault.kind:
        case "cut":
            await proxy.cut()
        case "black-hole":
            proxy.black_hole()
        case "one-way":
            proxy.one_way("answers")
        case "answers-lost":
            proxy.weather = Weather(lose_answer=share)
        case "answers-cut":
            proxy.weather = Weather(cut_answer=share, cut_within=2048)
        case "latency":
            delay_s = fault.how.get("ms", 100.0) / 1000
            proxy.weather = Weather(delay_s=delay_s, jitter_s=delay_s)
        case "trickle":
            proxy.weather = Weather(trickle=share)
        case "duplicate":
            proxy.weather = Weather(duplicate=share, copies_of=_COPIED)
        case "reorder":
            proxy.weather = Weather(reorder=share)
        case _:
            raise ValueError(f"no network knows {fault.kind}")
