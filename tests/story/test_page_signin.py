"""Signing in, in a real browser with a passkey of its own (Chromium's virtual authenticator)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.story.browser import Screen, axe

if TYPE_CHECKING:
    from playwright.sync_api import Page


def login(screen: Screen, **more: Any) -> dict[str, str]:
    """What `stead login` asks the gateway for."""
    status, made = screen.house.call("POST", "/api/v1/logins", more)
    assert status == 201
    return dict(made)


def authenticator(page: Page) -> None:
    """A finger that is always there: https://chromedevtools.github.io/devtools-protocol/tot/WebAuthn/"""
    tools = page.context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
        "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def by_link(screen: Screen, page: Page, **more: Any) -> None:
    """Sign in by the link that `stead login` prints."""
    made = login(screen, **more)
    page.goto(made["url"].replace("/sign-in#", "/sign-in?next=/devices#"))
    page.get_by_role("button", name="Sign in with the code").click()
    page.wait_for_url("**/devices")


def by_code(page: Page, code: str) -> None:
    page.get_by_label("One-time code").fill(code)
    page.get_by_role("button", name="Sign in with the code").click()


def sign_out(page: Page) -> None:
    page.goto("/devices")
    page.locator("li", has_text="this one").get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")


def test_a_code_then_a_passkey_then_a_recovery_code(screen: Screen) -> None:
    """A stranger is led to sign in; the link's secret leaves the address bar; a passkey is added
    and signs in; so does a recovery code as it may be typed, once."""
    page = screen.page("/devices", key=False)
    authenticator(page)
    assert page.url.endswith("/sign-in?next=%2Fdevices")
    made = login(screen)
    page.goto(made["url"])
    page.wait_for_function("location.hash === ''")
    assert page.get_by_label("One-time code").input_value() == made["url"].partition("=")[2]
    page.get_by_role("button", name="Sign in with the code").click()
    page.get_by_role("heading", name="Devices").wait_for()
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_text("for localhost").wait_for()
    page.get_by_role("button", name="Make recovery codes").click()
    page.locator(".codes").wait_for()
    codes = page.locator(".codes code").all_inner_texts()
    assert len(set(codes)) == 10
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(lambda url: "sign-in" not in url)
    page.goto("/devices")
    page.locator("li", has_text="by a passkey").get_by_text("this one").wait_for()
    sign_out(page)
    by_code(page, codes[0].lower().replace("-", " "))
    page.wait_for_url(lambda url: "sign-in" not in url)
    page.goto("/devices")
    page.get_by_text("9 of your codes are still unused").wait_for()
    sign_out(page)
    by_code(page, codes[0])
    page.locator("#wrong", has_text="not known here").wait_for()
    assert not page.context.cookies()


def test_a_removed_passkey_signs_in_no_more(screen: Screen) -> None:
    """The browser still has it and shows it; stead says in words why it does not let in."""
    page = screen.page(key=False)
    authenticator(page)
    by_link(screen, page)
    before = page.get_by_role("button", name="Remove the passkey").count()
    page.get_by_role("button", name="Add a passkey").click()
    page.wait_for_function(
        "n => document.querySelectorAll('[aria-label^=\"Remove the passkey\"]').length > n",
        arg=before,
    )
    page.get_by_role("button", name="Remove the passkey").last.click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.wait_for_function(
        "n => document.querySelectorAll('[aria-label^=\"Remove the passkey\"]').length === n",
        arg=before,
    )
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.locator("#wrong", has_text="not known here").wait_for()
    assert page.url.endswith("/sign-in")


def test_a_link_from_elsewhere_finds_who_is_signed_in(screen: Screen) -> None:
    """The cookie is not sent by a link on another page, and the visitor comes in all the same; who
    is not signed in is led to sign in, and no further."""
    page = screen.page(key=False)
    by_link(screen, page)
    # A data: URL is another site than any.
    link = f'data:text/html,<a href="{screen.origin}/devices?x=1">go</a>'
    page.goto(link)
    page.get_by_role("link").click()
    page.get_by_role("heading", name="Devices").wait_for()
    assert page.url.endswith("/devices?x=1")
    other = screen.page(key=False)
    other.goto(link)
    other.get_by_role("link").click()
    other.get_by_role("heading", name="Sign in").wait_for()
    assert other.url.endswith("/sign-in?next=%2Fdevices%3Fx%3D1")


def test_who_is_signed_out_is_so_at_once(screen: Screen) -> None:
    """A stolen cookie is worth nothing after it was revoked elsewhere, here by `stead devices`."""
    page = screen.page(key=False)
    by_link(screen, page)
    thief = screen.context(key=False)
    thief.add_cookies(page.context.cookies())
    stolen = thief.new_page()
    stolen.goto("/devices")
    stolen.get_by_role("heading", name="Devices").wait_for()
    status, found = screen.house.call("GET", "/api/v1/devices")
    assert status == 200
    status, _ = screen.house.call("DELETE", f"/api/v1/devices/{found['devices'][0]['id']}")
    assert status == 200
    for one in (stolen, page):
        one.goto("/devices")
        one.get_by_role("heading", name="Sign in").wait_for()


def test_without_javascript_a_code_is_enough(screen: Screen) -> None:
    """Signing in, looking and signing out need no script."""
    page = screen.page("/devices", key=False, js=False)
    assert not page.get_by_role("button", name="passkey").count()
    by_code(page, login(screen)["code"].lower())
    page.get_by_role("heading", name="Devices").wait_for()
    assert not page.get_by_role("button", name="Add a passkey").count()
    sign_out(page)


def test_every_page_is_fit_for_all(screen: Screen) -> None:
    """No finding of axe-core, no sideways scrolling; in light, dark and on a phone."""
    for dark, phone in ((False, False), (True, False), (True, True), (False, True)):
        page = screen.page("/sign-in", key=False, dark=dark, phone=phone)
        for _ in range(2):
            assert axe(page) == []
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
            by_link(screen, page)
        page.get_by_role("button", name="Make").click()
        if page.get_by_role("dialog").count():
            page.get_by_role("dialog").get_by_role("button", name="Make").click()
        page.locator(".codes").wait_for()
        assert axe(page) == []
