"""Start to ready: `stead up` until `/readyz` answers 200, seen by a poller.

The first start makes the database and the keys; the later ones find them. The floor
beside: a Python that starts and does nothing.
"""

from __future__ import annotations

import json
import time
from statistics import median

from bench.figures import Figure, Place, of_runs
from bench.house import Measured, answers, house, python_start, wait_for
from bench.wire import Wire, get

RUNS = 5
AIM_S = 2.0
_EVERY_S = 0.004


def run(place: Place) -> list[Figure]:
    """The first start, and the median of ``RUNS`` later ones."""
    ready, hands, floor, stops = [], [], [], []
    with house(place, model="scripted") as stead:
        for _ in range(RUNS + 1):
            begun = time.perf_counter()
            stead.start("up")
            wait_for(lambda: answers(stead.port, "/readyz"), 30, "/readyz", _EVERY_S)
            ready.append(time.perf_counter() - begun)
            wait_for(lambda: _node_alive(stead), 30, "the node", _EVERY_S)
            hands.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            stead.stop("up")
            stops.append(time.perf_counter() - begun)
            floor.append(python_start())
    beside = f"the first start {ready[0]:.2f} s; an empty Python {median(floor):.3f} s"
    return [
        of_runs("start to ready, second start", ready[1:], "s", aim=AIM_S, beside=beside),
        of_runs("start to a connected node, second start", hands[1:], "s"),
        of_runs("stop", stops, "s"),
    ]


def _node_alive(stead: Measured) -> bool:
    with Wire(stead.port) as wire:
        status = json.loads(wire.good(get("/api/v1/status", stead.key)))
    return any(node["alive"] for node in status["nodes"])
