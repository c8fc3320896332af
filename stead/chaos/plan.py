"""A plan of faults, made from a seed: the same seed and the same wishes give the same plan."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stead.chaos.kinds import GATEWAY, KINDS, MODEL, NODE, RECEIVER, Kind
from stead.core.errors import BadRequest

VERSION = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. It begins when ``at`` messages have been accepted, and is healed after
    ``for_s`` seconds (a killed process is started again)."""

    id: int
    kind: str
    target: str
    at: int
    for_s: float
    how: Mapping[str, float] = field(default_factory=dict)
    after_s: float = 0.0
    """Seconds that it waits once so many are accepted."""

    def words(self) -> str:
        more = "".join(f" {name}={value:g}" for name, value in self.how.items())
        return f"{self.id}: {self.kind} {self.target} at {self.at} for {self.for_s:g} s{more}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run is made of."""

    seed: int
    messages: int
    nodes: int
    faults: tuple[Fault, ...]
    lease_s: float = 2.0
    """How long a silent worker keeps a job: short, so that many run out."""

    def only(self, ids: Iterable[int]) -> Plan:
        """The same plan with these faults alone. Raises ``BadRequest`` for one it has not."""
        wanted = set(ids)
        missing = wanted - {fault.id for fault in self.faults}
        if missing:
            raise BadRequest(why=f"the plan has no fault {', '.join(map(str, sorted(missing)))}")
        return replace(self, faults=tuple(f for f in self.faults if f.id in wanted))

    def first(self, messages: int) -> Plan:
        """The same plan with fewer messages; faults that would come later come at the end."""
        faults = tuple(replace(f, at=min(f.at, messages)) for f in self.faults)
        return replace(self, messages=messages, faults=faults)

    def as_json(self) -> str:
        faults = [{**asdict(fault), "how": dict(fault.how)} for fault in self.faults]
        head = {
            "version": VERSION, "seed": self.seed, "messages": self.messages,
            "nodes": self.nodes, "lease_s": self.lease_s,
        }  # fmt: skip
        rows = ",\n  ".join(json.dumps(fault) for fault in faults)
        return f'{json.dumps(head)[:-1]}, "faults": [\n  {rows}\n]}}\n'


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a plan shall hold. ``kinds``: names of the kinds allowed. -1: in proportion."""

    messages: int = 200
    nodes: int = 2
    kills: int = -1
    partitions: int = -1
    others: int = -1
    kinds: tuple[str, ...] = tuple(KINDS)


def kinds_named(words: str) -> tuple[str, ...]:
    """Kinds as they are asked for: ``all``, ``kill,cut``, ``-clock-jump,-torn``.

    Raises ``BadRequest`` for a kind that there is not.
    """
    given = [word.strip() for word in words.split(",") if word.strip()]
    taken = [word for word in given if not word.startswith("-") and word != "all"]
    left = {word[1:] for word in given if word.startswith("-")}
    unknown = ({*taken} | left) - set(KINDS)
    if unknown:
        known = ", ".join(KINDS)
        raise BadRequest(why=f"there is no kind {', '.join(sorted(unknown))}; there are {known}")
    return tuple(name for name in KINDS if name not in left and (not taken or name in taken))


def make(seed: int, wishes: Wishes) -> Plan:
    """The plan of a seed."""
    dice = random.Random(f"faults {seed}")
    groups = {
        "kill": wishes.messages // 20 + 1 if wishes.kills < 0 else wishes.kills,
        "partition": wishes.messages // 100 + 1 if wishes.partitions < 0 else wishes.partitions,
        "other": wishes.messages // 50 + 1 if wishes.others < 0 else wishes.others,
    }
    names = [f"{NODE}{n}" for n in range(1, wishes.nodes + 1)]
    faults: list[Fault] = []
    for group, count in groups.items():
        kinds = [k for k in KINDS.values() if k.group == group and k.name in wishes.kinds]
        if kinds:
            faults += _some(dice, kinds, count, names)
    # Not before anything is said, and not after all is said: a fault that meets nobody proves
    # nothing.
    spread = sorted(dice.uniform(0.01, 0.97) * wishes.messages for _ in faults)
    dice.shuffle(faults)
    return Plan(
        seed, wishes.messages, wishes.nodes,
        tuple(replace(f, id=n, at=int(at)) for n, (f, at) in enumerate(zip(faults, spread,
                                                                          strict=True), 1)),
    )  # fmt: skip


def _some(dice: random.Random, kinds: list[Kind], count: int, nodes: list[str]) -> list[Fault]:
    """``count`` faults of these kinds, each kind in its turn and each target in its turn."""
    faults = []
    for n in range(count):
        kind = kinds[n % len(kinds)]
        targets = [t for name in kind.targets for t in (nodes if name == NODE else [name])]
        target = targets[(n // len(kinds)) % len(targets)]
        if kind.name == "kill":  # the commonest fault: those that hold most fall most
            target = dice.choice([GATEWAY, GATEWAY, MODEL, *nodes, *nodes])
        for_s = round(dice.uniform(*kind.for_s), 2)
        faults.append(Fault(0, kind.name, target, 0, for_s, _how(dice, kind)))
    return faults


def _how(dice: random.Random, kind: Kind) -> dict[str, float]:
    """The parameters of one fault."""
    match kind.name:
        case "clock-jump":
            return {"by_s": dice.choice([-3600.0, -60.0, -5.0, 5.0, 60.0, 3600.0])}
        case "clock-drift":
            return {"rate": dice.choice([0.5, 0.9, 1.1, 2.0, 4.0])}
        case "disk-slow":
            return {"fsync_ms": dice.choice([5.0, 5.0, 30.0])}
        case "latency":
            return {"ms": dice.choice([20.0, 100.0, 400.0])}
        case "loss":
            return {"share": dice.choice([0.05, 0.2, 0.4])}
        case "model-cut" | "model-half" | "model-error" | "model-stall":
            return {"after": float(dice.choice([0, 1, 3]))}
        case "disk-full":
            return {"room": dice.choice([0.0, 4096.0, 65536.0])}
        case "disk-error":
            return {"share": dice.choice([0.2, 1.0])}
        case "answers-lost" | "answers-cut" | "duplicate" | "reorder" | "trickle":
            return {"share": dice.choice([0.3, 1.0])}
    return {}


def read(path: Path) -> Plan:
    """A plan that was kept. Raises ``BadRequest`` when it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(why=f"the plan {path} cannot be read: {error}") from error
    try:
        if data["version"] != VERSION:
            raise BadRequest(
                why=f"the plan {path} is of version {data['version']}; this is {VERSION}"
            )
        faults = tuple(_fault(entry) for entry in data["faults"])
        plan = Plan(
            int(data["seed"]),
            int(data["messages"]),
            int(data["nodes"]),
            faults,
            float(data["lease_s"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(why=f"the plan {path} is not whole: {error!r}") from error
    check(plan)
    return plan


def _fault(entry: Mapping[str, Any]) -> Fault:
    how = {str(name): float(value) for name, value in entry.get("how", {}).items()}
    return Fault(
        int(entry["id"]), str(entry["kind"]), str(entry["target"]), int(entry["at"]),
        float(entry["for_s"]), how, float(entry.get("after_s", 0.0)),
    )  # fmt: skip


def check(plan: Plan) -> None:
    """Raises ``BadRequest`` for a plan that cannot be carried out."""
    if plan.messages < 1 or plan.nodes < 1:
        raise BadRequest(why="a plan needs at least one message and one node")
    names = {GATEWAY, MODEL, RECEIVER, *(f"{NODE}{n}" for n in range(1, plan.nodes + 1))}
    for fault in plan.faults:
        kind = KINDS.get(fault.kind)
        if kind is None:
            raise BadRequest(why=f"fault {fault.id}: there is no kind {fault.kind!r}")
        if fault.target not in names:
            raise BadRequest(why=f"fault {fault.id}: there is no {fault.target!r} to meet")
        if fault.target.rstrip("0123456789") not in kind.targets:
            raise BadRequest(why=f"fault {fault.id}: {fault.kind} cannot meet {fault.target}")
        if fault.for_s < 0 or fault.at < 0:
            raise BadRequest(why=f"fault {fault.id}: a time or a place below zero")
