"""Instances that fail rest, those that ask for time get it, and all come back."""

from __future__ import annotations

import pytest

from stead.core.errors import ModelsResting
from stead.inference.routing.health import (
    ERRORS,
    REST_MAX_S,
    REST_S,
    TRIAL_S,
    WAIT_MAX_S,
    Health,
)
from stead.inference.routing.rules import Lane
from stead.inference.routing.spread import MOST_SESSIONS, MUCH
from tests.unit.inference.routing.houses import (
    BOX_A,
    BOX_B,
    Clock,
    fails,
    name,
    names,
    plan,
    routes,
)

LANE = Lane("a", ("qwen", "plain"))


def test_one_without_an_answer_goes_last() -> None:
    """An instance that gave no answer is not the first again until its rest is over; nothing is
    refused for it."""
    clock = Clock()
    found = routes(LANE, clock=clock)
    first = plan(found, "a").ways[0]
    fails(found, first)
    told = plan(found, "a")
    assert name(told.ways[-1]) == name(first) and len(told.ways) == 3
    assert "it gave no answer" in told.reason and "10.0.0." in told.reason
    clock.now += REST_S + 0.01
    assert "it gave no answer" not in plan(found, "a").reason
    only = plan(found, "plain").ways[0]
    fails(found, only)
    assert plan(found, "plain").ways == (only,)


def test_no_way_back_across_a_border() -> None:
    """A paid model that rests is not the last resort behind the free one that stands in for it."""
    found = routes(Lane("b", ("gpt-big", "plain")))
    fails(found, plan(found, "b").ways[0])
    assert names(plan(found, "b")) == ["shelf/plain"]
    assert "cloud/gpt-big is not gone back to" in plan(found, "b").reason


def test_rests_grow_and_end() -> None:
    """Each failed trial doubles the rest, up to a minute; one success forgives all."""
    clock = Clock()
    health = Health(clock)
    place = health.place("p")
    rests = []
    for _ in range(9):
        health.began("p")
        health.ended("p", "m", 0, 0.0)
        rests.append(place.rests_until - clock.now)
        clock.now = place.rests_until + 0.001
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60] and rests[-1] == REST_MAX_S
    health.began("p")
    health.ended("p", "m", 200, 0.0)
    assert place.well and not health.troubled


def test_many_at_once_count_once() -> None:
    """A server that falls with a hundred calls under way rests as after one."""
    clock = Clock()
    health = Health(clock)
    place = health.place("p")
    for _ in range(100):
        health.began("p")
    for _ in range(100):
        health.ended("p", "m", 0, 0.0)
    assert place.rests_until - clock.now == REST_S and place.load == 0


def test_one_trial_at_a_time() -> None:
    """After a rest one call tries the instance; others go there when that one has ended well, or
    takes so long that it seems to be a long answer."""
    clock = Clock()
    health = Health(clock)
    place = health.place("p")
    health.began("p")
    health.ended("p", "m", 0, 0.0)
    assert place.objection("m", clock.now)[0]
    clock.now += REST_S
    assert not place.objection("m", clock.now)[0]
    health.began("p")
    assert "tried again" in place.objection("m", clock.now)[0]
    clock.now += TRIAL_S
    assert not place.objection("m", clock.now)[0]
    health.ended("p", "m", 499, 0.0)  # its client left: that says nothing
    assert not place.well and not place.objection("m", clock.now)[0]


def test_one_error_is_no_illness() -> None:
    """A request that makes a server fail does not take it from others; several in a row do."""
    found = routes(LANE)
    way = plan(found, "plain").ways[0]
    for number in range(ERRORS):
        assert "but" not in plan(found, "plain").reason, number
        fails(found, way, 500)
    assert "it answered 500" in plan(found, "plain").reason
    fails(found, way, 200)
    fails(found, way, 500)
    assert "but" not in plan(found, "plain").reason


@pytest.mark.parametrize("status", [200, 400, 413, 422])
def test_an_answer_is_a_sign_of_health(status: int) -> None:
    """A refusal of one request says that the server works."""
    found = routes(LANE)
    way = plan(found, "plain").ways[0]
    fails(found, way, 0)
    assert found.health.troubled
    fails(found, way, status)
    assert not found.health.troubled


