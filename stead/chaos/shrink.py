"""The smallest part of a failing plan that still fails: delta debugging, as far as time allows.

A run is not wholly repeatable (processes race), so a part counts as failing as
soon as one of two runs of it breaks an invariant that the whole plan broke.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stead.chaos.plan import Fault, Plan
from stead.chaos.run import Say, carry_out
from stead.chaos.verdict import Verdict

Fails = Callable[[Plan], bool]

_RUNS = 2
_STUCK_S = 30.0


def shrink(plan: Plan, verdict: Verdict, most_s: float, say: Say) -> Plan:
    """Shrink ``plan``, which was judged so, for ``most_s`` seconds at most."""
    until = time.monotonic() + most_s
    broken = set(verdict.counts)

    def fails(part: Plan) -> bool:
        for _ in range(_RUNS):
            if time.monotonic() >= until:
                return False
            say(f"trying {len(part.faults)} faults and {part.messages} messages")
            if broken & set(carry_out(part, stuck_s=_STUCK_S).verdict.counts):
                return True
        return False

    return smallest(plan, fails, lambda: time.monotonic() >= until)


def smallest(plan: Plan, fails: Fails, late: Callable[[], bool]) -> Plan:
    """First fewer faults, then fewer messages. ``late`` ends the search with what there is."""
    plan = _fewer_messages(plan, fails, late)
    faults = _fewer_faults(plan, fails, late)
    plan = plan.only(fault.id for fault in faults)
    return _fewer_messages(plan, fails, late)


def _fewer_faults(plan: Plan, fails: Fails, late: Callable[[], bool]) -> list[Fault]:
    """ddmin (Zeller and Hildebrandt, 2002): halves, then their complements, then finer."""
    faults = list(plan.faults)
    parts = 2
    while len(faults) > 1 and not late():
        size = -(-len(faults) // parts)
        pieces = [faults[at : at + size] for at in range(0, len(faults), size)]
        complements = [[f for f in faults if f not in piece] for piece in pieces]
        candidates = pieces + (complements if parts > 2 else [])
        found = next(
            (part for part in candidates
             if part and not late() and fails(plan.only(f.id for f in part))), None,
        )  # fmt: skip
        if found is not None:
            parts = max(2, parts - 1) if len(found) > size else 2
            faults = found
        elif parts >= len(faults):
            break
        else:
            parts = min(len(faults), parts * 2)
    return faults


def _fewer_messages(plan: Plan, fails: Fails, late: Callable[[], bool]) -> Plan:
    """Half as many as long as it fails, but not fewer than the last fault waits for."""
    least = max([10, *(fault.at + 5 for fault in plan.faults)])
    while plan.messages // 2 >= least and not late():
        smaller = plan.first(plan.messages // 2)
        if not fails(smaller):
            break
        plan = smaller
    return plan
