"""Proof that the machines can fail: each promise is broken in turn, and each time it is noticed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.contract.machine import flow_stories, queue_bench, queue_stories
from tests.contract.machine.flow_machine import FlowMachine
from tests.contract.machine.mutant_tables import FLOW, QUEUE
from tests.contract.machine.mutants import Mutant, alive
from tests.contract.machine.profile import deep, how
from tests.contract.machine.queue_machine import QueueMachine

#: Whatever it is that strikes a machine; ``pytest.raises`` fails with the second.
FAILURES = (Exception, pytest.fail.Exception)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not woken need not be waited for."""
    monkeypatch.setattr(queue_bench, "PATIENCE_S", 0.2)


@pytest.mark.parametrize("mutant", QUEUE, ids=str)
def test_a_broken_queue_is_noticed(mutant: Mutant) -> None:
    """Whatever promise of the queue is broken, its machine fails."""
    with alive(mutant):
        stories = (partial(queue_stories.tell, one, QueueMachine) for one in queue_stories.STORIES)
        assert any(_fails(story) for story in stories), f"nobody noticed: {mutant.breaks}"


@pytest.mark.parametrize("mutant", FLOW, ids=str)
def test_a_broken_house_is_noticed(mutant: Mutant) -> None:
    """Whatever promise of accept and settle is broken, their machine fails."""
    with alive(mutant):
        stories = (partial(flow_stories.tell, one, FlowMachine) for one in flow_stories.STORIES)
        assert any(_fails(story) for story in stories), f"nobody noticed: {mutant.breaks}"


def _fails(story: Callable[[], None]) -> bool:
    try:
        story()
    except FAILURES:
        return True
    return False


@pytest.mark.skipif(not deep(), reason="takes minutes; pytest --hypothesis-profile=deep")
@pytest.mark.parametrize(
    ("mutant", "machine"),
    [*((one, QueueMachine) for one in QUEUE), *((one, FlowMachine) for one in FLOW)],
    ids=str,
)
def test_chance_finds_what_is_broken(mutant: Mutant, machine: type[RuleBasedStateMachine]) -> None:
    """No story is needed: random events come upon it as well."""
    with alive(mutant), pytest.raises(FAILURES):
        run_state_machine_as_test(machine, settings=how(30, 40, shrink=False))