def test_retry_after() -> None:
    """A model whose server says how long to wait is left alone for so long, others are asked;
    if there is no other, the client is told how long."""
    clock = Clock()
    found = routes(Lane("a", ("gpt-big", "gift")), clock=clock)
    way = plan(found, "gpt-big").ways[0]
    fails(found, way, 429, 12.0)
    assert names(plan(found, "a")) == ["cloud/gift"]  # limits are counted by model
    with pytest.raises(ModelsResting, match=r"gpt-big.*429.*again in 12 s") as caught:
        plan(found, "gpt-big")
    assert caught.value.retry_after_s == pytest.approx(12.0) and caught.value.status == 429
    clock.now += 12.01
    assert names(plan(found, "a")) == ["cloud/gpt-big", "cloud/gift"]
    found.health.sweep()
    assert not found.health.troubled


def test_rate_limit_without_a_time() -> None:
    """A 429 that names no time puts the model last for a moment, and refuses nothing."""
    found = routes(LANE)
    way = plan(found, "plain").ways[0]
    fails(found, way, 429)
    assert plan(found, "plain").ways == (way,)
    fails(found, way, 529, 30.0)
    assert "busy (529); again in 30 s" in plan(found, "plain").reason


@pytest.mark.parametrize("wait", [float("inf"), 1e30, -5.0, float("nan")])
def test_absurd_waits(wait: float) -> None:
    """Nobody is believed who asks for more than a day."""
    clock = Clock()
    found = routes(LANE, clock=clock)
    way = plan(found, "plain").ways[0]
    fails(found, way, 429, wait)
    clock.now += WAIT_MAX_S + 1
    assert "but" not in plan(found, "plain").reason


def test_refusals_of_the_key_and_lacking_models() -> None:
    """An instance that refuses our key goes last with all its models, one that lacks a model with
    that one."""
    found = routes(LANE)
    one, other = (way for way in plan(found, "qwen").ways)
    fails(found, one, 404)
    assert plan(found, "qwen").ways == (other, one)
    assert "but" not in plan(found, "llava").reason
    fails(found, one, 401)
    assert "refused stead's key" in plan(found, "llava").reason


def test_load() -> None:
    """Calls go where the fewest are under way."""
    found = routes()
    busy = plan(found, "qwen").ways[0]
    found.began(busy)
    for _ in range(4):
        assert plan(found, "qwen").ways[0] is not busy
    found.ended(busy, status=200)
    firsts = [name(plan(found, "qwen").ways[0]) for _ in range(10)]
    assert set(firsts) == {"box1/qwen", "box2/qwen"}, "equals take turns"


def test_a_conversation_stays() -> None:
    """A conversation stays where its prompt cache is, though others are a little less busy; it
    moves when that instance is much busier, or rests, and stays where it moved to."""
    clock = Clock()
    found = routes(clock=clock)
    home = plan(found, "qwen", session="talk").ways[0]
    for _ in range(MUCH - 1):
        found.began(home)
        assert plan(found, "qwen", session="talk").ways[0] is home
    for _ in range(MUCH):
        found.began(home)
    away = plan(found, "qwen", session="talk").ways[0]
    assert away is not home
    for _ in range(2 * MUCH):
        found.ended(home, status=200)
    assert plan(found, "qwen", session="talk").ways[0] is away
    fails(found, away)
    assert plan(found, "qwen", session="talk").ways[0] is home
    clock.now += 100.0
    assert plan(found, "qwen", session="talk").ways[0] is home


def test_a_restart_scatters_no_conversation() -> None:
    """What is forgotten is worked out again: the same conversation, the same instance."""
    before, after = routes(), routes()
    sessions = [f"talk {n}" for n in range(60)]
    places = [name(plan(before, "qwen", session=one).ways[0]) for one in sessions]
    assert places == [name(plan(after, "qwen", session=one).ways[0]) for one in sessions]
    assert 10 < places.count("box1/qwen") < 50


def test_memory_of_conversations_is_bounded() -> None:
    """However many conversations there are, the last ones are remembered and no more."""
    found = routes()
    for number in range(MOST_SESSIONS + 50):
        plan(found, "qwen", session=str(number))
    assert len(found._spread) == MOST_SESSIONS


def test_state_outlives_a_change_of_the_setup() -> None:
    """What is known of an instance holds on after a change; what went is forgotten, and a call
    that ends there later does no harm."""
    found = routes(LANE)
    gone = next(way for way in plan(found, "qwen").ways if way.backend is BOX_B)
    found.began(gone)
    kept = next(way for way in plan(found, "qwen").ways if way.backend is BOX_A)
    fails(found, kept)
    backends = tuple(one for one in found.setup.backends if one is not BOX_B)
    found.prepare(type(found.setup)(backends, (LANE,)))()
    assert names(plan(found, "qwen")) == ["box1/qwen"]
    assert "it gave no answer" in plan(found, "qwen").reason
    found.ended(gone, status=0)
    assert BOX_B.place not in found.health.places
