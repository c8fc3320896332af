"""`stead status`: from calling the command to its exit, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from bench.figures import Figure, Place, of_runs
from bench.house import Measured, house, python_start

RUNS = 15
AIM_MS = 150.0


def run(place: Place) -> list[Figure]:
    """Medians of ``RUNS`` calls, with the gateway up and with it down."""
    up, down, floor = [], [], []
    with house(place, model="scripted") as stead:
        stead.all_up()
        for n in range(RUNS + 1):
            took, empty = _status(stead, 0), python_start()
            if n:
                up.append(took)
                floor.append(1000 * empty)
        for part in ("node", "gateway", "model"):
            stead.stop(part)
        for n in range(RUNS + 1):
            took = _status(stead, 3)
            if n:
                down.append(took)
    beside = f"an empty Python {median(floor):.0f} ms"
    return [
        of_runs("`stead status`", up, "ms", aim=AIM_MS, beside=beside),
        of_runs("`stead status`, gateway down", down, "ms", beside=beside),
    ]


def _status(stead: Measured, expected: int) -> float:
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "stead", "--home", str(stead.home), "status"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    took = 1000 * (time.perf_counter() - begun)
    if done.returncode != expected:
        raise RuntimeError(f"status ended with {done.returncode}: {done.stdout!r} {done.stderr!r}")
    return took
