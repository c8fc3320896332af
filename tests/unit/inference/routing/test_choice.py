"""Judging, shares and shadows, the local model, and a new setup while all runs."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.core.errors import ConfigError, SteadError
from stead.core.languages import LANGUAGES, language_of
from stead.inference import modelstate
from stead.inference.backends import LocalModel
from stead.inference.modelstate import ModelState
from stead.inference.routing.routes import Routes
from stead.inference.routing.rules import Judge, Lane, Setup
from stead.inference.seam import Api, Verdict, Who
from tests.unit.inference.routing.houses import HOUSE, Clock, names, plan, routes

BIG = Lane("big", ("gpt-big",))
EYES = Lane("eyes", ("llava",))
SMALL = Lane("small", ("plain",))


def judged(*rules: Judge) -> Routes:
    return routes(BIG, EYES, SMALL, judges=rules)


def test_judged_by_what_it_is() -> None:
    """The first rule that holds decides, and the plan says which it was and why."""
    found = judged(
        Judge("pictures", "eyes", images="yes"),
        Judge("long", "big", min_chars=20_000),
        Judge("short and plain", "small", max_chars=100, tools="no"),
    )
    assert plan(found, "auto", images=True, chars=15_000).lane == "eyes"
    assert plan(found, "auto", chars=30_000).lane == "big"
    assert plan(found, "", chars=50).lane == "small"
    reason = plan(found, "auto", chars=30_000).reason
    assert reason.startswith("judged by the rule long (at least 20000 characters): lane big")
    assert plan(found, "auto", chars=50, tools=True).lane == ""  # no rule: as without any
    assert plan(found, "qwen", images=False, chars=30_000).lane == ""  # named: not judged


def test_judged_by_origin() -> None:
    """Who asks may decide: the name of a key, a job, background work; and how it is asked."""
    found = judged(
        Judge("reader", "eyes", keys=frozenset({"reader"})),
        Judge("mine", "small", keys=frozenset({"jobs"}), min_chars=9),
        Judge("night", "small", share="background"),
        Judge("claude code", "big", apis=frozenset({"messages"})),
    )
    assert plan(found, "auto", who=Who("reader", "k1")).lane == "eyes"
    assert plan(found, "auto", who=Who("job", job_id="j"), chars=9).lane == "small"
    assert plan(found, "auto", who=Who("jobs", "k2"), chars=9).lane == "small"
    assert plan(found, "auto", who=Who("owner"), chars=9).lane == ""
    assert plan(found, "auto", who=Who("job", job_id="j", lane="background")).lane == "small"
    assert plan(found, "auto", Api.MESSAGES).lane == "big"
    assert plan(found, "auto").lane == ""


def test_judged_by_language() -> None:
    """The last words of the user may decide, in whatever shape they are asked."""
    found = judged(Judge("german", "big", language=frozenset({"de"})))
    words = "Wie ist das Wetter in der Stadt, und was mache ich mit dem Hund?"
    bodies = {
        Api.CHAT: {
            "messages": [
                {"role": "user", "content": "what is the weather"},
                {"role": "assistant", "content": "It is fine and that is all there is to say."},
                {"role": "user", "content": [{"type": "text", "text": words}]},
            ]
        },
        Api.RESPONSES: {"input": [{"role": "user", "content": words}]},
        Api.COMPLETIONS: {"prompt": words},
    }
    for api, body in bodies.items():
        assert plan(found, "auto", api, body=msgspec.json.encode(body)).lane == "big", api
    for odd in (b"", b"\xff", b"[]", b'{"messages":[{"role":"user","content":7}]}'):
        assert plan(found, "auto", body=odd).lane == ""


def test_other_names_can_be_judged() -> None:
    """A program that can only name one model gets the right one all the same."""
    found = judged(Judge("pictures", "eyes", models=("gpt-4o", "qwen"), images="yes"))
    assert plan(found, "gpt-4o", images=True).lane == "eyes"
    assert plan(found, "qwen", images=True).lane == "eyes"
    assert "qwen was asked for" in plan(found, "qwen").reason


def test_auto_goes_to_the_owners_lane() -> None:
    """What no rule judges goes to lane `main` if the owner made one, pictures to `vision`."""
    found = routes(Lane("main", ("plain",)), Lane("vision", ("llava",)))
    assert plan(found, "auto").lane == "main"
    assert plan(found, "auto", images=True).lane == "vision"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("What is the capital of France, and how do I get there?", "en"),
        ("Kannst du mir bitte sagen, wie spät es ist?", "de"),
        ("Quelle est la capitale de la France et que peux-tu me dire ?", "fr"),
        ("¿Cuál es la capital de España y qué puedo hacer para llegar?", "es"),
        ("Qual è la capitale della Francia e come ci si arriva con il treno?", "it"),
        ("Wat is de hoofdstad van Nederland en hoe kom ik daar met het openbaar vervoer?", "nl"),
        ("Какая сегодня погода в Москве?", "ru"),
        ("Яка сьогодні погода в Києві?", "uk"),
        ("今日の天気はどうですか", "ja"),
        ("今天天气怎么样", "zh"),
        ("오늘 날씨 어때", "ko"),
        ("ما هو الطقس اليوم", "ar"),
        ("", ""),
        ("12345 + 67", ""),
        ("def f(x): return x ** 2", ""),
    ],
)
def test_languages(text: str, code: str) -> None:
    """A sentence tells its language by its script or its small words; what does not, tells none."""
    assert language_of(text) == code


@given(st.text())
def test_any_text_has_a_known_language_or_none(text: str) -> None:
    """Whatever is asked, the answer is a code that rules can name, or nothing."""
    assert language_of(text) in LANGUAGES | {""}


def test_shares() -> None:
    """A share of the conversations begins at each model, always the same ones; the others stand
    by as they stand in the lane."""
    lane = Lane("a", ("gpt-big", "claude", "plain"), weights=(9, 1, 0))
    found, again = routes(lane), routes(lane)
    firsts = {}
    for number in range(400):
        told = plan(found, "a", session=f"talk {number}")
        firsts[number] = names(told)[0]
        assert plan(found, "a", session=f"talk {number}").ways == told.ways
        assert names(plan(again, "a", session=f"talk {number}")) == names(told)
        assert len(told.ways) == 3 and names(told)[2] == "shelf/plain"
    counts = [list(firsts.values()).count(one) for one in ("cloud/gpt-big", "far/claude")]
    assert sum(counts) == 400 and 15 < counts[1] < 80
    lone = [names(plan(found, "a"))[0] for _ in range(100)]
    assert 5 <= lone.count("far/claude") <= 15  # single requests are spread, too


def test_a_share_crosses_no_border() -> None:
    """From the free model of a lane nothing goes on to the paid one, whichever came first."""
    lane = Lane("a", ("gpt-big", "plain"), weights=(1, 1))
    seen = {tuple(names(plan(routes(lane), "a", session=f"{n}"))) for n in range(40)}
    assert seen == {("cloud/gpt-big", "shelf/plain"), ("shelf/plain",)}


def test_shadow() -> None:
    """A shadow is asked beside, for a share of the conversations, within the borders."""
    lane = Lane("a", ("qwen",), shadow="plain")
    told = plan(routes(lane), "a")
    assert told.shadow is not None and told.shadow.model.name == "plain"
    assert "shelf/plain" not in names(told)
    assert plan(routes(lane), "a", tools=True).shadow is None  # it cannot take it
    half = routes(Lane("a", ("qwen",), shadow="plain", shadow_share=0.5))
    asked_too = [plan(half, "a", session=f"{n}").shadow is not None for n in range(200)]
    assert 60 < sum(asked_too) < 140
    none = routes(Lane("a", ("qwen",), shadow="plain", shadow_share=0.0))
    assert plan(none, "a", session="x").shadow is None
    assert plan(routes(Lane("a", ("qwen",), shadow="gpt-big")), "a").shadow is None
    opened = routes(Lane("a", ("qwen",), shadow="gpt-big", paid=True, cloud=True))
    assert plan(opened, "a").shadow is not None
    assert plan(opened, "a", verdict=Verdict(local_only=True)).shadow is None
    assert plan(opened, "a", verdict=Verdict(models=frozenset({"a"}))).shadow is not None
    assert plan(opened, "a", verdict=Verdict(models=frozenset({"qwen"}))).shadow is None


def test_lanes_that_never_leave_the_house() -> None:
    """A request that is judged into such a lane stays at home; in another it may go out."""
    judges = (
        Judge("long", "out", min_chars=100, models=("auto",)), Judge("rest", "home"),
    )  # fmt: skip
    lanes = (Lane("home", ("gpt-big", "qwen")), Lane("out", ("gpt-big", "qwen")))
    found = routes(*lanes, judges=judges)
    verdict = Verdict(local_lanes=frozenset({"home"}))
    assert names(plan(found, "auto", verdict=verdict))[0].startswith("box")
    assert names(plan(found, "home", verdict=verdict))[0].startswith("box")
    assert names(plan(found, "auto", chars=200, verdict=verdict))[0] == "cloud/gpt-big"
    assert names(plan(found, "auto"))[0] == "cloud/gpt-big"
    assert names(plan(found, "gpt-big", verdict=verdict)) == ["cloud/gpt-big"]


MODELS = ("qwen", "llava", "plain", "gpt-big", "gift", "claude")


@given(
    models=st.lists(st.sampled_from(MODELS), min_size=1, unique=True),
    paid=st.booleans(), cloud=st.booleans(), local_only=st.booleans(),
    tools=st.booleans(), images=st.booleans(), chars=st.integers(0, 300_000),
    failing=st.sets(st.sampled_from(MODELS)), weighted=st.booleans(), session=st.text(max_size=4),
)  # fmt: skip
def test_no_border_is_ever_crossed(
    models: list[str], paid: bool, cloud: bool, local_only: bool, tools: bool, images: bool,
    chars: int, failing: set[str], weighted: bool, session: str,
) -> None:  # fmt: skip
    """Whatever a lane holds, a request needs and a server suffers: nothing paid comes after what
    is free and nothing from the cloud after the house unless the lane says so, and nothing
    leaves that may not."""
    weights = tuple(float(n % 3) for n in range(1, len(models) + 1)) if weighted else ()
    found = routes(Lane("a", tuple(models), weights=weights, paid=paid, cloud=cloud))
    for model in failing:
        for way in found.table.find(model).chains[0].choices[0].ways(Api.CHAT):  # type: ignore[union-attr]
            found.began(way)
            found.ended(way, status=0)
    try:
        told = plan(
            found, "a", verdict=Verdict(local_only=local_only), tools=tools, images=images,
            chars=chars, session=session,
        )  # fmt: skip
    except SteadError as error:
        assert error.status in (400, 403)
        return
    kept = [way.backend.keeps(way.model) for way in told.ways if way.backend is not None]
    costs = [way.model.paid for way in told.ways]
    assert not local_only or all(kept)
    for earlier, later in itertools.combinations(range(len(told.ways)), 2):
        assert paid or costs[earlier] or not costs[later]
        assert cloud or not kept[earlier] or kept[later]


# --- the local model ---


def local(home: Path, phase: str = "ready", model: str = "tiny-1b") -> None:
    url = "http://127.0.0.1:1/v1" if phase == "ready" else ""
    modelstate.write(home, ModelState(phase, model=model, url=url, context=2048))


def test_the_local_model(tmp_path: Path) -> None:
    """`auto`, `local`, its name and the roles mean the local model, which is found at the call."""
    local(tmp_path)
    found = Routes(Setup(HOUSE), LocalModel(tmp_path))
    for wanted in ("auto", "local", "tiny-1b", "main", "light", "cron"):
        told = plan(found, wanted)
        assert names(told) == ["local"] and told.ways[0].model.context == 2048, wanted
    assert plan(found, "main").reason == "role main is auto: the local model tiny-1b"
    assert found.profile("main").tools == "schema"
    assert "tiny-1b" in [entry["id"] for entry in found.entries()]
    assert plan(found, "tiny-1b", Api.MESSAGES).ways[0].api is Api.CHAT


def test_the_local_model_changes(tmp_path: Path) -> None:
    """Another local model is noticed; its old name means it, too, for jobs that began with it."""
    clock = Clock()
    local(tmp_path)
    found = Routes(Setup(HOUSE), LocalModel(tmp_path), clock=clock)
    plan(found, "tiny-1b")
    local(tmp_path, model="larger-2b")
    clock.now += 1
    for wanted in ("tiny-1b", "larger-2b", "auto"):
        assert plan(found, wanted).ways[0].model.name == "larger-2b"


def test_a_local_model_that_is_loading(tmp_path: Path) -> None:
    """A local model that is not ready comes after those that are, and is waited for where there
    is no other."""
    clock = Clock()
    local(tmp_path, "loading")
    found = Routes(Setup(HOUSE, (Lane("a", ("auto", "plain")),)), LocalModel(tmp_path), clock=clock)
    told = plan(found, "a")
    assert names(told) == ["shelf/plain", "local"] and "loading into memory" in told.reason
    assert names(plan(found, "main")) == ["local"]
    local(tmp_path)
    clock.now += 1
    assert names(plan(found, "a")) == ["local", "shelf/plain"]
    modelstate.write(tmp_path, ModelState("off"))
    clock.now += 1
    assert names(plan(found, "a")) == ["shelf/plain"]


# --- a new setup ---


def test_a_new_setup_is_taken_whole_or_not_at_all() -> None:
    """A setup with a fault changes nothing; a sound one holds from the next request on."""
    found = routes(SMALL)
    before = plan(found, "small")
    with pytest.raises(ConfigError):
        found.prepare(Setup(HOUSE, (Lane("small", ("gone",)),)))
    assert plan(found, "small") == before
    take = found.prepare(Setup(HOUSE, (Lane("small", ("llava",)),)))
    assert plan(found, "small") == before
    take()
    assert names(plan(found, "small"))[0].endswith("llava")
