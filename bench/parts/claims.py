"""Claim and finish per second over HTTP, by 1 and by 32 workers, each waiting for every answer.

The jobs lie in the database before the gateway starts. The same load goes in turn to
the bare server, which answers at once with constants: the limit of this HTTP server and
this load generator on this machine.
"""

from __future__ import annotations

import asyncio
from statistics import median

from bench.figures import Figure, Place, of_runs, quantile
from bench.house import bare_server, house
from bench.load import Load
from bench.noops import fill
from bench.wire import Wire
from stead.store.sqlite import SqliteStore

RUNS = 5
SECONDS = 1.2
JOBS = 60_000
AIM = 2_000


def run(place: Place) -> list[Figure]:
    """Medians of ``RUNS`` runs of each kind, interleaved."""
    rates: dict[tuple[str, int], list[float]] = {}
    waits: list[float] = []
    with house(place, recall=False) as stead, bare_server() as peer:
        store = SqliteStore(stead.home / "state.db", stead.home / "backups")
        try:
            asyncio.run(fill(store, JOBS))
        finally:
            store.close()
        stead.gateway_up()
        with Wire(stead.port) as wire:
            wire.good(stead.as_node("/node/v1/hello", {"boot": "bench"}))
        for n in range(RUNS + 1):
            for callers in (1, 32):
                for name, port in (("bare", peer), ("stead", stead.port)):
                    load = Load(port, stead.node_key, callers, SECONDS, f"{n}-{callers}")
                    rate = load.run()
                    if n:  # the first one warms up
                        rates.setdefault((name, callers), []).append(rate)
                        if (name, callers) == ("stead", 32):
                            waits += load.rounds_s

    def figure(callers: int, aim: float | None, more: str = "") -> Figure:
        bare = median(rates["bare", callers])
        share = 100 * median(rates["stead", callers]) / bare
        return of_runs(
            f"claim and finish over HTTP, {callers} caller{'s' if callers > 1 else ''}",
            rates["stead", callers], "/s", aim=aim, more=True,
            beside=f"{share:.0f}% of the bare server's {bare:,.0f} /s{more}",
        )  # fmt: skip

    middle, far = 1000 * quantile(waits, 0.5), 1000 * quantile(waits, 0.99)
    slow = f"; a claim and its finish take p50 {middle:.0f}, p99 {far:.0f} ms"
    return [figure(1, None), figure(32, AIM, slow)]
