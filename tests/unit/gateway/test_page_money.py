"""The rooms *Costs* and *Settings*, with forms and links alone, over a whole gateway."""

from __future__ import annotations

from pathlib import Path

from stead.inference.scripted import Running
from tests.unit.gateway.browsing import HOSTILE, Browsing
from tests.unit.gateway.parts import Gate, gate_at

MORE = """
[[backend]]
name = "cloud"
url = "https://api.example.org/v1"
headers = ["Authorization: Bearer very-secret-1"]
models = [{name = "no-price-is-known-of-this"}]
"""


async def test_costs_down_to_each_call(gate: Gate) -> None:
    """Sums by each kind, each day, and from there every call with why it went there; hostile
    names are words."""
    gate.work()
    for session in ("kitchen", HOSTILE):
        await gate.ended(await gate.say(f"[[light]] {HOSTILE}", session=session))
    body = {"model": HOSTILE, "messages": [{"role": "user", "content": HOSTILE}]}
    await gate.ask("POST", "/v1/chat/completions", body)
    browsing = Browsing(gate)
    pages = await browsing.every("/costs", *(
        f"/costs?by={by}&days=0"
        for by in ("model", "lane", "key", "session", "backend", "share", "month", "nonsense")
    ))  # fmt: skip
    assert any("kitchen" in page.words for page in pages.values())
    calls = [page for url, page in pages.items() if url.startswith("/costs/calls/")]
    assert calls and all("Why" in page.words for page in calls)
    listed = pages["/costs/calls"].form("model", "cost_over_usd")
    assert "No such calls" in (await browsing.send(listed, model="none of that name")).words
    failed = await browsing.send(listed, outcome="error")
    assert len(failed.links) < len(pages["/costs/calls"].links)
    wrong = await browsing.send(listed, slow_s="long", status=422)
    assert "is no number" in wrong.words and wrong.form("slow_s").fields["slow_s"] == "long"


async def test_models_without_a_price_are_said(tmp_path: Path, scripted: Running) -> None:
    """Who is not asked since nobody knows the price stands at the top of the room."""
    async with gate_at(tmp_path / "home", scripted, more=MORE) as gate:
        page = await Browsing(gate).get("/costs")
        assert "no-price-is-known-of-this at cloud" in page.words
        page = await Browsing(gate).get("/settings/file")
        assert "very-secret" not in page.html and "(hidden)" in page.html
        for url, shown in (await Browsing(gate).every("/settings")).items():
            assert "very-secret" not in shown.html, url


async def test_a_setting_is_looked_at_checked_and_saved(gate: Gate) -> None:
    """Each setting has a form of its kind; what is wrong is said and not written; what holds at
    once does, the rest is said to wait; back to the default."""
    file = gate.home / "stead.toml"
    before = file.read_text()
    browsing = Browsing(gate)
    pages = await browsing.every("/settings")
    assert len(pages) > 100
    form = pages["/settings/edit?path=node.slots"].form("value", "base")
    wrong = await browsing.send(form, "save", value=f"many {HOSTILE}", status=422)
    assert "expected" in wrong.words and wrong.form("value").fields["value"].startswith("many")
    assert file.read_text() == before
    checked = await browsing.send(form, "check", value="9")
    assert "+slots = 9" in checked.words and "After a restart" in checked.words
    assert file.read_text() == before
    saved = await browsing.send(checked.form("value", "base"), "save")
    assert "after a restart" in saved.words and "slots = 9" in file.read_text()
    assert "kept in the history" in saved.words
    stale = await browsing.send(form, "save", value="8", status=422)
    assert "changed since it was read" in stale.words and "slots = 9" in file.read_text()
    held = await browsing.get("/settings/edit?path=node.slots")
    await browsing.send(held.form("value"), "default")
    assert "slots = 9" not in file.read_text()
    rule = await browsing.get("/settings/add?table=queue.limit")
    filled = rule.form("v-key", "v-at_once")
    none = await browsing.send(filled, "save", {"v-key": "kind:mail"}, status=422)
    assert "says nothing" in none.words
    done = await browsing.send(none.form("v-key"), "save", {"v-key": "kind:mail", "v-at_once": "2"})
    assert "Written" in done.words and 'key = "kind:mail"' in file.read_text()
    words = (await browsing.get("/settings/file")).form("text")
    assert words.fields["text"] == file.read_text()
    bad = await browsing.send(words, "save", text=words.fields["text"] + "\n[[[", status=422)
    assert bad.form("text").fields["text"].endswith("[[[") and "not TOML" in bad.words
    await browsing.send(words, "save", text=words.fields["text"] + "\n# mine\n")
    assert file.read_text().endswith("# mine\n")
