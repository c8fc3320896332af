"""The tabs of a browser and what is done in them, inside the sandbox.

Every element is named by its reference in a snapshot. Before it is used the page is looked at
again: a reference stays with its element (Playwright), and if that has become something else than
it was when it was asked for, or allowed, it is not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stead.agent.browser.hidden import Hidden
from stead.agent.browser.lines import called, elements
from stead.agent.browser.messages import MOST_SNAPSHOT, Order, Told
from stead.sandbox.egress_relay import PORT

_SETTLE_S = 3.0
_LOAD_S = 10.0
_MUTE_S = 1.0
_FIRST_S = 0.08
"""What a click starts has begun by then."""
_HUNG_S = 10.0
"""A page that does not answer for so long, or for the time of the order if that is less."""
_CLOSE_S = 5.0
_PLAIN = ("http:", "https:", "about:", "blob:", "chrome-error:")
_STILL = ("snapshot", "tabs", "screenshot", "download", "wait_for")
"""They start nothing on a page that would have to come to its end."""
_YES = ("yes", "true", "on", "1", "checked")
_MOST_TABS = 12
_MOST_HELD = 20
_MOST_NOTES = 20

_KIND = """e => e instanceof HTMLSelectElement ? 'select'
  : e instanceof HTMLInputElement ? e.type : ''"""


class Wrong(Exception):
    """It could not be done; the text is for the model."""


@dataclass(eq=False)
class Tab:
    """One page."""

    number: int
    page: Any
    busy: set[Any] = field(default_factory=set)
    """Requests under way."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when one has ended."""
    crashed: bool = False

    def asks(self, request: Any) -> None:
        self.busy.add(request)

    def answered(self, request: Any) -> None:
        self.busy.discard(request)
        self.news.set()


