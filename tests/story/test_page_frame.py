"""What stands around every room, in a real browser: rail, colours, keys, the page offline."""

from __future__ import annotations

import re

from tests.story.browser import Screen, axe


def test_the_first_page_is_there_in_light_and_dark_and_on_a_phone(screen: Screen) -> None:
    """No finding of axe-core, no sideways scrolling, nothing from elsewhere."""
    for dark in (False, True):
        for phone in (False, True):
            page = screen.page("/", dark=dark, phone=phone)
            assert page.locator("h1").count() == 1
            assert axe(page) == []
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )


def test_colours_are_switched_and_stay(screen: Screen) -> None:
    """Auto, light, dark, by one button; the choice outlives a reload and is announced."""
    page = screen.page("/offline")
    page.evaluate("document.body.append(stead.make('button', {id: 's'}))")
    page.evaluate("stead.one('#s').dataset.themeSwitch = ''")
    for shown in ("light", "dark", ""):
        page.evaluate("stead.one('#s').click()")
        assert page.evaluate("document.documentElement.dataset.theme || ''") == shown
        kept = {one["name"]: one["value"] for one in page.context.cookies()}
        assert kept.get("stead-theme", "") == shown
    page.locator("#told", has_text="Colours: auto").wait_for(state="attached")


def test_a_question_is_asked_before_a_form_goes(screen: Screen) -> None:
    """Data-confirm: no sends nothing, yes sends it once."""
    page = screen.page("/offline")
    page.evaluate(
        "document.querySelector('main').innerHTML = '<form action=\"/offline\">"
        '<input name="a" value="1"><button data-confirm="Delete it?">Delete</button></form>\''
    )
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_text("Delete it?").wait_for()
    page.get_by_role("button", name="No").click()
    assert page.url.endswith("/offline")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/offline?a=1")


def test_words_are_told_to_eyes_and_ears(screen: Screen) -> None:
    """A toast is read aloud as well, as text: what is in it is never markup."""
    page = screen.page("/offline")
    page.evaluate("stead.toast('<b>Saved</b> <img src=x onerror=alert(1)>', 'good')")
    page.locator(".toast", has_text="<b>Saved</b>").wait_for()
    page.locator("#told", has_text="<b>Saved</b>").wait_for(state="attached")
    page.get_by_role("button", name="Close").click()
    assert page.locator(".toast").count() == 0


def test_keys_are_listed_and_may_be_off(screen: Screen) -> None:
    """A question mark lists the keys; who turns them off is left alone."""
    page = screen.page("/offline")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name=re.compile("Keyboard"))
    dialog.wait_for()
    dialog.get_by_role("checkbox").uncheck()
    dialog.get_by_role("button", name="Close").click()
    page.keyboard.press("?")
    assert not dialog.is_visible()


def test_offline_is_said_in_words_and_over_by_itself(screen: Screen) -> None:
    """Without a connection there is a page that says so; with it again, the page asked for."""
    context = screen.context(key=False, service_workers="allow")
    page = context.new_page()
    page.goto("/offline")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    context.set_offline(True)
    page.goto("/somewhere")
    page.get_by_role("heading", name="cannot be reached").wait_for()
    assert page.url.endswith("/somewhere")
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") != "0px"
    context.set_offline(False)
    page.get_by_role("heading", name="Sign in").wait_for()  # which is where it leads


def test_without_scripts_it_reads_the_same(screen: Screen) -> None:
    """A browser without JavaScript gets the page, and no button that would do nothing."""
    page = screen.page("/", js=False)
    assert page.locator("h1").count() == 1
    assert page.locator(".only-js:visible").count() == 0
