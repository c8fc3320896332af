"""The judge can fail: with each promise of stead broken in turn, a run tells of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from stead.chaos import report
from stead.chaos.plan import Fault, Plan, Wishes, make
from stead.chaos.run import Outcome, carry_out

BROKEN = Path(__file__).parent / "broken"
ROOT = Path(__file__).resolve().parents[2]


def storm(*targets: str, kind: str = "kill", count: int = 5, messages: int = 40) -> Plan:
    """The same fault on the same targets, in their turn, again and again."""
    plan = make(3, Wishes(messages=messages, kills=0, partitions=0, others=0))
    step = messages // (count + 1)
    faults = tuple(
        Fault(n, kind, targets[n % len(targets)], n * step, 0.1) for n in range(1, count + 1)
    )
    return Plan(plan.seed, plan.messages, plan.nodes, faults)


def sleepers() -> Plan:
    """Nodes that sleep over their leases and wake again, one after the other."""
    faults = tuple(Fault(n, "sleep", f"node{n % 2 + 1}", 8 * n, 2.8) for n in range(1, 5))
    return Plan(3, 45, 2, faults)


def doubled() -> Plan:
    faults = (
        Fault(1, "duplicate", "node1", 1, 6.0, {"share": 1.0}),
        Fault(2, "duplicate", "node2", 1, 6.0, {"share": 1.0}),
    )
    return Plan(3, 30, 2, faults)


def half_answers() -> Plan:
    how = {"after": 3.0}
    faults = tuple(
        Fault(n, kind, "model", 8 * n, 0.8, how)
        for n, kind in enumerate(("model-half", "model-cut", "model-error"), 1)
    )
    return Plan(3, 40, 2, faults)


def cut_off() -> Plan:
    """Nodes cut off, killed a while later, and back before their leases have run out."""
    faults = []
    for n in (1, 2):
        faults += [
            Fault(2 * n, "cut", f"node{n}", 14 * n, 5.5),
            Fault(2 * n + 1, "kill", f"node{n}", 14 * n, 0.0, after_s=4.5),
        ]
    return Plan(3, 40, 2, tuple(faults), lease_s=30.0)


def receiver_trouble() -> Plan:
    """Replies are pushed while their receiver and the gateway come and go."""
    faults = tuple(
        Fault(n, kind, target, 7 * n, 0.6)
        for n, (kind, target) in enumerate(
            [("receiver-cut", "receiver"), ("kill", "gateway"), ("receiver-silent", "receiver"),
             ("kill", "gateway"), ("receiver-503", "receiver")], 1
        )
    )  # fmt: skip
    return Plan(3, 50, 2, faults)


CASES = {
    "answer before commit": (storm("gateway"), {"lost"}),
    "no sync": (storm("gateway", kind="torn"), {"lost", "database"}),
    "no fence": (sleepers(), {"doubled", "paid_twice", "effects_repeated", "lost"}),
    "end not idempotent": (doubled(), {"doubled"}),
    "reply outside of the transaction": (storm("gateway"), {"lost"}),
    "calls left open": (storm("gateway", count=5), {"ledger"}),
    "no dedupe": (storm("gateway", count=4), {"doubled", "lost"}),
    "no order": (storm("node1", count=2), {"order"}),
    "log lines again": (storm("gateway"), {"log"}),
    "no replay": (storm("node1", "node2", count=8), {"paid_twice"}),
    "no intent": (storm("node1", "node2", count=8), {"paid_twice"}),
    "spool forgets": (cut_off(), {"forgotten"}),
    "sent again": (receiver_trouble(), {"doubled"}),
    "half an answer": (half_answers(), {"wrong"}),
}


KEPT = {"cut off": cut_off(), "receiver": receiver_trouble()}

Runs = dict[str, Future[Outcome]]


def _broken(promise: str) -> partial[Outcome]:
    """Runs a stead that does not keep this promise. Another process can be told of it."""
    broken = {"PYTHONPATH": f"{BROKEN}:{ROOT}", "CHAOS_BREAK": promise}
    return partial(carry_out, CASES[promise][0], environment=broken, stuck_s=20.0)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """All that were asked for, a few side by side: most of a run is waiting."""
    asked: Runs = {}
    where = tmp_path_factory.mktemp("runs")
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        for item in request.session.items:
            params = getattr(item, "callspec", None)
            if item.fspath != request.path or params is None:
                continue
            name = str(next(iter(params.params.values())))
            keep = where / name.replace(" ", "-")
            if name in CASES:
                asked[name] = pool.submit(_broken(name), keep=keep)
            else:
                asked[name] = pool.submit(carry_out, KEPT[name], keep=keep, stuck_s=40.0)
        yield asked


@pytest.mark.slow
@pytest.mark.parametrize("promise", CASES)
def test_a_broken_promise_is_told(promise: str, runs: Runs, tmp_path: Path) -> None:
    """A stead that does not keep this promise does not pass; it is told which one it broke.

    A short run may miss the moment in which the break does harm, so it has three.
    """
    outcome = runs[promise].result()
    for again in ("second", "third"):
        if CASES[promise][1] & set(outcome.verdict.counts):
            break
        outcome = _broken(promise)(keep=tmp_path / again)
    assert CASES[promise][1] & set(outcome.verdict.counts), report.text(outcome)


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_a_kept_promise_is_not_called_broken(name: str, runs: Runs) -> None:
    """What the judge holds against a broken spool and a broken outbox, it does not hold against
    whole ones in the same trouble."""
    outcome = runs[name].result()
    assert outcome.verdict.sound, report.text(outcome)
    if KEPT[name].lease_s > 10:
        assert outcome.verdict.figures["crashes"] > 0
    else:
        assert outcome.verdict.figures["pushed"] > 5