class Pages:
    """All tabs of one browser."""

    def __init__(self, context: Any, out: Path, most_bytes: int) -> None:
        self._context = context
        self._out = out
        self._most = most_bytes
        self._tabs: dict[int, Tab] = {}
        self._made = 0
        self._at = 0
        self._notes: list[str] = []
        self._accepts = False
        self._patience = _HUNG_S
        self._held: list[Any] = []
        """Downloads that nobody has taken yet."""
        self._downloads = asyncio.Condition()
        self._tasks: set[asyncio.Future[None]] = set()
        self._mending: set[asyncio.Future[None]] = set()
        """Tabs that are being closed; one that crashed is none to work in."""
        self._hidden = Hidden()
        for page in context.pages:
            self._add(page, told=False)
        self._at = min(self._tabs, default=0)
        context.on("page", self._add)

    # --- what happens by itself -----------------------------------------------------------

    def _note(self, text: str) -> None:
        """To be told with the next answer: the latest of them."""
        self._notes = [*self._notes[1 - _MOST_NOTES :], text]

    def _add(self, page: Any, told: bool = True) -> None:
        if len(self._tabs) >= _MOST_TABS:
            self._note(f"a new tab was closed at once: there are {len(self._tabs)} already")
            self._spawn(_shut(page))
            return
        self._made += 1
        tab = self._tabs[self._made] = Tab(self._made, page)
        page.on("request", tab.asks)
        page.on("requestfinished", tab.answered)
        page.on("requestfailed", tab.answered)
        page.on("dialog", lambda dialog: self._spawn(self._dialog(dialog)))
        page.on("download", lambda download: self._spawn(self._download(download)))
        page.on("crash", lambda _: self._crashed(tab))
        page.on("close", lambda _: self._gone(tab))
        if told and self._at:
            self._note(f"a new tab was opened: {tab.number} (`tabs` switches to it)")

    def _spawn(self, work: Any) -> asyncio.Future[None]:
        task: asyncio.Future[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _crashed(self, tab: Tab) -> None:
        tab.crashed = True
        tab.busy.clear()
        tab.news.set()
        self._note(f"the page of tab {tab.number} crashed; its tab was closed")
        closing = self._spawn(self._close(tab))
        self._mending.add(closing)
        closing.add_done_callback(self._mending.discard)

    def _gone(self, tab: Tab) -> None:
        self._tabs.pop(tab.number, None)
        if self._at == tab.number:
            self._at = max(self._tabs, default=0)

    async def _dialog(self, dialog: Any) -> None:
        accept = self._accepts or dialog.type in ("alert", "beforeunload")
        how = "answered with OK" if accept else "answered with Cancel (accept=true says OK)"
        self._note(f"the page asked ({dialog.type}): {dialog.message[:300]!r}; {how}")
        with contextlib.suppress(Exception):
            await (dialog.accept() if accept else dialog.dismiss())

    async def _download(self, download: Any) -> None:
        """Watch over its size; then let it be known."""
        path = asyncio.ensure_future(download.path())
        if len(self._held) >= _MOST_HELD:
            await download.cancel()
            self._note("a download was stopped: there are too many that nobody has taken")
        while not path.done():
            await asyncio.wait({path}, timeout=0.2)
            if not path.done() and self._size() > self._most:
                await download.cancel()
                self._note("a download was stopped: it is too large")
        async with self._downloads:
            if path.exception() is None and self._size() <= self._most:
                self._held.append(download)
                name = download.suggested_filename[:120]
                self._note(f"downloaded: {name!r} (`download` puts it into a file)")
            else:
                await self._drop(download)
                self._held = [*self._held[-_MOST_HELD:], None]
            self._downloads.notify_all()

    async def _drop(self, download: Any) -> None:
        with contextlib.suppress(Exception):
            await download.delete()

    def _size(self) -> int:
        total = 0
        for path in self._out.iterdir():
            with contextlib.suppress(OSError):
                total += path.lstat().st_size
        return total

    # --- one order ------------------------------------------------------------------------

    async def obey(self, order: Order) -> Told:
        """Never raises: what goes wrong is told."""
        self._accepts = order.accept
        self._patience = min(_HUNG_S, max(1.0, order.seconds))
        if self._mending:
            await asyncio.wait(self._mending, timeout=2 * _CLOSE_S)
        failed, more = "", dict[str, str]()
        before: set[Any] = set(self._tabs[self._at].busy) if self._at else set()
        try:
            async with asyncio.timeout(order.seconds + 10.0):
                more = await self._does()[order.do](order) or {}
                if order.do not in _STILL:
                    await self._settle(before)
        except Wrong as problem:
            failed = str(problem)
        except Exception as problem:  # noqa: BLE001 - Playwright's, of many kinds
            failed = await self._why(problem, order)
        try:
            async with asyncio.timeout(2 * _HUNG_S):
                return await self._state(order, failed, more)
        except Exception as problem:  # noqa: BLE001
            failed = failed or await self._why(problem, order)
            return self._told(order, failed)

    def _does(self) -> dict[str, Callable[[Order], Awaitable[dict[str, str] | None]]]:
        return {
            "open": self._open, "snapshot": self._look, "click": self._click,
            "type": self._type, "select": self._select, "press": self._press,
            "upload": self._upload, "download": self._take, "screenshot": self._picture,
            "new": self._new, "switch": self._switch, "close_tab": self._close_tab,
            "tabs": self._look, "back": self._back, "wait_for": self._wait_for,
        }  # fmt: skip

    async def _state(self, order: Order, failed: str, more: dict[str, str]) -> Told:
        """What there is after it; raises what Playwright raises."""
        if not self._at or failed or order.do in ("screenshot", "download"):
            return self._told(order, failed, **more)
        page = self._tab.page
        if not page.url.startswith(_PLAIN):
            scheme = page.url.partition(":")[0]
            await page.goto("about:blank")
            failed = f"the page led to a {scheme[:20]}: address, which is not opened here"
            return self._told(order, failed)
        title = str(await page.title())
        snapshot = await self._snapshot()  # first: it tells what is to be hidden
        title = self._hidden.plain(title)[:200]
        return self._told(order, "", title=title, snapshot=snapshot, **more)

    def _told(self, order: Order, failed: str, **more: str) -> Told:
        notes, self._notes = self._notes, []
        tabs = [(number, tab.page.url[:2000]) for number, tab in sorted(self._tabs.items())]
        return Told(
            order.n, failed=failed, url=dict(tabs).get(self._at, ""), tab=self._at, tabs=tabs,
            notes=notes, **more,
        )  # fmt: skip

    async def _snapshot(self) -> str:
        tab = self._tab
        # A frame that was refused before it began never answers, and would be waited for.
        mute = any(not frame.url for frame in tab.page.frames)
        try:
            text = await self._tree(tab, min(_MUTE_S, self._patience) if mute else self._patience)
        except Exception:
            if not mute:
                raise
            text = await self._tree(tab, self._patience)
        text = await self._hidden.out_of(tab.page, text)
        if len(text) > MOST_SNAPSHOT:
            text = text[:MOST_SNAPSHOT] + "\n- text: [the page is longer than what is read of it]"
        return text

    async def _tree(self, tab: Tab, seconds: float) -> str:
        return str(await tab.page.aria_snapshot(mode="ai", timeout=seconds * 1000))

    async def _settle(self, before: set[Any]) -> None:
        """Until what was started is there, or for a while: some pages never come to rest."""
        tab = self._tabs.get(self._at)
        if tab is None:
            return
        await asyncio.sleep(_FIRST_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                while tab.busy - before:
                    tab.news.clear()
                    await tab.news.wait()
        with contextlib.suppress(Exception):
            await tab.page.wait_for_load_state("domcontentloaded", timeout=2000)

    async def _why(self, problem: Exception, order: Order) -> str:
        """Words for what went wrong. A page that does not answer any more is closed."""
        tab = self._tabs.get(self._at)
        if tab is not None and not tab.crashed and await self._hangs(tab):
            await self._close(tab)
            return "the page hangs (it may be in an endless loop); its tab was closed"
        words = self._hidden.plain(" ".join(str(problem).split()))[:700]
        if "ERR_TUNNEL_CONNECTION_FAILED" in words:
            return f"{urlsplit(order.url).hostname} could not be reached: {await _reason(order)}"
        if type(problem).__name__ == "TimeoutError":
            return f"not done within {order.seconds:g} s: {words}"
        return words or type(problem).__name__

    async def _hangs(self, tab: Tab) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                await tab.page.evaluate("1")
        except TimeoutError:
            return True
        except Exception:  # noqa: BLE001 - it answers, if with an error
            return False
        return False

    async def _close(self, tab: Tab) -> None:
        if len(self._tabs) == 1:  # a browser whose last page is closed may end
            await self._new()
        await _shut(tab.page)
        self._gone(tab)

    # --- tabs -----------------------------------------------------------------------------

    @property
    def _tab(self) -> Tab:
        tab = self._tabs.get(self._at)
        if tab is None:
            raise Wrong("no tab is open; use action open with a url")
        return tab

    async def _new(self, order: Order | None = None) -> None:
        if len(self._tabs) >= _MOST_TABS and order is not None:
            raise Wrong(f"there are {len(self._tabs)} tabs already; close one of them")
        before = set(self._tabs)
        at, self._at = self._at, 0  # no note of it: it was asked for
        try:
            await self._context.new_page()
        finally:
            self._at = max(set(self._tabs) - before, default=at)

    async def _switch(self, order: Order) -> None:
        self._at = self._known(order.tab).number
        await self._tab.page.bring_to_front()

    async def _close_tab(self, order: Order) -> None:
        await self._close(self._known(order.tab or self._at))

    def _known(self, number: int) -> Tab:
        if number not in self._tabs:
            there = ", ".join(map(str, self._tabs)) or "none"
            raise Wrong(f"there is no tab {number}; there are: {there}")
        return self._tabs[number]

    async def _open(self, order: Order) -> None:
        if self._at not in self._tabs:
            await self._new(order)
        page, before = self._tab.page, len(self._held)
        try:
            await page.goto(order.url, wait_until="commit", timeout=order.seconds * 1000)
        except Exception as problem:
            begun = "Download is starting" in str(problem)
            if not begun and "ERR_ABORTED" not in str(problem):
                raise
            try:
                await self._downloaded(before, order.seconds if begun else _SETTLE_S)
            except TimeoutError:
                raise problem from None
            return
        try:
            await page.wait_for_load_state("domcontentloaded", timeout=_LOAD_S * 1000)
        except Exception:  # noqa: BLE001 - some pages have no end, or lead away before it
            self._note(f"the page is not all there after {_LOAD_S:g} s; this is what there is")

    async def _back(self, order: Order) -> None:
        if await self._tab.page.go_back(timeout=order.seconds * 1000) is None:
            raise Wrong("there is no page before this one")

    async def _look(self, order: Order) -> None:
        pass

    async def _wait_for(self, order: Order) -> None:
        words = self._tab.page.get_by_text(order.text).first
        await words.wait_for(timeout=order.seconds * 1000)

    # --- elements -------------------------------------------------------------------------

    async def _element(self, order: Order, ref: str) -> Any:
        """What a reference stands for, if that is what it stood for. Raises ``Wrong``."""
        now = elements(await self._snapshot()).get(ref)
        if now is None:
            raise Wrong(f"there is no element {ref} on this page now; take a snapshot")
        known = order.known.get(ref)
        if known is not None and tuple(known) != now:
            raise Wrong(
                f"{ref} was {called((known[0], known[1]), ref)} and is {called(now, ref)} now;"
                " nothing was done, take a snapshot"
            )
        return self._tab.page.locator(f"aria-ref={ref}")

    async def _click(self, order: Order) -> None:
        await (await self._element(order, order.ref)).click(timeout=order.seconds * 1000)

    async def _type(self, order: Order) -> None:
        fields = order.fields or {order.ref: order.text}
        found = [(await self._element(order, ref), text) for ref, text in fields.items()]
        for element, text in found:
            if await self._hidden.is_one(element):
                self._hidden.add(text)
            await self._fill(element, text, order.seconds * 1000)
        if order.enter and found:
            await found[-1][0].press("Enter", timeout=order.seconds * 1000)

    async def _fill(self, element: Any, text: str, timeout: float) -> None:
        kind = await element.evaluate(_KIND, timeout=timeout)
        if kind in ("checkbox", "radio"):
            await element.set_checked(text.strip().lower() in _YES, timeout=timeout)
        elif kind == "select":
            await self._choose(element, text, timeout)
        else:
            await element.fill(text, timeout=timeout)

    async def _select(self, order: Order) -> None:
        element = await self._element(order, order.ref)
        if await element.evaluate(_KIND, timeout=order.seconds * 1000) != "select":
            raise Wrong(f"{order.ref} is no list of the page's to select from; click on it")
        await self._choose(element, order.text, order.seconds * 1000)

    async def _choose(self, element: Any, text: str, timeout: float) -> None:
        options = await element.evaluate(
            "e => Array.from(e.options).map(o => [o.label.trim(), o.value])", timeout=timeout
        )
        for label, value in options:
            if text.strip() in (label, value):
                await element.select_option(value=value, timeout=timeout)
                return
        there = ", ".join(repr(label[:60]) for label, _ in options[:20])
        raise Wrong(f"there is no choice {text[:60]!r}; there are: {there}")

    async def _press(self, order: Order) -> None:
        if order.ref:
            element = await self._element(order, order.ref)
            await element.press(order.text, timeout=order.seconds * 1000)
        else:
            await self._tab.page.keyboard.press(order.text)

    # --- files ----------------------------------------------------------------------------

    async def _upload(self, order: Order) -> None:
        element = await self._element(order, order.ref)
        timeout = order.seconds * 1000
        if await element.evaluate(_KIND, timeout=timeout) == "file":
            await element.set_input_files(order.path, timeout=timeout)
            return
        async with self._tab.page.expect_file_chooser(timeout=timeout) as asked:
            await element.click(timeout=timeout)
        await (await asked.value).set_files(order.path, timeout=timeout)

    async def _downloaded(self, before: int, seconds: float) -> None:
        """Wait until there are more downloads than before."""
        async with asyncio.timeout(seconds), self._downloads:
            await self._downloads.wait_for(lambda: len(self._held) > before)

    async def _take(self, order: Order) -> dict[str, str]:
        """The last download, or the one that a click on an element begins."""
        before = len(self._held)
        if order.ref:
            await self._click(order)
            try:
                await self._downloaded(before, order.seconds)
            except TimeoutError:
                raise Wrong(f"no download came of it within {order.seconds:g} s") from None
        if not self._held:
            raise Wrong("there is no download; name the element (ref) that begins one")
        download = self._held.pop()
        if download is None:
            raise Wrong("the download failed, or was larger than what is allowed")
        path = await download.path()
        self._notes = [note for note in self._notes if not note.startswith("downloaded:")]
        return {"file": Path(path).name, "name": download.suggested_filename[:200]}

    async def _picture(self, order: Order) -> dict[str, str]:
        name = f"picture-{order.n}.png"
        page = self._tab.page
        await page.screenshot(path=self._out / name, timeout=order.seconds * 1000)
        return {"file": name, "name": name}


async def _reason(order: Order) -> str:
    """Why the proxy refuses a host: the browser does not show its words."""
    parts = urlsplit(order.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    try:
        async with asyncio.timeout(_HUNG_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT, family=socket.AF_INET)
            writer.write(f"CONNECT {host}:{parts.port or 443} HTTP/1.1\r\n\r\n".encode())
            said = await reader.read(4000)
            writer.close()
    except (OSError, TimeoutError):
        return "the way out of the sandbox does not answer"
    head, _, body = said.partition(b"\r\n\r\n")
    words = " ".join(body.decode("utf-8", "replace").split())
    return words[:500] or head.decode("latin-1").partition("\r\n")[0]


async def _shut(page: Any) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CLOSE_S):
            await page.close()
