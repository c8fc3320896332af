"""Every room that there is keeps nobody out: in light and dark, at a desk and on a phone."""

from __future__ import annotations

import pytest

from tests.story.browser import Screen, axe


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_room_keeps_anybody_out(screen: Screen, dark: bool) -> None:
    """axe-core finds nothing in any room of the navigation, and a phone has no sideways scrolling.
    A room that is added is looked at without a word here."""
    desk, phone = screen.page("/", dark=dark), screen.page(dark=dark, phone=True)
    rooms = desk.eval_on_selector_all(
        ".rail a[data-go], .rail a:not(.brand)", "all => all.map((one) => one.getAttribute('href'))"
    )
    wrong: list[str] = []
    for path in dict.fromkeys(rooms):
        for page in (desk, phone):
            answer = page.goto(path)
            assert answer is not None
            if answer.status != 200 or page.locator("h1").count() != 1:
                wrong.append(f"{path}: {answer.status}, {page.locator('h1').count()} h1")
            wrong += [f"{path}: {found}" for found in axe(page)]
        sideways = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        if phone.evaluate(sideways):
            wrong.append(f"{path}: wider than a phone")
    assert not wrong, "\n".join(wrong)
    assert rooms


def test_every_room_reads_without_scripts(screen: Screen) -> None:
    """Without JavaScript each room has its heading and its words, and nothing spins for ever."""
    page = screen.page("/", js=False)
    rooms = page.eval_on_selector_all(
        ".rail a:not(.brand)", "all => all.map((one) => one.getAttribute('href'))"
    )
    for path in dict.fromkeys(rooms):
        page.goto(path)
        assert page.locator("h1").count() == 1, path
        assert page.locator("main .skeleton:visible, main .spin:visible").count() == 0, path
