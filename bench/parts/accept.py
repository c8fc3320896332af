"""Accept to durable: from a message that is sent to its acknowledgement, which is after the fsync.

Three things are done in turn, so that all see the same disk and the same machine:
4 KB written and synced, an empty request to the bare server, a message to the gateway.
"""

from __future__ import annotations

import time

from bench.disk import Probe
from bench.figures import Figure, Place, quantile
from bench.house import bare_server, house
from bench.wire import Wire, post

ROUNDS = 600
WARM_UP = 50


def run(place: Place) -> list[Figure]:
    """Percentiles over ``ROUNDS`` messages sent one after the other."""
    synced, bare, accepted = [], [], []
    with house(place, recall=False) as stead, bare_server() as peer, Probe(place.scratch) as disk:
        stead.gateway_up()
        empty = post("/", "", b"{}")
        with Wire(stead.port) as gateway, Wire(peer) as echo:
            for n in range(WARM_UP + ROUNDS):
                message = stead.as_owner(
                    "/api/v1/messages",
                    {"text": "please look after the garden", "session": f"s{n // 20}"},
                )
                sync = disk.sync()
                begun = time.perf_counter()
                echo.good(empty)
                middle = time.perf_counter()
                gateway.good(message)
                end = time.perf_counter()
                if n >= WARM_UP:
                    synced.append(1000 * sync)
                    bare.append(1000 * (middle - begun))
                    accepted.append(1000 * (end - middle))

    def figure(share: float) -> Figure:
        beside = (
            f"4 KB fsync {quantile(synced, share):.2f} ms, empty request to the same server "
            f"{quantile(bare, share):.2f} ms"
        )
        name = f"accept to durable over HTTP, p{share * 100:.0f}"
        return Figure(name, quantile(accepted, share), "ms", beside=beside)

    return [figure(0.5), figure(0.99)]
