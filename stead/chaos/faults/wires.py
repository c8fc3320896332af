"""Faulty proxies on a thread of their own, for a harness that has no event loop.

::

    with Wires() as wires:
        wire = wires.lay(("127.0.0.1", gateway_port), seed=7)   # node(gateway=wire.url)
        wire.weather(Weather(duplicate=0.1, lose_answer=0.05))
        wire.one_way("answers")
        wire.heal()
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from stead.chaos.faults.proxy import Proxy, Way, Weather

T = TypeVar("T")

#: Each of these calls takes no time; one that does is a fault of the harness, not of the tested.
_PATIENCE_S = 60.0


class Wire:
    """One way from a node to its gateway. The calls are those of ``Proxy``, from any thread."""

    def __init__(self, wires: Wires, proxy: Proxy) -> None:
        self._wires = wires
        self._proxy = proxy
        self.host, self.port, self.url = proxy.host, proxy.port, proxy.url

    def weather(self, weather: Weather) -> None:
        """What happens to single requests from now on."""
        self._soon(lambda: setattr(self._proxy, "weather", weather))

    def cut(self) -> None:
        self._wires.run(self._proxy.cut())

    def reset(self) -> None:
        self._soon(self._proxy.reset)

    def black_hole(self) -> None:
        self._soon(self._proxy.black_hole)

    def one_way(self, lost: Way = "answers") -> None:
        self._soon(lambda: self._proxy.one_way(lost))

    def heal(self) -> None:
        self._wires.run(self._proxy.heal())

    def settled(self) -> None:
        """Wait until no copy and no held request is on its way."""
        self._wires.run(self._proxy.settled(), timeout=None)

    def counts(self) -> dict[str, int]:
        """What was seen and done so far, by kind."""
        return dict(self._proxy.counts)

    def _soon(self, work: Callable[[], None]) -> None:
        async def there() -> None:
            work()

        self._wires.run(there())


class Wires:
    """The thread and its proxies; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._proxies: list[Proxy] = []
        self._thread.start()

    def lay(
        self,
        upstream: tuple[str, int],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        device: str = "",
        seed: int = 0,
    ) -> Wire:
        """A proxy to ``upstream``, listening. Raises ``OSError`` where it cannot listen."""
        proxy = Proxy(upstream, host=host, port=port, device=device, seed=seed)
        self.run(proxy.start())
        self._proxies.append(proxy)
        return Wire(self, proxy)

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = _PATIENCE_S) -> T:
        """Have the thread do it, and wait for that."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def close(self) -> None:
        if self._loop.is_closed():
            return
        for proxy in self._proxies:
            self.run(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Wires:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
