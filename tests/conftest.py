"""What all tests share: profiles of hypothesis, and assertions that say what they saw."""

from __future__ import annotations

import pytest
from hypothesis import settings

#: ``pytest --hypothesis-profile=deep``: see ``tests/contract/machine/profile.py``.
settings.register_profile("deep", settings.get_profile("default"))

pytest.register_assert_rewrite("tests.contract.machine")
