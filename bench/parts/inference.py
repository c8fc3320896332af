"""The model door beside nginx: processor time a request and a chunk, first token, memory.

stead runs with everything on: a key, routing, policy, budget, audit and ledger. nginx is a plain
reverse proxy to the same model server, in turn with it. Each door has one core; callers and
model server share the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench.door import peers
from bench.door.load import Asking, Streaming
from bench.door.peers import Peer
from bench.figures import Figure, Place, Skipped, of_runs, quantile
from bench.house import Measured
from bench.wire import Wire

RUNS = 5
CALLERS, SECONDS = 16, 2.0
STREAMS, ROUNDS = 16, 2
#: Requests over which memory must stay flat; the issue's million by STEAD_BENCH_MANY=1000000.
MANY = int(os.environ.get("STEAD_BENCH_MANY", "100000"))
AIM_CPU_US, AIM_RATIO, AIM_CHUNK, AIM_P50_MS, AIM_P99_MS = 50.0, 3.0, 1.7, 0.7, 2.0

_SETTINGS = """
listen = "127.0.0.1:{port}"
[model]
local = "off"
main = "bench"
light = "bench"
[budget]
daily_usd = 5.0
[[backend]]
name = "bench"
url = "http://127.0.0.1:{model}/v1"
key_file = "secrets/bench.key"
models = [{{name = "bench"}}]
"""


def run(place: Place) -> Iterator[Figure]:
    """Each figure as it is known."""
    if not Path("/proc").exists():
        raise Skipped("processor time is read from /proc")
    with ExitStack() as stack:
        model = stack.enter_context(peers.backend())
        before = os.sched_getaffinity(0)
        stack.callback(os.sched_setaffinity, 0, before)
        os.sched_setaffinity(0, {max(before)})
        doors = [stack.enter_context(_stead(place, model))]
        nginx = stack.enter_context(peers.nginx(place.scratch / "nginx", model))
        if nginx is None:
            raise Skipped("nginx is not here, and could not be installed")
        doors.append(nginx)
        for name in peers.names_asked():
            peer = stack.enter_context(peers.asked(name, place.scratch / name, model))
            if peer is not None:
                doors.append(peer)
        yield from _measured(doors, Peer("direct", model, "none", os.getpid()))


def _measured(doors: list[Peer], direct: Peer) -> Iterator[Figure]:
    stead = doors[0]
    idle = {door.name: door.rss_mb() for door in doors}
    yield Figure("model door: idle memory of the gateway", idle["stead"], "MB",
                 beside=_beside(idle))  # fmt: skip
    cpu: dict[str, list[float]] = {door.name: [] for door in doors}
    rate: dict[str, list[float]] = {door.name: [] for door in doors}
    for n in range(RUNS + 1):
        for door in doors:
            asking = Asking(door.port, door.request(False), CALLERS, SECONDS if n else 1.0)
            begun = door.cpu_s()
            per_s = asking.run()
            if n:
                cpu[door.name].append(1e6 * (door.cpu_s() - begun) / asking.done)
                rate[door.name].append(per_s)
    words = _beside({name: median(runs) for name, runs in cpu.items()})
    yield of_runs(f"model door: CPU a request, {CALLERS} callers", cpu["stead"], "µs",
                  aim=AIM_CPU_US, beside=words)  # fmt: skip
    ratios = [a / b for a, b in zip(cpu["stead"], cpu["nginx"], strict=True)]
    yield of_runs("model door: of nginx's CPU a request", ratios, "times", aim=AIM_RATIO)
    yield of_runs("model door: requests", rate["stead"], "/s", more=True,
                  beside=_beside({name: median(runs) for name, runs in rate.items()}))  # fmt: skip
    yield from _streams(doors, direct)
    yield _memory(stead)


def _streams(doors: list[Peer], direct: Peer) -> Iterator[Figure]:
    first: dict[str, list[float]] = {door.name: [] for door in [*doors, direct]}
    cpu: dict[str, list[float]] = {door.name: [] for door in doors}
    for n in range(RUNS):
        for door in [direct, *doors]:
            streaming = Streaming(door.port, door.request(True), STREAMS, ROUNDS)
            begun = door.cpu_s()
            streaming.run()
            if door is not direct:
                cpu[door.name].append(1e6 * (door.cpu_s() - begun) / streaming.chunks)
            if n:
                first[door.name] += [1000 * seconds for seconds in streaming.first_s]
    yield of_runs(f"model door: CPU a chunk, {STREAMS} streams", cpu["stead"], "µs",
                  beside=_beside({name: median(runs) for name, runs in cpu.items()}))  # fmt: skip
    ratios = [a / b for a, b in zip(cpu["stead"], cpu["nginx"], strict=True)]
    yield of_runs("model door: of nginx's CPU a chunk", ratios, "times", aim=AIM_CHUNK)
    for share, aim in ((0.5, AIM_P50_MS), (0.99, AIM_P99_MS)):
        floor = quantile(first["direct"], share)
        added = {door.name: quantile(first[door.name], share) - floor for door in doors}
        yield Figure(f"model door: first token added, p{share * 100:.0f}", added["stead"], "ms",
                     aim, beside=_beside(added))  # fmt: skip


def _memory(stead: Peer) -> Figure:
    """What many requests leave behind, against what the first tenth of them did."""
    request = stead.request(False)
    Asking(stead.port, request, CALLERS, 600.0, most=MANY // 10).run()
    begun = stead.rss_mb()
    Asking(stead.port, request, CALLERS, 3600.0, most=MANY).run()
    return Figure(f"model door: memory grown over {MANY:,} requests", stead.rss_mb() - begun, "MB",
                  beside=f"{begun:.1f} MB before, {stead.rss_mb():.1f} after")  # fmt: skip


@contextmanager
def _stead(place: Place, model: int) -> Iterator[Peer]:
    """A gateway with its own defaults and one backend, asked with the key of a program."""
    house = Measured(place.scratch / "home")
    (house.home / "stead.toml").write_text(_SETTINGS.format(port=house.port, model=model))
    (house.home / "secrets" / "bench.key").write_text(peers.KEY)
    try:
        house.gateway_up()
        pid = peers.up(house.port, house.pid("gateway"))
        body = {"name": "bench", "day_micro": 1_000_000, "requests_per_min": 100_000_000}
        with Wire(house.port) as wire:
            made = json.loads(wire.good(house.as_owner("/api/v1/keys", body)))
        yield Peer("stead", house.port, made["key"], pid)
    finally:
        house.close()


def _beside(values: dict[str, float]) -> str:
    others = {name: value for name, value in values.items() if name != "stead"}
    return ", ".join(f"{name} {value:,.2f}" for name, value in others.items())
