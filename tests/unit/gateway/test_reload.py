"""A changed stead.toml holds in a running gateway: whole or not at all, and without a lost call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stead.app.reload import Reload
from stead.config import Settings, load
from stead.core.errors import ConfigError
from tests.unit.gateway.parts import Gate


def write(home: Path, text: str) -> None:
    (home / "stead.toml").write_text(text)


class Taker:
    """Notes what it was to take, and what it took; refuses a backend named ``bad``."""

    def __init__(self) -> None:
        self.holds: Settings | None = None

    def __call__(self, settings: Settings) -> Callable[[], None]:
        if any(backend.name == "bad" for backend in settings.backend):
            raise ConfigError("no such thing", param="backend")

        def take() -> None:
            self.holds = settings

        return take


def reload_of(home: Path) -> tuple[Reload, Taker, Taker]:
    first, second = Taker(), Taker()
    return Reload(load(home), [("first", first), ("second", second)]), first, second


BACKEND = '[[backend]]\nname = "{}"\nurl = "http://a/v1"\nmodels = [{{ name = "m" }}]\n'


def test_all_or_nothing(tmp_path: Path) -> None:
    """One who refuses keeps all from taking; a file with a fault is told with its path; then the
    sound one holds for all."""
    write(tmp_path, "")
    found, first, second = reload_of(tmp_path)
    for faulty, param in (
        (BACKEND.format("bad"), "backend"),
        (BACKEND.format("a") + "[[lane]]\nname = 'x'\nmodels = ['y']", "lane[0].models[0]"),
        ("[[[", None),
        ("nonsense = 1", "nonsense"),
    ):
        write(tmp_path, faulty)
        with pytest.raises(ConfigError) as caught:
            found.apply()
        assert caught.value.param == param
        assert first.holds is None and second.holds is None
        assert not found.settings.backend and "The settings from before hold" in found.troubles()[0]
        assert found.view()["fault"]["param"] == param
    write(tmp_path, BACKEND.format("a"))
    assert "backend[0].name" in found.apply().live
    assert first.holds is second.holds is not None and found.settings.backend[0].name == "a"
    assert found.troubles() == [] and found.view()["fault"] is None


def test_what_needs_a_restart(tmp_path: Path) -> None:
    """Settings that cannot be changed now are named until the restart, or until they are as they
    were; who looks at the settings sees what holds."""
    write(tmp_path, "")
    found, first, _ = reload_of(tmp_path)
    write(tmp_path, '[queue]\nlease_s = 7\n[log]\nlevel = "debug"\n')
    changed = found.apply()
    assert changed.restart == ("queue.lease_s",) and changed.live == ("log.level",)
    assert "queue.lease_s" in found.troubles()[0]
    assert found.settings.queue.lease_s == 30 and found.settings.log.level == "debug"
    assert first.holds is not None and first.holds.queue.lease_s == 30
    write(tmp_path, '[log]\nlevel = "debug"\n')
    assert found.apply().live == () and found.troubles() == []


async def test_noticed_by_itself(tmp_path: Path) -> None:
    """A change is taken over without a word, a fault is kept out, and a file that goes away
    changes nothing."""
    write(tmp_path, BACKEND.format("a"))
    found, first, _ = reload_of(tmp_path)
    watching = asyncio.ensure_future(found.run())
    try:
        write(tmp_path, BACKEND.format("b"))
        await until(lambda: found.settings.backend[0].name == "b")
        write(tmp_path, "[[lane]]\nname = 'x'\nmodels = []")
        await until(lambda: found.fault is not None)
        assert found.settings.backend[0].name == "b"
        write(tmp_path, BACKEND.format("c"))
        await until(lambda: found.settings.backend[0].name == "c" and found.fault is None)
        (tmp_path / "stead.toml").unlink()
        await until(lambda: found.fault is not None)
        assert "is gone" in found.troubles()[0] and found.settings.backend[0].name == "c"
    finally:
        watching.cancel()
    assert first.holds is not None and first.holds.backend[0].name == "c"


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("what was waited for did not happen within 20 s")


# --- in a gateway ---


async def ask(gate: Gate, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await gate.ask(method, path, body)
    return answer.status, answer.data


async def test_through_the_gateway(gate: Gate) -> None:
    """`stead config apply` puts a lane in place that the next request can name, says what was
    wrong with a faulty file, and `status` shows both."""
    file = gate.home / "stead.toml"
    sound = file.read_text()
    file.write_text(sound + '\n[[lane]]\nname = "quick"\nmodels = ["nope"]\n')
    status, told = await ask(gate, "POST", "/api/v1/config/apply", {})
    assert status == 422 and told["error"]["param"] == "lane[0].models[0]"
    _, shown = await ask(gate, "GET", "/api/v1/status")
    assert shown["config"]["fault"]["param"] == "lane[0].models[0]"
    assert any("The settings from before hold" in words for words in shown["not_yet"])
    name = shown["backends"][0]["models"][0]
    file.write_text(sound + f'\n[[lane]]\nname = "quick"\nmodels = ["{name}"]\n')
    status, told = await ask(gate, "POST", "/api/v1/config/apply", {})
    assert status == 200 and "lane[0].name" in told["changed"] and told["restart"] == []
    body = {"model": "quick", "messages": [{"role": "user", "content": "hello"}]}
    status, answer = await ask(gate, "POST", "/v1/chat/completions", body)
    assert status == 200, answer
    _, listed = await ask(gate, "GET", "/v1/models")
    assert "quick" in [entry["id"] for entry in listed["data"]]


async def test_backends_are_shown_and_tested(gate: Gate) -> None:
    """The list has each instance with its state and each lane; a test asks for the models."""
    _, found = await ask(gate, "GET", "/api/v1/backends")
    name = found["backends"][0]["name"]
    assert {lane["name"] for lane in found["lanes"]} >= {"main", "light"}
    status, told = await ask(gate, "POST", f"/api/v1/backends/{name}/test", {})
    assert status == 200 and told["instances"][0]["ok"]
    status, told = await ask(gate, "POST", "/api/v1/backends/none/test", {})
    assert status == 404 and name in told["error"]["message"]


async def test_rules_of_the_house_are_taken_over_with_the_lanes(gate: Gate) -> None:
    """A rule holds from the change on, also for names that a judging rule gives to its lane; one
    that is taken away holds no more."""
    file = gate.home / "stead.toml"
    sound = file.read_text()
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    judge = '\n[[judge]]\nname = "any"\nlane = "quick"\nmodels = ["gpt-4o"]\n'
    lane = '\n[[lane]]\nname = "quick"\nmodels = ["scripted"]\n'
    rule = '\n[[rule]]\nname = "no"\nlanes = ["quick"]\nthen = "block"\n'
    for text, expected in ((judge + lane, 200), (judge + lane + rule, 403), (judge + lane, 200)):
        file.write_text(sound + text)
        status, told = await ask(gate, "POST", "/api/v1/config/apply", {})
        assert status == 200 and told["restart"] == [], told
        status, told = await ask(gate, "POST", "/v1/chat/completions", body)
        assert status == expected, told
