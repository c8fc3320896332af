"""Which models a name stands for, in which order, and what a border keeps out."""

from __future__ import annotations

from typing import Any

import pytest

from stead.core.errors import (
    ConfigError,
    Forbidden,
    ModelNotReady,
    NoModelFits,
    StaysInHouse,
    UnknownModel,
)
from stead.inference.backends import Backend, BackendModel
from stead.inference.routing.routes import Routes
from stead.inference.routing.rules import BY_API, Lane, Setup
from stead.inference.seam import Api, Verdict
from tests.unit.inference.routing.houses import HOUSE, names, plan, routes


@pytest.mark.parametrize("name", ["qwen", "qwen-8b", "box/qwen", "box/qwen-8b"])
def test_a_model_by_its_names(name: str) -> None:
    """A model has its alias, its name, and both behind its backend; every instance stands by."""
    found = plan(routes(), name)
    assert sorted(names(found)) == ["box1/qwen", "box2/qwen"]
    assert found.lane == "" and f"{name} was asked for" in found.reason


def test_unknown() -> None:
    """A name that nothing has is told with those that there are."""
    with pytest.raises(UnknownModel, match=r"'gpt-9'.*qwen.*gpt-big.*main") as caught:
        plan(routes(), "gpt-9")
    assert caught.value.param == "model"


def test_order() -> None:
    """A lane's models come in the order it says, the instances of one after each other."""
    lane = Lane("review", ("qwen", "plain", "box/llava"))
    found = plan(routes(lane), "review")
    assert names(found)[2:3] == ["shelf/plain"]
    assert sorted(names(found)[:2]) == ["box1/qwen", "box2/qwen"]
    assert len(found.ways) == 5 and found.lane == "review"
    assert found.reason == "lane review: box/qwen, then shelf/plain, then box/llava"


@pytest.mark.parametrize(
    ("models", "opens", "ways"),
    [
        (("plain", "gpt-big"), {}, ["shelf/plain"]),
        (("plain", "gpt-big"), {"paid": True}, ["shelf/plain"]),
        (("plain", "gpt-big"), {"cloud": True}, ["shelf/plain"]),
        (("plain", "gpt-big"), {"paid": True, "cloud": True}, ["shelf/plain", "cloud/gpt-big"]),
        (("plain", "gift"), {"cloud": True}, ["shelf/plain", "cloud/gift"]),
        (("plain", "gift"), {"paid": True}, ["shelf/plain"]),
        (("gift", "gpt-big"), {"cloud": True}, ["cloud/gift"]),
        (("gpt-big", "plain"), {}, ["cloud/gpt-big", "shelf/plain"]),
        (("gpt-big", "claude"), {}, ["cloud/gpt-big", "far/claude"]),
        (("gpt-big", "plain", "claude"), {}, ["cloud/gpt-big", "shelf/plain"]),
    ],
)
def test_borders(models: tuple[str, ...], opens: dict[str, Any], ways: list[str]) -> None:
    """Nothing paid follows what is free, nothing in the cloud what is in the house, unless the
    lane says so; and the plan says what was left out and why."""
    found = plan(routes(Lane("a", models, **opens)), "a")
    assert names(found) == ways
    for word, left in (("paid = true", "paid for"), ("cloud = true", "in the cloud")):
        assert (word in found.reason) is (left in found.reason)
    assert ("left out" in found.reason) is (len(ways) < len(models))


def test_a_border_holds_though_the_first_does_not_fit() -> None:
    """That the free model of a lane cannot take a request is no leave to pay for it."""
    lane = Lane("a", ("qwen", "gpt-big"))
    with pytest.raises(NoModelFits, match=r"box/qwen: it sees no images; .*gpt-big.*cloud = true"):
        plan(routes(lane), "a", images=True)
    opened = Lane("a", ("qwen", "gpt-big"), paid=True, cloud=True)
    assert names(plan(routes(opened), "a", images=True)) == ["cloud/gpt-big"]


