"""The owner's chat beside background work: first token on a quiet house and on a full one.

Two houses stand side by side. One is idle. In the other ten background jobs run, each in a
tool that burns the processor, and ten thousand more are queued. They are asked in turn, a few
questions each, round after round; while the idle one is asked, the burning is paused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil

from bench.burning import BACKGROUND
from bench.figures import Figure, Place, quantile
from bench.house import Measured, house
from bench.noops import fill
from bench.wire import Wire, post
from stead.core.nouns import NewJob
from stead.core.states import Lane
from stead.store.sqlite import SqliteStore

QUEUED = 10_000
ROUNDS = 24
EACH = 10
AIM = 1.2
_LOOK_S = 0.4
_SETTLE_MOST_S = 60.0


def run(place: Place) -> list[Figure]:
    """The ratio of the medians for each way, over ``ROUNDS`` times ``EACH`` questions."""
    return _measure(place, boxed=False)


def run_boxed(place: Place) -> list[Figure]:
    """The same with the burning tool in a sandbox."""
    return _measure(place, boxed=True)


def _measure(place: Place, boxed: bool) -> list[Figure]:
    flag = place.scratch / "burn"
    took: dict[tuple[str, str], list[float]] = {}
    with _idle(place) as idle, _full(place, flag, boxed) as (full, burners):
        with Wire(idle.port) as to_idle, Wire(full.port) as to_full:
            number = 0
            for turn in range(ROUNDS + 1):
                for name, stead, wire in (("idle", idle, to_idle), ("full", full, to_full)):
                    _burn(flag, name == "full", burners)
                    for _ in range(EACH):
                        number += 1
                        for way in ("light", "heavy"):
                            asked = _ask(stead, way, number)
                            seconds = wire.first_token(asked)[0]
                            if turn:  # the first round warms up
                                took.setdefault((way, name), []).append(1000 * seconds)
        left = full.get("/api/v1/status")["queue"]
    about = f"{left['running']} jobs burning, {left['queued']:,} queued"
    return [
        _figure("a node", took["heavy", "idle"], took["heavy", "full"], about),
        _figure("the gateway", took["light", "idle"], took["light", "full"], about),
    ]


def _figure(who: str, idle: list[float], full: list[float], about: str) -> Figure:
    beside = (
        f"{median(full):.2f} ms (p99 {quantile(full, 0.99):.1f}) full, "
        f"{median(idle):.2f} ms (p99 {quantile(idle, 0.99):.1f}) idle; {about}"
    )
    ratio = median(full) / median(idle)
    return Figure(f"first token under load, answered by {who}", ratio, "x idle", AIM, beside=beside)


def _ask(stead: Measured, mark: str, number: int) -> bytes:
    body = {
        "model": "stead",
        "stream": True,
        "messages": [{"role": "user", "content": f"[[say All is well.]] number {number}"}],
        "metadata": {"mark": mark, "session": f"{mark}-{number // 20}"},
    }
    return post("/v1/chat/completions", stead.key, json.dumps(body).encode())


def _burn(flag: Path, on: bool, burners: list[psutil.Process]) -> None:
    """Let them burn or rest, and wait until they do."""
    if on:
        flag.touch()
    else:
        flag.unlink(missing_ok=True)
    until = time.monotonic() + _SETTLE_MOST_S
    burnt = -1.0
    while on is not (burnt > 0.1 * _LOOK_S) or burnt < 0:
        if time.monotonic() > until:
            raise RuntimeError(f"the background used {burnt:.2f} s in {_LOOK_S} s")
        before = _used(burners)
        time.sleep(_LOOK_S)
        burnt = _used(burners) - before


def _used(processes: list[psutil.Process]) -> float:
    """Seconds of processor time."""
    return float(sum(sum(one.cpu_times()[:2]) for one in processes))


@contextlib.contextmanager
def _idle(place: Place) -> Iterator[Measured]:
    with house(place, model="scripted", name="idle", recall=False) as stead:
        stead.all_up()
        yield stead


@contextlib.contextmanager
def _full(place: Place, flag: Path, boxed: bool) -> Iterator[tuple[Measured, list[psutil.Process]]]:
    with house(place, model="scripted", name="full", recall=False) as stead:
        asyncio.run(_queue(stead.home, flag))
        stead.start("gateway", "model")
        stead.until(stead.ready, 20, "the gateway to be ready")
        stead.parts["node"] = subprocess.Popen(
            [sys.executable, "-m", "bench.burning", str(stead.home),
             f"http://127.0.0.1:{stead.port}", "boxed" if boxed else "bare"],
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        node = psutil.Process(stead.pid("node"))

        def burners() -> list[psutil.Process]:
            """Those that a nursery has forked, which look like it."""
            found = []
            for one in node.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    words = one.cmdline()
                    parent = one.parent()
                    ours = words[1:3] == ["-m", "stead.agent.child"]  # bubblewrap's end so too
                    if ours and parent and parent.cmdline() == words:
                        found.append(one)
            return found

        stead.until(lambda: len(burners()) == BACKGROUND, 60, "ten jobs to be in their tool")
        yield stead, burners()


async def _queue(home: Path, flag: Path) -> None:
    """What a background has done itself into, before anybody asks."""
    store = SqliteStore(home / "state.db", home / "backups")
    burning = NewJob(
        kind="chat",
        payload={"text": f'[[tool burn {{"flag": "{flag}"}}]] [[say burnt]]'},
        lane=Lane.BACKGROUND,
    )
    for _ in range(BACKGROUND):
        await store.enqueue(burning)
    await fill(store, QUEUED, Lane.BACKGROUND)
    store.close()
