"""The queue of each storage against a model that knows no SQL."""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.machine.lab import LABS
from tests.contract.machine.profile import how
from tests.contract.machine.queue_machine import QueueMachine
from tests.contract.machine.queue_stories import STORIES, Story, tell
from tests.contract.storages import STORAGES


def test_every_storage_is_put_on_the_bench() -> None:
    """A storage that the contract holds for is checked against the model as well."""
    assert set(LABS) == set(STORAGES)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_stories_are_true(story: Story) -> None:
    """What the product does as it is, the machine finds nothing wrong with."""
    tell(story, QueueMachine)


@pytest.mark.parametrize("storage", sorted(LABS))
def test_the_queue_does_what_its_model_says(storage: str) -> None:
    """Whatever order of events chance finds, all that can be seen is as the model has it."""

    class Machine(QueueMachine):
        pass

    Machine.storage = storage
    run_state_machine_as_test(Machine, settings=how(60, 40))
