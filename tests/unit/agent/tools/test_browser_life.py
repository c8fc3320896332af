"""The browser: its profiles, its ends, and what goes wrong with it."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from stead.agent.tools import TOOLS
from stead.agent.tools import browser_session as sessions
from stead.agent.tools.base import Toolbox
from stead.agent.web import Browser, Web
from tests.unit.agent.tools.browsing import (
    Hands,
    browsers,
    browsing,
    for_test,
    processes,
    ref,
)  # fmt: skip

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hands]:
    async with browsing(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def hands(house: Hands, request: pytest.FixtureRequest) -> AsyncIterator[Hands]:
    async with for_test(house, request.node.name) as made:
        yield made


# --- profiles -------------------------------------------------------------------------------


async def test_a_kept_profile_keeps_its_logins(hands: Hands) -> None:
    """Cookies of a profile are there in another job; without it, and in another, they are not.
    Its folder is the owner's alone."""
    hands.site.pages["/login"] = ({"Set-Cookie": "who=ann; Max-Age=999999"}, b"<p>in")
    url = f"{hands.site.url}/login"
    await hands.text("open", url=url, profile="shop")
    await hands.tools.end(hands.job)
    for profile, known in (("shop", "who=ann"), ("other", "")):
        hands.site.cookies.clear()
        await hands.text("open", url=f"{hands.site.url}/login", profile=profile)
        assert hands.site.cookies[0] == known
        await hands.text("close")
    assert hands.tools.context.keep is not None
    folder = hands.tools.context.keep / "browser" / "profiles" / "shop"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("..", "a/b", "Up", "x" * 40, "a\n"):
        assert "is no name for a profile" in await hands.error("open", url=url, profile=name)


async def test_a_profile_has_one_lock(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs never use one profile at once; when the first is done, or killed, the next may."""
    monkeypatch.setattr(sessions, "_LOCK_S", 0.2)
    hands.site.pages["/"] = "<p>here"
    url = f"{hands.site.url}/"
    await hands.text("open", url=url, profile="one")
    second = replace(hands, job=f"{hands.job}-2")
    assert "is in use by another job" in await second.error("open", url=url, profile="one")
    for child in browsers():
        child.kill()
    assert "has ended" in await hands.error("snapshot")
    await second.text("open", url=url, profile="one")
    await second.tools.end(second.job)


# --- bad luck -------------------------------------------------------------------------------


async def test_a_page_that_hangs_is_closed(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless loop on a page costs that page, and the model is told; the browser goes on."""
    monkeypatch.setattr("stead.agent.tools.browser._USUAL_S", 3.0)
    shown = await hands.page("<button onclick='while (true) {}'>hang</button>")
    said = await hands.error("click", ref=ref(shown, "hang"))
    assert "hangs" in said and "closed" in said
    assert "fine" in await hands.page("<p>fine")


async def test_a_browser_that_hangs_is_ended(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the whole browser stands still it is ended at its limit with all of its processes, and
    the next page starts another."""
    await hands.page("<p>here")
    monkeypatch.setattr(sessions, "_GRACE_S", 1.0)
    monkeypatch.setattr("stead.agent.tools.browser._USUAL_S", 1.0)
    boxed = hands.session.boxed
    for process in browsers():
        process.suspend()
    said = await hands.error("snapshot")
    assert "did not answer" in said and "ended" in said
    assert boxed.ended is not None and browsers() == []
    monkeypatch.undo()
    assert "again" in await hands.page("<p>again")


async def test_a_crash_is_told(hands: Hands) -> None:
    """A page that crashes, and a browser that does, are told in words; opening goes on."""
    await hands.page("<p>here")
    for process, line in processes():
        if "--type=renderer" in line:
            process.kill()
    said = (await hands.use("snapshot")).text
    assert "crashed" in said
    await hands.page("<p>here")
    for process in browsers():
        process.kill()
    assert "the browser has ended" in await hands.error("snapshot")
    assert "here" in await hands.page("<p>here")


async def test_it_ends_with_its_job(hands: Hands) -> None:
    """At the end of a job nothing of its browser is left, but what a profile keeps; only where
    the owner is asked it stays, for as long as the settings say."""
    await hands.page("<p>here")
    stage = hands.session.stage
    await hands.tools.end(hands.job, waits=True)
    assert "here" in await hands.text("snapshot")
    await hands.tools.end(hands.job)
    assert sessions.of(hands.context) is None and browsers() == [] and not stage.exists()
    assert "no page is open" in await hands.error("snapshot")
    web = Web(browser=Browser(wait_s=0))
    brief = replace(hands, tools=Toolbox(TOOLS, replace(hands.tools.context, web=web)))
    await brief.page("<p>here")
    boxed = brief.session.boxed
    await brief.tools.end(hands.job, waits=True)
    async with asyncio.timeout(60):
        await boxed.wait()
    assert sessions.of(hands.context) is None


async def test_there_are_so_many_at_once(hands: Hands) -> None:
    """Browsers are large: more than the settings allow are not started."""
    web = Web(browser=Browser(at_once=1))
    few = replace(hands, tools=Toolbox(TOOLS, replace(hands.tools.context, web=web)))
    await few.page("<p>here")
    said = await replace(few, job="another").error("open", url=f"{hands.site.url}/")
    assert "browsers run here already" in said


async def test_it_sees_nothing_of_the_workspace(hands: Hands) -> None:
    """Its sandbox has the folders of its own session and no other file of the owner's."""
    await hands.page("<p>here")
    box = sessions.box(hands.context, hands.session.hosts, ())
    assert not any(mount.path.is_relative_to(hands.workspace) for mount in box.mounts)
    assert not any(mount.write for mount in box.mounts)
    assert hands.context.keep is not None
    looked = 0
    for process, line in processes():
        if "--type=renderer" in line:
            looked += 1
            root = Path(f"/proc/{process.pid}/root")
            assert not (root / str(hands.workspace).lstrip("/")).exists()
            stage = root / str(hands.session.stage).lstrip("/")
            assert sorted(os.listdir(stage)) == ["in", "out"]
    assert looked or os.geteuid() != 0
