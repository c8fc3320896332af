"""The owner's API to the settings: nothing is written that the check has not passed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from stead.inference.scripted import Running
from tests.unit.gateway.parts import Gate, gate_at

SECRET = "Bearer abc-123-very-secret"
MORE = f"""
[[backend]]
name = "cloud"
url = "https://me:hunter22@example.org/v1"
headers = ["Authorization: {SECRET}", "X-Team: t1"]  # the key of the team
models = [{{name = "m", free = true}}]
"""


async def told(gate: Gate) -> dict[str, Any]:
    answer = await gate.ask("GET", "/api/v1/config/settings")
    assert answer.status == 200, answer
    return {one["path"]: one for one in answer.data["settings"]} | {"": answer.data}


async def put(gate: Gate, values: dict[str, Any], **more: Any) -> Any:
    return await gate.ask("POST", "/api/v1/config/settings", {"values": values, **more})


async def test_every_value_with_its_origin(gate: Gate) -> None:
    """What holds, from which line it came, its default, whether a change holds at once."""
    found = await told(gate)
    assert found["gateway.max_body_mb"]["origin"].startswith("stead.toml line ")
    assert found["queue.max_tries"]["origin"] == "default"
    assert found["queue.backoff_s"]["value"] == 0.02 and found["queue.backoff_s"]["help"]
    assert found["budget.daily_usd"]["live"] and not found["node.slots"]["live"]
    assert found[""]["base"] and not found[""]["trouble"]


async def test_a_value_is_checked_written_and_holds(gate: Gate) -> None:
    """A dry run writes nothing; then what can hold at once does, the rest waits; comments and the
    old file are kept; a fault names its path and changes nothing."""
    file = gate.home / "stead.toml"
    file.write_text("# mine\n" + file.read_text())
    before = file.read_text()
    dry = (await put(gate, {"budget.daily_usd": "7.5", "node.slots": 7}, dry_run=True)).data
    assert dry["live"] == ["budget.daily_usd"] and dry["restart"] == ["node.slots"]
    assert "+daily_usd = 7.5" in dry["diff"] and not dry["written"]
    assert file.read_text() == before
    for bad in ({"node.slots": "many"}, {"node.slts": 3}, {"listen": "nowhere"}, {"a[0].b.": 1}):
        answer = await put(gate, bad)
        assert answer.status == 422 and answer.error["message"], bad
        assert file.read_text() == before
    done = (await put(gate, {"budget.daily_usd": "7.5", "node.slots": 7}, base=dry["base"])).data
    assert done["written"] and done["kept"] == "history" and done["change"]
    found = await told(gate)
    assert found["budget.daily_usd"]["value"] == 7.5
    assert found["node.slots"]["wanted"] == 7 != found["node.slots"]["value"]
    assert file.read_text().startswith("# mine\n")
    old = await gate.ask("GET", f"/api/v1/memory/history/{done['change']}")
    assert "+daily_usd = 7.5" in old.data["diff"]
    stale = await put(gate, {"node.slots": 8}, base=dry["base"])
    assert stale.status == 409 and stale.error["code"] == "config_stale"
    back = (await put(gate, {"budget.daily_usd": None, "node.slots": None})).data
    assert back["written"] and "daily_usd" not in file.read_text()
    assert (await told(gate))["budget.daily_usd"]["origin"] == "default"


async def test_tables_are_added_whole_and_taken_out(gate: Gate) -> None:
    """A table needs several values at once: all are set in one go, checked together."""
    one = {"queue.limit[0].key": "kind:mail"}
    assert (await put(gate, one)).status == 422  # it says nothing
    assert (await put(gate, {**one, "queue.limit[0].at_once": "2"})).data["written"]
    assert (await told(gate))["queue.limit[0].key"]["wanted"] == "kind:mail"
    assert (await put(gate, {"queue.limit[0]": None})).data["written"]
    assert "queue.limit[0].key" not in await told(gate)


async def test_secrets_are_never_shown(tmp_path: Path, scripted: Running) -> None:
    """Keys in headers and passwords in addresses are in no answer: values, file, difference,
    history; they stay in the file when lines beside them change."""
    async with gate_at(tmp_path / "home", scripted, more=MORE) as gate:
        file = gate.home / "stead.toml"
        held = (await gate.ask("GET", "/api/v1/config/file")).data
        assert held["hidden"] and "X-Team: (hidden)" in held["text"]
        text = held["text"].replace('name = "cloud"', 'name = "sky"')
        answers = [await gate.ask("GET", "/api/v1/config/settings")]
        for dry in (True, False):
            body = {"text": text, "base": held["base"], "dry_run": dry}
            answers.append(await gate.ask("PUT", "/api/v1/config/file", body))
        change = answers[-1].data["change"]
        answers.append(await gate.ask("GET", f"/api/v1/memory/history/{change}"))
        first = (await gate.ask("GET", "/api/v1/memory/history?what=stead.toml&limit=50")).data
        for one in first["changes"]:
            answers.append(await gate.ask("GET", f"/api/v1/memory/history/{one['id']}"))
        for answer in answers:
            assert answer.status == 200, answer
            said = answer.raw.decode()
            assert "very-secret" not in said and "hunter22" not in said and "t1" not in said
        assert SECRET in file.read_text() and "hunter22" in file.read_text()
        assert '"sky"' in file.read_text()
        edited = (await gate.ask("GET", "/api/v1/config/file")).data
        bad = edited["text"].replace("# the key of the team", "# changed")
        refused = await gate.ask("PUT", "/api/v1/config/file", {"text": bad})
        assert refused.status == 400 and "hidden" in refused.error["message"]
        assert (await put(gate, {"backend[1].headers": ["A: (hidden)"]})).status == 400
        assert SECRET in file.read_text()


async def test_two_at_once(gate: Gate) -> None:
    """Two who looked at the same version: one is written, the other is told."""
    base = (await told(gate))[""]["base"]
    both = await asyncio.gather(
        *(put(gate, {"budget.daily_usd": n + 1.5}, base=base) for n in range(2))
    )
    assert sorted(one.status for one in both) == [200, 409]


async def test_a_broken_file_is_said_and_not_touched(gate: Gate) -> None:
    """What is no TOML is told with the settings that hold; it can be mended as a whole."""
    file = gate.home / "stead.toml"
    sound = file.read_text()
    file.write_text(sound + "\n[[[")
    assert (await put(gate, {"node.slots": 7})).status == 422
    assert file.read_text().endswith("[[[")
    held = (await gate.ask("GET", "/api/v1/config/file")).data
    body = {"text": held["text"].removesuffix("[[["), "base": held["base"]}
    assert (await gate.ask("PUT", "/api/v1/config/file", body)).status == 200
    assert file.read_text() == sound + "\n"