def test_what_does_not_fit_is_passed_over() -> None:
    """A model that cannot do what is asked is no way, and the reason tells it."""
    lane = Lane("a", ("plain", "qwen"))
    found = plan(routes(lane), "a", tools=True)
    assert set(names(found)) == {"box1/qwen", "box2/qwen"}
    assert "shelf/plain: it has no use for tools" in found.reason
    lane = Lane("b", ("qwen", "gpt-big"), paid=True, cloud=True)
    found = plan(routes(lane), "b", chars=200_000)
    assert names(found) == ["cloud/gpt-big"]
    assert "box/qwen: about 50000 tokens are too long for its context of 8000" in found.reason
    found = plan(routes(lane), "b", chars=36_000)
    assert names(found)[0] == "cloud/gpt-big" and len(found.ways) == 3  # it might just fit: last
    assert len(plan(routes(lane), "qwen", chars=36_000).ways) == 2  # nobody else could take it
    with pytest.raises(NoModelFits, match="too long"):
        plan(routes(lane), "qwen", chars=200_000)


def test_shapes() -> None:
    """A backend is asked as the client asked if it can be, else in a shape that translates."""
    found = routes()
    ways = {
        (model, api): plan(found, model, api).ways[0].api
        for model, api in [
            ("qwen", Api.CHAT), ("qwen", Api.MESSAGES), ("qwen", Api.RESPONSES),
            ("claude", Api.CHAT), ("claude", Api.MESSAGES), ("claude", Api.COUNT_TOKENS),
            ("qwen", Api.COMPLETIONS), ("claude", Api.COMPLETIONS), ("vectors", Api.EMBEDDINGS),
        ]
    }  # fmt: skip
    assert ways == {
        ("qwen", Api.CHAT): Api.CHAT,
        ("qwen", Api.MESSAGES): Api.CHAT,
        ("qwen", Api.RESPONSES): Api.CHAT,
        ("claude", Api.CHAT): Api.MESSAGES,
        ("claude", Api.MESSAGES): Api.MESSAGES,
        ("claude", Api.COUNT_TOKENS): Api.COUNT_TOKENS,
        ("qwen", Api.COMPLETIONS): Api.COMPLETIONS,
        ("claude", Api.COMPLETIONS): Api.MESSAGES,
        ("vectors", Api.EMBEDDINGS): Api.EMBEDDINGS,
    }
    for model, api in (("claude", Api.EMBEDDINGS), ("vectors", Api.CHAT), ("qwen", Api.OCR)):
        with pytest.raises(NoModelFits, match=f"cannot be asked for {api.value}"):
            plan(found, model, api)


def test_never_leaves_the_house() -> None:
    """What may not leave goes to what is in the house, or nowhere."""
    lane = Lane("a", ("gpt-big", "qwen"))
    kept = Verdict(local_only=True)
    assert set(names(plan(routes(lane), "a", verdict=kept))) == {"box1/qwen", "box2/qwen"}
    with pytest.raises(StaysInHouse, match="gpt-big"):
        plan(routes(lane), "gpt-big", verdict=kept)
    mixed = Backend("mixed", "http://10.0.0.5/v1", models=(BackendModel("m"),))
    out = Backend("mixed", "https://mixed.example/v1", models=(BackendModel("m"),))
    with pytest.raises(StaysInHouse):  # one instance out there makes the model one out there
        plan(routes(backends=(mixed, out)), "m", verdict=kept)


@pytest.mark.parametrize(
    ("scope", "model", "ways"),
    [
        ({"a"}, "a", ["cloud/gpt-big", "shelf/plain"]),
        ({"plain"}, "a", ["shelf/plain"]),
        ({"shelf/*"}, "a", ["shelf/plain"]),
        ({"plain"}, "plain", ["shelf/plain"]),
        ({"shelf/plain"}, "plain", ["shelf/plain"]),
        ({"claude"}, "a", []),
        ({"a"}, "plain", []),
        (set(), "plain", []),
    ],
)
def test_scopes(scope: set[str], model: str, ways: list[str]) -> None:
    """A key that is good for some lanes and models gets those, by any of their names."""
    found = routes(Lane("a", ("gpt-big", "plain")))
    verdict = Verdict(models=frozenset(scope))
    if ways:
        assert names(plan(found, model, verdict=verdict)) == ways
    else:
        with pytest.raises(Forbidden):
            plan(found, model, verdict=verdict)


