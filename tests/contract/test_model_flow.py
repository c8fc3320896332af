"""Accept and settle over each storage against a model that knows no SQL."""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.machine.flow_machine import FlowMachine
from tests.contract.machine.flow_stories import STORIES, Story, tell
from tests.contract.machine.lab import LABS
from tests.contract.machine.profile import how


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_stories_are_true(story: Story) -> None:
    """What the product does as it is, the machine finds nothing wrong with."""
    tell(story, FlowMachine)


@pytest.mark.parametrize("storage", sorted(LABS))
def test_no_message_is_lost_and_none_is_answered_twice(storage: str) -> None:
    """Whatever comes twice, dies, or is cut off in between: each message has its one end."""

    class Machine(FlowMachine):
        pass

    Machine.storage = storage
    run_state_machine_as_test(Machine, settings=how(40, 40))
