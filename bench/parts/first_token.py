"""First token added: the same question to the scripted model directly and through stead.

Four ways in turn, round after round: the model's own URL; its name at stead's model door;
the agent by its light way (worker in the gateway); the agent by a node. What is added is
the difference to the direct answer of the same round. The scripted model answers at once,
so the direct time is its server's own.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from bench.figures import Figure, Place, quantile
from bench.house import Measured, house
from bench.wire import Wire, post

ROUNDS = 100
WARM_UP = 10
AIM_MS = 10.0


def run(place: Place) -> list[Figure]:
    """Medians over ``ROUNDS`` rounds."""
    direct: list[float] = []
    added: dict[str, list[float]] = {"light": [], "node": [], "door": []}
    with house(place, model="scripted", recall=False) as stead:
        stead.all_up()
        port, key = stead.model_url()
        with Wire(port) as model, Wire(stead.port) as gateway:
            for n in range(WARM_UP + ROUNDS):
                plain = _chat("scripted", n)
                floor = 1000 * model.first_token(post("/v1/chat/completions", key, plain))[0]
                took = {
                    "door": gateway.first_token(post("/v1/chat/completions", stead.key, plain)),
                    "light": gateway.first_token(_agent(stead, n, "light")),
                    "node": gateway.first_token(_agent(stead, n, "heavy")),
                }
                if n >= WARM_UP:
                    direct.append(floor)
                    for way, (seconds, _) in took.items():
                        added[way].append(1000 * seconds - floor)
    beside = f"asking the model directly: p50 {median(direct):.2f} ms"

    def figure(words: str, way: str) -> Figure:
        far = f"p99 {quantile(added[way], 0.99):.1f} ms"
        return Figure(
            f"first token added, {words}", median(added[way]), "ms", AIM_MS,
            beside=f"{far}; {beside}",
        )  # fmt: skip

    return [
        figure("answered in the gateway", "light"),
        figure("answered by a node", "node"),
        figure("plain model name", "door"),
    ]


def _agent(stead: Measured, n: int, mark: str) -> bytes:
    return post("/v1/chat/completions", stead.key, _chat("stead", n, mark))


def _chat(model: str, n: int, mark: str = "") -> bytes:
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": f"[[say All is well.]] how is it, number {n}?"}],
    }
    if mark:
        body["metadata"] = {"mark": mark, "session": f"{mark}-{n // 20}"}
    return json.dumps(body).encode()
