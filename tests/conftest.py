"""What all tests share: profiles of hypothesis, and assertions that say what they saw."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

#: A busy machine is no fault of a test's.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

#: ``pytest --hypothesis-profile=deep``: see ``tests/contract/machine/profile.py``.
settings.register_profile("deep", settings.get_profile("patient"))

# A shell starts what it puts in the background with SIGINT ignored, which children inherit: those
# that are to be stopped by Ctrl-C would not notice it.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("tests.contract.machine")

_PROCESSES = ("story", "drill")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs over many real processes is told once more when it failed, and named (``RERUN``) at
    the end of the run: a machine that stands still for a minute is no fault of the product. Whoever
    sees one named looks for its cause; what fails twice has failed."""
    for item in items:
        if item.path.parent.name in _PROCESSES:
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))
