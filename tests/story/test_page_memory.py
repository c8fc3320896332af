"""The rooms *Memory*, *Costs*, *Settings* in a browser: desk, phone, dark, keys, no script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.story.browser import Screen, axe
from tests.story.house import House

CARD = "memory/cards/boiler.md"
HOSTILE = "<img src=x onerror=alert(1)> \u202egnp.exe"
PAGES = (
    "/memory?q=boiler", "/memory/files", f"/memory/file?what={CARD}", f"/memory/edit?path={CARD}",
    f"/memory/history?what={CARD}", "/memory/review", "/memory/graph", "/memory/graph/of?name=Ada",
    "/memory/graph/log", "/memory/contacts", "/memory/contacts/of?who=Ines+Weber",
    "/memory/forget", "/memory/index", "/costs", "/costs?by=session&days=0", "/costs/calls",
    "/settings", "/settings/edit?path=node.slots", "/settings/add?table=backend", "/settings/file",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(lived_in: House) -> Path:
    """Something to be seen in every room."""
    file = lived_in.home / CARD
    file.parent.mkdir(parents=True, exist_ok=True)
    words = "- The boiler is serviced by Ines Weber\n- It stands below the stairs\n"
    file.write_text(f"---\ntopic: boiler\n---\n# Boiler\n\n{words}- {HOSTILE}\n")
    for value, since in (("Bremen", 1_000), ("Paris", 1_600_000_000_000)):
        fact = {"subject": "Ada", "predicate": "lives in", "value": value, "kind": "person"}
        lived_in.call("POST", "/api/v1/memory/graph/facts", {**fact, "since": since})
    _, made = lived_in.call("POST", "/api/v1/contacts", {"name": "Ines Weber"})
    follow = {"text": f"ask about the valve {HOSTILE}", "due": 1_700_000_000_000}
    lived_in.call("POST", f"/api/v1/contacts/{made['id']}/follow-ups", follow)
    lived_in.ended(lived_in.say("[[light]] hello", session="kitchen"))
    lived_in.cli("memory", "history")
    return lived_in.home


def test_every_page_in_light_and_dark_at_a_desk_and_on_a_phone(home: Path, screen: Screen) -> None:
    """Axe-core finds nothing, one heading leads, and nothing goes over the edge."""
    for dark, phone in ((False, False), (True, True)):
        page = screen.page(dark=dark, phone=phone)
        for path in PAGES:
            answer = page.goto(path)
            assert answer is not None and answer.status == 200, path
            assert page.locator("h1").count() == 1, path
            assert axe(page) == [], path
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            ), path


def test_found_followed_edited_and_taken_back_with_keys(home: Path, screen: Screen) -> None:
    """From the search to the line, into the file, the difference, saved, undone: by keyboard."""
    page = screen.page("/memory")
    page.wait_for_function("window.stead !== undefined")
    page.keyboard.press("/")
    page.keyboard.type("boilr")
    page.keyboard.press("Enter")
    page.wait_for_url("**/memory?*q=boilr*")
    page.get_by_role("link", name=f"{CARD}:").first.focus()
    page.keyboard.press("Enter")
    page.locator(".cited").first.wait_for()
    page.get_by_role("link", name="Edit", exact=True).press("Enter")
    box = page.get_by_role("textbox", name="Text", exact=True)
    box.focus()
    page.keyboard.press("Control+End")
    page.keyboard.type("- Its valve is new\n")
    page.get_by_role("button", name="Show what it changes").press("Enter")
    page.locator(".diff ins", has_text="Its valve is new").wait_for()
    page.get_by_role("button", name="Save").press("Enter")
    page.get_by_text("Saved.").wait_for()
    assert (home / CARD).read_text().endswith("- Its valve is new\n")
    page.get_by_role("link", name="History", exact=True).first.press("Enter")
    page.get_by_role("link", name="edited memory/cards/boiler.md").first.press("Enter")
    page.get_by_role("button", name="Take it back").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Take it back").press("Enter")
    page.get_by_text("Taken back.").wait_for()
    assert "valve is new" not in (home / CARD).read_text()


def test_the_chart_is_drawn_and_turns_dark(home: Path, screen: Screen) -> None:
    """Drawn from the table beside it, also after the colours changed and the window grew."""
    page = screen.page("/costs")
    page.locator("#chart canvas").wait_for()
    assert int(page.locator("#days tr[data-at]").count()) == 30
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 700, "height": 800})
    page.wait_for_function(
        "document.querySelector('#chart .uplot').clientWidth <= window.innerWidth"
    )
    page.locator("#chart canvas").wait_for()


def test_an_index_is_made_while_one_looks(home: Path, screen: Screen) -> None:
    """How far it is comes by itself."""
    page = screen.page("/memory/index")
    page.get_by_role("button", name="Make it anew").click()
    page.get_by_text("Made anew:").wait_for()


def test_read_and_written_without_javascript(home: Path, screen: Screen) -> None:
    """Every page can be read, and a form be sent, in a browser that runs no script."""
    page = screen.page(js=False)
    for path in PAGES:
        page.goto(path)
        page.locator("h1").wait_for()
    page.goto("/settings/edit?path=budget.daily_usd")
    page.get_by_label("Value").fill("4.5")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("It has passed the check.").wait_for()
    assert page.get_by_label("Value").input_value() == "4.5"
