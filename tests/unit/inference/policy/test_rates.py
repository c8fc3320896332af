"""Rates: what is allowed fills up steadily, and is counted in whole or not at all."""

from __future__ import annotations

import pytest

from stead.inference.policy.rates import Gauge, Held, Rate, Rates


def test_requests_a_minute() -> None:
    """A minute's worth may come at once; then one by one, as it fills up."""
    gauge = Gauge(Rate(requests_per_min=3), 100.0)
    for _ in range(3):
        assert gauge.wait_s(100.0, 0) == (0.0, "")
        gauge.take(0)
    wait, what = gauge.wait_s(100.0, 0)
    assert wait == pytest.approx(20.0) and what == "at most 3 requests a minute"
    assert gauge.wait_s(119.0, 0)[0] == pytest.approx(1.0)
    assert gauge.wait_s(120.1, 0)[0] == 0.0
    gauge.take(0)
    assert gauge.wait_s(1e9, 0)[0] == 0.0  # no more than a minute's worth is saved up
    for _ in range(3):
        gauge.take(0)
    assert gauge.wait_s(1e9, 0)[0] > 0


def test_tokens_are_counted_as_they_were_used() -> None:
    """A call takes its estimate; what it used more is missing for the next, what less is there."""
    gauge = Gauge(Rate(tokens_per_min=1000), 0.0)
    first = Held([gauge], 100)
    assert gauge.wait_s(0.0, 900)[0] == 0.0
    first.end(1600)
    first.end(1600)  # once is enough
    wait, what = gauge.wait_s(0.0, 100)
    assert wait == pytest.approx(42.0) and "1000 tokens" in what
    assert gauge.wait_s(43.0, 100)[0] == 0.0
    Held([gauge], 100).end(0)
    assert gauge.wait_s(43.0, 110)[0] == 0.0


def test_what_is_larger_than_a_minute_comes_through() -> None:
    """A call that alone needs more than a minute's tokens waits for a full minute, not for ever."""
    gauge = Gauge(Rate(tokens_per_min=100), 0.0)
    assert gauge.wait_s(0.0, 5000)[0] == 0.0
    held = Held([gauge], 5000)
    held.end(5000)
    assert gauge.wait_s(60.0, 5000)[0] > 0
    assert gauge.wait_s(50 * 60.0, 5000)[0] == pytest.approx(0.0)


def test_calls_at_once() -> None:
    """A call makes room when it ends, once."""
    gauge = Gauge(Rate(at_once=2), 0.0)
    first, second = Held([gauge], 0), Held([gauge], 0)
    assert gauge.wait_s(0.0, 0)[1] == "at most 2 at once"
    first.end(0)
    first.end(0)
    assert gauge.running == 1 and gauge.wait_s(0.0, 0)[0] == 0.0
    second.end(0)
    assert gauge.running == 0


def test_a_clock_that_stands_still_or_goes_back() -> None:
    """Nothing is given for time that did not pass."""
    gauge = Gauge(Rate(requests_per_min=1), 10.0)
    gauge.take(0)
    assert gauge.wait_s(5.0, 0)[0] == pytest.approx(60.0)


def test_a_change_of_the_rate_forgets_nothing() -> None:
    """Who has used up the old rate has not all of the new one again, and calls go on counting."""
    rates = Rates()
    gauge = rates.gauge("a", Rate(10, 0, 2), 0.0)
    for _ in range(10):
        gauge.take(0)
    same = rates.gauge("a", Rate(12, 0, 1), 0.0)
    assert same is gauge
    assert gauge.wait_s(0.0, 0)[1] == "at most 1 at once"
    for _ in range(10):
        gauge.give_back(0, 0)
    for _ in range(2):
        assert gauge.wait_s(0.0, 0)[0] == 0.0
        gauge.take(0)
        gauge.give_back(0, 0)
    assert gauge.wait_s(0.0, 0)[1] == "at most 12 requests a minute"
    rates.gauge("b", Rate(1), 0.0)
    rates.keep(frozenset({"b"}))
    assert rates.gauge("a", Rate(1), 0.0) is not gauge
