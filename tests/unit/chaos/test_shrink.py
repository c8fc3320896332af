"""Shrinking a failing plan."""

from __future__ import annotations

from stead.chaos.plan import Plan, Wishes, make
from stead.chaos.shrink import smallest


def test_two_faults_that_fail_together_are_found_among_many() -> None:
    """What is left is exactly what the failure needs, with fewer messages."""
    plan = make(4, Wishes(messages=1000, kills=60))
    guilty = {plan.faults[1].id, plan.faults[4].id}
    tried = 0

    def fails(part: Plan) -> bool:
        nonlocal tried
        tried += 1
        return guilty <= {fault.id for fault in part.faults}

    small = smallest(plan, fails, lambda: False)
    assert {fault.id for fault in small.faults} == guilty
    assert small.messages < 1000
    assert tried < 200


def test_time_that_is_up_ends_the_search_with_what_there_is() -> None:
    """A search without time gives back a plan that is known to fail: the whole one."""
    plan = make(4, Wishes(messages=100))
    assert smallest(plan, lambda part: True, lambda: True) == plan
