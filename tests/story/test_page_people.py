"""The room *People* in a real browser: who is let in, what they may, and who is in no longer."""

from __future__ import annotations

import re
from typing import Any

from tests.story.browser import Screen, axe


def asked(screen: Screen, method: str, path: str, body: Any = None) -> Any:
    """The API's answer to the owner."""
    status, answer = screen.house.call(method, path, body)
    assert status < 300, answer
    return answer


def people(screen: Screen) -> dict[str, dict[str, Any]]:
    """Who is there, by name, as the API tells."""
    found: dict[str, Any] = asked(screen, "GET", "/api/v1/people")
    return {one["name"]: one for one in found["people"]}


def test_somebody_is_let_in_and_changed(screen: Screen) -> None:
    """What is filled in is what holds; what was not touched stays; a reload sends nothing again."""
    page = screen.page("/people")
    page.get_by_role("link", name="Let somebody in").click()
    page.get_by_label("Called").fill("Zoë <b>Müller</b>")
    page.get_by_label("Dollars a day").fill("0,50")
    page.get_by_label("never leaves the house").check()
    page.get_by_role("button", name="Let in", exact=True).click()
    page.get_by_role("heading", level=1, name="Zoë <b>Müller</b>").wait_for()
    made = people(screen)["zoe-b-muller-b"]
    assert made["scope"]["day_micro"] == 500_000 and made["scope"]["month_micro"] == -1
    assert made["scope"]["local_only"] and made["scope"]["keep_bodies"]
    assert page.get_by_label("Dollars a day").input_value() == "0.5"
    page.get_by_label("Called").fill("Zoë")
    page.get_by_label("Name", exact=True).fill("zoe")
    page.get_by_label("Tools").fill("clock, web_*")
    page.get_by_label("Let in until").fill("2040-12-31")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("It holds from the next message on").wait_for()
    changed = people(screen)["zoe"]
    assert (changed["id"], changed["called"], changed["tools"]) == (
        made["id"], "Zoë", ["clock", "web_*"]
    )  # fmt: skip
    assert changed["scope"]["expires_at"] > 2_200_000_000_000
    assert page.get_by_label("Let in until").input_value() == "2040-12-31"
    page.reload()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("It holds from the next message on").wait_for()
    assert people(screen)["zoe"] == changed, "what nobody changed is as it was"
    asked(screen, "DELETE", "/api/v1/people/zoe")


def test_what_is_wrong_is_said_and_nothing_is_lost(screen: Screen) -> None:
    """The form comes back with what was filled in and what is wrong with it, also without
    JavaScript; nobody was let in."""
    before = people(screen)
    for js in (True, False):
        page = screen.page("/people/new", js=js)
        page.get_by_label("Called").fill("李")
        page.get_by_label("Model calls at once").fill("two")
        page.get_by_role("button", name="Let in", exact=True).click()
        page.get_by_role("alert").get_by_text("whole number").wait_for()
        assert page.get_by_label("Called").input_value() == "李"
        page.get_by_label("Model calls at once").fill("2")
        page.get_by_role("button", name="Let in", exact=True).click()
        page.get_by_role("alert").get_by_text("small letters").wait_for()
        assert page.get_by_label("Model calls at once").input_value() == "2"
    assert people(screen) == before


def test_letting_in_no_longer_is_asked_first(screen: Screen) -> None:
    """A no changes nothing; after a yes they are in the list only if asked for."""
    asked(screen, "POST", "/api/v1/people", {"called": "Guest"})
    page = screen.page("/people")
    page.get_by_role("link", name=re.compile("Guest")).click()
    page.get_by_role("button", name="Let in no longer").click()
    page.get_by_role("dialog").get_by_role("button", name="No", exact=True).click()
    assert "guest" in people(screen)
    page.get_by_role("button", name="Let in no longer").click()
    page.get_by_role("dialog").get_by_role("button", name="Let in no longer").click()
    page.wait_for_url("**/people")
    assert "guest" not in people(screen) and page.get_by_text("Guest", exact=True).count() == 0
    page.get_by_role("link", name="let in no longer").click()
    page.get_by_text("Guest", exact=True).wait_for()


def test_the_room_is_readable_for_everybody(screen: Screen) -> None:
    """No finding of axe-core in light, dark and on a phone, and no sideways scrolling."""
    made = asked(screen, "POST", "/api/v1/people", {"called": "Anna " + "long" * 15})
    for dark, phone in ((False, False), (True, True), (True, False), (False, True)):
        for path in ("/people", "/people/new", f"/people/is/{made['id']}", "/people/is/owner"):
            page = screen.page(path, dark=dark, phone=phone)
            assert axe(page) == [], path
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            ), path
    asked(screen, "DELETE", f"/api/v1/people/{made['id']}")