def test_roles_and_built_in_lanes() -> None:
    """`main` and `light` are what [model] says, or a lane of that name; `cron` and the like go
    the way of `main` until they are set up."""
    found = routes(roles={"main": "box/qwen", "light": "plain"})
    assert set(names(plan(found, "main"))) == {"box1/qwen", "box2/qwen"}
    assert plan(found, "main").reason == "role main is box/qwen: box/qwen"
    assert names(plan(found, "light")) == ["shelf/plain"]
    assert plan(found, "cron").lane == "cron" and "as main" in plan(found, "cron").reason
    assert set(names(plan(found, "cron"))) == {"box1/qwen", "box2/qwen"}
    lanes = (Lane("main", ("plain",)), Lane("cron", ("main", "gpt-big")))
    found = routes(*lanes, roles={"main": "box/qwen", "light": "main"})
    assert names(plan(found, "main")) == ["shelf/plain"]
    assert names(plan(found, "light")) == ["shelf/plain"]
    assert names(plan(found, "cron")) == ["shelf/plain"]
    assert names(plan(found, "vision")) == ["shelf/plain"]


def test_a_role_that_is_a_lane_has_all_of_it() -> None:
    """Shares and borders of a lane hold for the role that it plays."""
    lane = Lane("house", ("plain", "gift"), weights=(1, 1), cloud=True)
    found = routes(lane, roles={"main": "house"})
    firsts = {names(plan(found, "main", session=f"s{n}"))[0] for n in range(40)}
    assert firsts == {"shelf/plain", "cloud/gift"}


def test_no_local_model() -> None:
    """Without a local model `auto` is the first backend's, and `local` is told to be off."""
    for wanted in ("auto", "main"):
        told = plan(routes(), wanted)
        assert names(told)[0] in ("box1/qwen", "box2/qwen")
        assert "there is no local model, so the first backend's: box/qwen" in told.reason
    for wanted in ("local", "main"):
        with pytest.raises(ModelNotReady, match="local model is off"):
            plan(routes(backends=()), wanted)
    assert names(plan(routes(Lane("a", ("auto", "plain"))), "a")) == ["shelf/plain"]


def test_light_services() -> None:
    """The lanes of light services are there unless somebody else is called so."""
    service = Backend(
        "embed", "", models=(BackendModel("e5"),), kind="service",
        apis=frozenset({"embeddings", "rerank"}),
    )  # fmt: skip
    found = routes(services={"embed": service, "rerank": service})
    for model, api in (("embed", Api.EMBEDDINGS), ("", Api.RERANK), ("auto", Api.EMBEDDINGS)):
        way = plan(found, model, api).ways[0]
        assert way.backend is service and way.backend.house
    own = routes(Lane("embed", ("vectors",)), services={"embed": service})
    assert names(plan(own, "embed", Api.EMBEDDINGS)) == ["shelf/vectors"]
    assert names(plan(own, "", Api.EMBEDDINGS)) == ["shelf/vectors"]
    with pytest.raises(NoModelFits, match="cannot be asked"):
        plan(found, "embed", Api.CHAT)


def test_lists_of_inputs_are_not_one_text() -> None:
    """A thousand short texts are no long one: the context says nothing of their sum."""
    assert plan(routes(), "vectors", Api.EMBEDDINGS, chars=10_000_000).ways


@pytest.mark.parametrize("models", [("nope",), ("b",)])
def test_a_lane_that_cannot_be(models: tuple[str, ...]) -> None:
    """A setup that names what is not there, or goes round in a circle, is none."""
    with pytest.raises(ConfigError):
        routes(Lane("a", models), *([Lane("b", ("a",))] if models == ("b",) else []))


