"""A browser for tests: a real Chromium in a real sandbox, real sites behind the real proxy."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from stead.agent.tools import TOOLS
from stead.agent.tools import browser_session as sessions
from stead.agent.tools.base import Context, Outcome, Toolbox
from stead.agent.tools.browser_session import Session
from stead.agent.web import Browser, Web
from stead.sandbox.egress import EgressProcess
from stead.sandbox.egress_terms import Terms
from stead.sandbox.walls import walls_here
from tests.website import Site, need_chromium, serving

FORM = """<!doctype html><title>Order &amp; pay</title><h1>Order</h1>
<form method="post" action="/done" enctype="multipart/form-data">
<label>Your name <input name="name"></label>
<label>Size <select name="size"><option value="s">Small</option><option value="l">Large</option>
</select></label>
<label><input type="checkbox" name="gift">A gift</label>
<label>Picture <input type="file" name="picture"></label>
<button>Buy now</button></form>
<script>let n = 0; function more() { const b = document.createElement('button');
b.textContent = 'added ' + ++n; document.body.prepend(b); }</script>
<button onclick="more()">More</button>"""


@dataclass
class Hands:
    """The tools of one worker, and the site that they may reach."""

    tools: Toolbox
    site: Site
    other: Site
    """On a port that nobody has allowed."""
    job: str = "job"
    step: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def workspace(self) -> Path:
        return self.tools.context.workspace

    @property
    def context(self) -> Context:
        return replace(self.tools.context, job=self.job)

    @property
    def session(self) -> Session:
        found = sessions.of(self.context)
        assert found is not None
        return found

    async def use(self, action: str, most: int = 12_000, **args: Any) -> Outcome:
        self.step += 1
        tool, read = self.tools.read("browser", json.dumps({"action": action, **args}))
        return await self.tools.call(tool, read, most, job=self.job, step=self.step)

    async def text(self, action: str, **args: Any) -> str:
        outcome = await self.use(action, **args)
        assert outcome.ok, outcome.text
        return outcome.text

    async def error(self, action: str, **args: Any) -> str:
        outcome = await self.use(action, **args)
        assert not outcome.ok, outcome.text
        return outcome.text

    async def page(self, body: str, path: str = "/") -> str:
        """Open a page that holds this."""
        self.site.pages[path] = body
        return await self.text("open", url=f"{self.site.url}{path}")


def ref(shown: str, words: str) -> str:
    """The reference on the line of a snapshot that holds some words."""
    line = next(line for line in shown.split("\n") if words in line and "[ref=" in line)
    return line.partition("[ref=")[2].partition("]")[0]


@contextlib.asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Hands]:
    """One proxy and one set of walls; to be made once for a file of tests."""
    need_chromium()
    (folder / "workspace").mkdir()
    with serving() as site, serving() as other:
        terms = Terms(secrets=str(folder / "secrets"), private=(f"127.0.0.1:{site.port}",))
        egress = EgressProcess(lambda: terms)
        walls = walls_here(folder / "run", egress)
        if not (await walls.tested()).ok:
            pytest.skip("no sandbox can be had here")
        context = Context(
            folder / "workspace", walls=walls, keep=folder / "keep", closing=(egress.aclose,),
            web=Web(browser=Browser(max_download_mb=1.0)),
        )  # fmt: skip
        tools = Toolbox(TOOLS, context)
        try:
            yield Hands(tools, site, other)
        finally:
            await tools.aclose()


@contextlib.asynccontextmanager
async def for_test(house: Hands, name: str) -> AsyncIterator[Hands]:
    """Hands of a job of its own, whose browser ends with the test; that of the job ``shared``
    goes on, since each start takes seconds."""
    house.site.seen.clear()
    house.site.posted.clear()
    house.site.cookies.clear()
    made = replace(house, job=name)
    yield made
    session = sessions.of(made.context)
    if name != "shared" or (session is not None and len(session.told.tabs) != 1):
        await house.tools.end(name)


def processes() -> list[tuple[psutil.Process, str]]:
    """The processes below this one, with their command lines: some write theirs as one word."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            found.append((process, " ".join(process.cmdline())))
        except psutil.Error:
            continue
    return found


def browsers() -> list[psutil.Process]:
    """The browsers among them, without their own children."""
    return [
        process
        for process, line in processes()
        if line.split(" ")[0].endswith(("/chromium", "/chrome")) and "--type=" not in line
    ]
