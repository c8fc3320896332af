"""What recall adds to a job: first token through a node, with recall and without, in turn.

Two houses with the same memory (10,000 lines of daily logs and a card), one of them with
``[memory] recall = false``. Each round asks both the same question, which a card answers, and then
one for which memory has no words, so that its meaning has to be computed. A third house has no
memory at all but its own log of a conversation that is visible anyway.
"""

from __future__ import annotations

import json
import random
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.figures import Figure, Place, quantile
from bench.house import Measured, house
from bench.wire import Wire, post

ROUNDS = 60
WARM_UP = 10
LINES = 10_000
_SAID = "Is the boiler a Vaillant of 2019?"
_MEANT = "What keeps us warm in winter, and who could repair that machine for {n} euros?"
AIM_MS = 30.0
_WORDS = (
    "garden fence price invoice letter school bicycle dentist train ticket kitchen recipe window"
    " paint holiday island hotel meeting budget printer cable router backup photo birthday cake"
)


def run(place: Place) -> list[Figure]:
    """Medians over ``ROUNDS`` rounds."""
    took: dict[str, list[float]] = {"with": [], "without": [], "empty": [], "meant": []}
    with ExitStack() as stack:
        houses = {}
        for name in ("with", "without", "empty"):
            wanted = name != "without"
            made = stack.enter_context(house(place, model="scripted", name=name, recall=wanted))
            if name != "empty":
                _remember(made.home)
            made.all_up()
            houses[name] = made
        wires = {name: stack.enter_context(Wire(made.port)) for name, made in houses.items()}
        _until_it_comes_to_mind(houses["with"])
        for n in range(WARM_UP + ROUNDS):
            for name in took:
                made, text = houses.get(name, houses["with"]), _MEANT if name == "meant" else _SAID
                wire = wires.get(name, wires["with"])
                seconds, _ = wire.first_token(_ask(made, text, n))
                if n >= WARM_UP:
                    took[name].append(1000 * seconds)
    added = _added(took, "with")
    meant = _added(took, "meant")
    floor = f"without recall p50 {median(took['without']):.1f} ms"
    nothing = median(took["empty"]) - median(took["without"])
    return [
        Figure(
            "recall adds to a job's first token", median(added), "ms", AIM_MS,
            beside=f"p95 {quantile(added, 0.95):.1f} ms; {floor}",
        ),
        Figure(
            "the same, where memory lacks the words", median(meant), "ms", AIM_MS,
            beside=f"p95 {quantile(meant, 0.95):.1f} ms; {floor}",
        ),
        Figure("the same with an empty memory", nothing, "ms", AIM_MS, beside=floor),
    ]  # fmt: skip


def _added(took: dict[str, list[float]], name: str) -> list[float]:
    return sorted(one - other for one, other in zip(took[name], took["without"], strict=True))


def _remember(home: Path) -> None:
    """Some months of talk, and one card. The same in every run."""
    dice = random.Random(6)
    words = _WORDS.split()
    cards = home / "memory" / "cards"
    cards.mkdir(parents=True)
    (cards / "boiler.md").write_text(
        "---\ntopic: boiler\n---\n- The boiler is a Vaillant of 2019\n"
    )
    for day in range(100):
        lines = [f"# 2026-{1 + day // 28:02d}-{1 + day % 28:02d}", ""]
        for n in range(LINES // 100):
            said = " ".join(dice.choices(words, k=dice.randrange(6, 20)))
            lines.append(f"- {8 + n // 10:02d}:{n % 10:02d}:00 **owner** (cli, s{day}): {said}")
        name = lines[0].removeprefix("# ")
        (home / "memory" / f"{name}.md").write_text("\n".join(lines) + "\n")


def _until_it_comes_to_mind(made: Measured) -> None:
    """The index is made at its first use, which takes a while."""

    def found() -> bool:
        answer = made.get("/api/v1/memory/search?q=boiler+Vaillant&limit=1")
        return "boiler.md" in json.dumps(answer)

    made.until(found, 120, "the card to be found")


def _ask(made: Measured, text: str, n: int) -> bytes:
    asked = text.format(n=n)
    body = {
        "model": "stead", "stream": True, "messages": [{"role": "user", "content": asked}],
        "metadata": {"mark": "heavy", "session": f"bench-{n // 20}"},
    }  # fmt: skip
    return post("/v1/chat/completions", made.key, json.dumps(body).encode())
