"""A short run of `stead chaos` with every kind of fault that is possible on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.chaos import report
from stead.chaos.kinds import KINDS
from stead.chaos.plan import Wishes, make
from stead.chaos.run import carry_out


@pytest.mark.slow
def test_nothing_is_lost_or_done_twice_whatever_breaks(tmp_path: Path) -> None:
    """Messages that were accepted while everything broke, one after the other and together, are
    answered once, in order; no effect and no journalled step is made twice."""
    plan = make(11, Wishes(messages=260, kills=30, partitions=9, others=len(KINDS)))
    outcome = carry_out(plan, keep=tmp_path / "run")
    assert outcome.verdict.sound, report.text(outcome)
    assert outcome.verdict.figures["accepted"] == 260
    assert outcome.group("kill") >= 15
    planned = {fault.kind for fault in plan.faults}
    assert planned == set(KINDS)
    assert set(outcome.faults) == planned - set(outcome.left_out)
    assert all(why for _, why in outcome.left_out.values())
