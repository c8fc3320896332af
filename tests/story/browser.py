"""A real browser before a real house: one Chromium for all the tests of a file.

A test asks for the fixture ``screen`` and opens pages with ``screen.page(...)``. What no page of
stead may ever do is looked for in each of them, and fails the test at its end: an error in its
scripts, something its content security policy had to stop, a request to anybody else.

``tests/story/conftest.py`` gives ``screen`` over ``lived_in``; a file with a house of its own
makes one with :func:`chromium`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.story.house import House
from tests.website import need_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
    from playwright.sync_api import Request as Asked

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
#: A slow and loaded machine is no fault of a page's.
_PATIENCE_MS = 60_000
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


class Screen:
    """A browser that looks at one house."""

    def __init__(self, house: House, browser: Browser) -> None:
        self.house = house
        self.browser = browser
        self.wrong: list[str] = []
        """What no page may do, as it was seen. A test that provokes one of these clears it."""
        self._contexts: list[BrowserContext] = []

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.house.port}"

    def context(
        self, *, key: bool = True, phone: bool = False, dark: bool = False, js: bool = True,
        **more: Any,
    ) -> BrowserContext:  # fmt: skip
        """A browser of its own: other cookies, other storage. ``key``: with the owner's key.

        The worker in the background is off unless ``service_workers="allow"``: what it fetches
        would go without the key.
        """
        if key:
            more["extra_http_headers"] = {"Authorization": f"Bearer {self.house.key}"}
        more.setdefault("service_workers", "block")
        made = self.browser.new_context(
            base_url=self.origin, viewport=more.pop("viewport", PHONE if phone else DESK),
            color_scheme="dark" if dark else "light", java_script_enabled=js,
            has_touch=phone, reduced_motion="reduce", locale="en-GB", **more,
        )  # fmt: skip
        made.set_default_timeout(_PATIENCE_MS)
        made.on("page", self._watch)
        self._contexts.append(made)
        return made

    def page(self, path: str = "", **more: Any) -> Page:
        """A page in a context of its own (see :meth:`context`), at ``path`` if one is given."""
        page = self.context(**more).new_page()
        if path:
            page.goto(path)
        return page

    def _watch(self, page: Page) -> None:
        def console(said: ConsoleMessage) -> None:
            # That an answer was an error is told there too; tests look at answers themselves.
            if said.type == "error" and "Failed to load resource" not in said.text:
                self.wrong.append(f"{page.url}: {said.text}")

        def asked(request: Asked) -> None:
            if not request.url.startswith((self.origin, "data:", "blob:", "about:")):
                self.wrong.append(f"{page.url} asked somebody else: {request.url}")

        page.on("console", console)
        page.on("pageerror", lambda error: self.wrong.append(f"{page.url}: {error}"))
        page.on("request", asked)

    def over(self) -> None:
        """The end of a test: close what it opened, and fail it for what no page may do."""
        for context in self._contexts:
            with contextlib.suppress(Exception):
                context.close()
        self._contexts.clear()
        wrong, self.wrong = self.wrong, []
        assert not wrong, "\n".join(wrong)


@contextlib.contextmanager
def chromium(house: House) -> Iterator[Screen]:
    """One Chromium before one house."""
    need_chromium()
    # loaded late: half of the stories never need it
    from playwright.sync_api import sync_playwright

    program = next(
        found for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    )  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield Screen(house, browser)
        finally:
            browser.close()


def axe(page: Page) -> list[str]:
    """What axe-core finds on a page, in words; nothing is right.

    Rules: WCAG 2.2 A and AA, and axe's best practices.
    """
    folder = pytest.importorskip("axe_playwright_python").__file__
    page.evaluate(Path(folder).with_name("axe.min.js").read_text("utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{one['id']}: {one['help']}: {json.dumps([node['target'] for node in one['nodes']][:5])}"
        f" {one['nodes'][0].get('failureSummary', '')}"
        for one in found
    ]
