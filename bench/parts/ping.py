"""First token of "ping" with real models, through stead, as an owner meets it.

cold         asked at the moment when the weights are loaded; stead then reads its prompts
             into the model's cache, and the question waits for that
warm         the same question in another conversation
second turn  the next message of that conversation

Each by the light way (small talk: a short prompt, answered in the gateway) and by the
agent on a node (its tools described in the prompt). The models are those of the
catalogue whose files are at hand; the one that `auto` would take comes first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.figures import Figure, Place, Skipped, of_runs
from bench.house import Measured, house
from bench.wire import Wire, post
from stead.inference import catalogue, weights
from stead.inference.catalogue import CatalogueModel

RUNS = 3
AIM_S = 1.0
#: Models are begun only this long after the start of the bench.
_BEGIN_S = 120.0
_SECOND = ("thanks", "hello again", "ok then", "good day")


def run(place: Place) -> Iterator[Figure]:
    """Every model at hand; cold once each, warm and second turn medians of ``RUNS``."""
    begun = time.monotonic()
    found = [
        (model, file)
        for model in catalogue.load().models
        if (file := place.models / f"{model.name}.gguf").exists()
    ]
    if not found:
        raise Skipped(
            f"no catalogue model is at hand in {place.models}; `stead model pull` fetches one, "
            "and --models FOLDER names the folder"
        )
    for model, file in found:
        if time.monotonic() - begun < _BEGIN_S:
            yield from _model(place, model, file)


def _model(place: Place, model: CatalogueModel, file: Path) -> list[Figure]:
    with house(place, model=model.name, name=model.name, recall=False) as stead:
        folder = weights.folder(stead.home)
        folder.mkdir()
        target = weights.file_of(folder, model)
        target.symlink_to(file.resolve())
        weights.stamp(target, model.sha256)  # else a gigabyte is hashed at each start
        begun = time.perf_counter()
        stead.all_up()
        loaded = time.perf_counter() - begun
        with Wire(stead.port, timeout=120.0) as wire:
            light = _way(stead, wire, "light")
            node = _way(stead, wire, "heavy")
        floor = _floor(stead)
    beside = f"up and loaded in {loaded:.1f} s"
    alone = f'the model itself, asked a bare "ping" again: {floor:.2f} s'
    figures = []
    for words, took in (("in the gateway", light), ("by a node", node)):
        what = f"first token, {model.name}, {words}"
        if took is light:  # by the time a node is asked nothing is cold any more
            figures.append(Figure(f"{what}, cold", took["cold"][0], "s", beside=beside))
        figures += [
            of_runs(f"{what}, warm", took["warm"], "s"),
            of_runs(f"{what}, second turn", took["second"], "s", aim=AIM_S, beside=alone),
        ]
    return figures


def _way(stead: Measured, wire: Wire, mark: str) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {"cold": [], "warm": [], "second": []}
    took["cold"].append(_ask(stead, wire, "ping", mark, f"{mark}-cold"))
    for n in range(RUNS):
        session = f"{mark}-{n}"
        took["warm"].append(_ask(stead, wire, "ping", mark, session))
        took["second"].append(_ask(stead, wire, _SECOND[n % len(_SECOND)], mark, session))
    return took


def _ask(stead: Measured, wire: Wire, text: str, mark: str, session: str) -> float:
    body = {
        "model": "stead", "stream": True, "messages": [{"role": "user", "content": text}],
        "metadata": {"mark": mark, "session": session}, "max_tokens": 24,
    }  # fmt: skip
    request = post("/v1/chat/completions", stead.key, json.dumps(body).encode())
    return wire.first_token(request)[0]


def _floor(stead: Measured) -> float:
    """The model's own server, asked without any system prompt, its cache warm."""
    port, key = stead.model_url()
    body = {
        "model": "any", "stream": True, "max_tokens": 4,
        "messages": [{"role": "user", "content": "ping"}],
    }  # fmt: skip
    request = post("/v1/chat/completions", key, json.dumps(body).encode())
    took = []
    for _ in range(RUNS + 1):
        with Wire(port, timeout=60.0) as wire:
            took.append(wire.first_token(request)[0])
    return median(took[1:])