def test_the_list_of_models() -> None:
    """/v1/models lists models once, the owner's lanes, and of the others those that can answer."""
    found = routes(Lane("review", ("qwen",)))
    listed = [str(entry["id"]) for entry in found.entries()]
    expected = {"qwen", "llava", "plain", "vectors", "gpt-big", "gift", "claude", "review"}
    expected |= {"main", "light", "cron", "subagent"}  # the first model, which is blind
    assert set(listed) == expected and len(listed) == len(expected)
    assert HOUSE[0].name in {entry["owned_by"] for entry in found.entries()}
    seeing = routes(roles={"main": "llava"})
    assert "vision" in {entry["id"] for entry in seeing.entries()}
    assert not routes(backends=()).entries(), "nobody is there"
    assert {entry["id"] for entry in light(gives=("embed",)).entries()} == {"embed"}


def light(*lanes: Lane, backends: tuple[Backend, ...] = (), gives: tuple[str, ...] = ()) -> Routes:
    """Light services for every lane that has one."""
    own = {
        lane: Backend(lane, "", models=(BackendModel(f"{lane}-1"),), kind="service",
                      apis=frozenset({api.value}))
        for api, lane in BY_API.items()
    }  # fmt: skip
    return Routes(Setup(backends, lanes, services=own), gives=lambda lane: lane in gives)


@pytest.mark.parametrize(
    ("api", "name", "lane"),
    [
        (Api.TRANSCRIPTIONS, "whisper-1", "transcription"),
        (Api.TRANSCRIPTIONS, "gpt-4o-mini-transcribe", "transcription"),
        (Api.SPEECH, "tts-1", "speech"),
        (Api.OCR, "mistral-ocr-latest", "ocr"),
    ],
)
def test_what_clients_ask_for_by_default(api: Api, name: str, lane: str) -> None:
    """A name that clients bring along means stead's own service where it is nobody's here, and only
    there: not for another API, not where a backend, a lane or a rule has it, and never what costs
    or is not in the house. A key for the lane is good for it."""
    told = plan(light(), name, api)
    assert (told.lane, told.ways[0].model.name) == (lane, f"{lane}-1")
    assert told.reason == f"{name} is no model here: lane {lane} is stead's own service: {lane}"
    scoped = Verdict(models=frozenset({lane}))
    assert plan(light(), name, api, verdict=scoped).lane == lane
    with pytest.raises(UnknownModel, match=rf'`name = "{name}"` and `models = \["main"\]`'):
        plan(light(), name)
    for wrong in ("whisper-9", "nonsense"):
        with pytest.raises(UnknownModel, match=rf'`models = \["{lane}"\]`'):
            plan(light(), wrong, api)
    apis = frozenset({api.value})
    mine = Backend("mine", "http://10.0.0.5/v1", models=(BackendModel(name),), apis=apis)
    assert plan(light(backends=(mine,)), name, api).ways[0].backend is mine
    paid = BackendModel("dear", usd_per_mtok_in=1.0)
    far = Backend("far", "https://far.example/v1", models=(paid,), apis=apis)
    dear = light(Lane(lane, ("dear",)), backends=(far,))
    assert plan(dear, "", api).ways[0].backend is far, "who names nothing gets the owner's lane"
    with pytest.raises(UnknownModel):
        plan(dear, name, api)


def test_the_vectors_of_another_model_are_no_stand_in() -> None:
    """Embeddings are kept and compared, so the name of one model never means another by itself;
    what would make it do so is told."""
    for name in ("text-embedding-3-small", "text-embedding-ada-002"):
        with pytest.raises(UnknownModel, match=rf'`name = "{name}"` and `models = \["embed"\]`'):
            plan(light(), name, Api.EMBEDDINGS)
    with pytest.raises(
        UnknownModel, match=r'`\[\[judge\]\]` with a `name`, `models = \["intfloat/e5"\]`'
    ):
        plan(light(), "intfloat/e5", Api.EMBEDDINGS)
    with pytest.raises(UnknownModel, match=r"There are: .*vad\.$"):
        plan(light(), 'so"odd', Api.EMBEDDINGS)


def test_profile() -> None:
    """How to talk to a lane is how to talk to the first of its models that can be asked."""
    found = routes(Lane("a", ("gpt-big", "qwen")))
    assert found.profile("a").context == 400_000
    assert found.profile("qwen").name == "qwen"
