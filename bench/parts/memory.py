"""Idle memory: what gateway and node hold when nobody asks anything of them.

RSS is what the system says a process has in memory, pages that it shares with others
counted in full; PSS counts a shared page by its share. Measured after 10 idle seconds,
just started, and again after some conversation.
"""

from __future__ import annotations

import json
import time

import psutil

from bench.figures import Figure, Place
from bench.house import Measured, house
from bench.wire import Wire, post

IDLE_S = 10.0
MESSAGES = 40
AIM_MB = 95.0


def run(place: Place) -> list[Figure]:
    """RSS of both together, with its parts and PSS beside."""
    with house(place, model="scripted") as stead:
        stead.start("up")
        stead.until(lambda: stead.ready() and _all_there(stead), 30, "everything to be up")
        time.sleep(IDLE_S)
        fresh = _figure(stead, "just started")
        _talk(stead)
        time.sleep(IDLE_S)
        used = _figure(stead, f"after {MESSAGES} messages")
    return [fresh, used]


def _all_there(stead: Measured) -> bool:
    status = stead.get("/api/v1/status")
    return bool(status["model"]["ready"]) and any(node["alive"] for node in status["nodes"])


def _talk(stead: Measured) -> None:
    with Wire(stead.port) as wire:
        for n in range(MESSAGES):
            light = n % 2 == 1  # answered in the gateway, which has no tools
            text = "[[say All well.]] and now?" if light else "[[tool clock {}]] [[say Late.]] now?"
            body = {
                "model": "stead",
                "stream": True,
                "messages": [{"role": "user", "content": text}],
                "metadata": {"mark": "light" if light else "heavy", "session": f"s{n // 10}"},
            }
            wire.first_token(post("/v1/chat/completions", stead.key, json.dumps(body).encode()))


def _figure(stead: Measured, when: str) -> Figure:
    rss: dict[str, float] = {}
    pss: dict[str, float] = {}
    for name, process in _processes(stead).items():
        info = process.memory_full_info()
        rss[name] = info.rss / 1e6
        pss[name] = getattr(info, "pss", 0) / 1e6
    told = (
        f"gateway {rss['gateway']:.1f} + node {rss['node']:.1f}; "
        f"PSS {pss['gateway']:.1f} + {pss['node']:.1f}; supervisor {rss['up']:.1f} more"
    )
    together = rss["gateway"] + rss["node"]
    return Figure(f"idle memory, RSS, {when}", together, "MB", AIM_MB, beside=told)


def _processes(stead: Measured) -> dict[str, psutil.Process]:
    """The processes of a house by their names."""
    up = psutil.Process(stead.parts["up"].pid)
    found = {"up": up}
    for child in up.children():
        line = child.cmdline()
        for name in ("gateway", "node", "model"):
            if name in line:
                found[name] = child
    return found
