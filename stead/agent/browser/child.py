"""The process in the sandbox that drives Chromium, with Playwright (the extra ``browser``).

Neither gateway nor node ever load Playwright: only this process does, which ends with its session.
The first line on its input says which browser is wanted, each further one what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from stead.agent.browser.messages import MOST_LINE, Order, Start, Told
from stead.agent.browser.pages import Pages

_START_S = 80.0
_STALE = ("SingletonLock", "SingletonSocket", "SingletonCookie")
"""What a browser that was killed leaves in its profile: no other one has it, by our own lock."""

_USUALLY = ("--disable-popup-blocking", "--disable-ipc-flooding-protection")
"""What Playwright adds for tests of one's own pages, which a hostile one would use."""
_PREFERENCES = {
    "autofill": {"credit_card_enabled": False, "profile_enabled": False},
    "credentials_enable_service": False,
    "plugins": {"always_open_pdf_externally": True},  # it can be taken, which a viewer's cannot
    "profile": {"password_manager_enabled": False},
    "search": {"suggest_enabled": False},
    "translate": {"enabled": False},
}
"""Of a new profile. Filling in would also ask its maker about every form that was seen."""

_FLAGS = (
    # Nothing goes around the proxy: no other transport, no names asked for, no address shown.
    "--disable-quic",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--proxy-bypass-list=<-loopback>",
    # It would tell its maker that it is there.
    "--gcm-checkin-url=about:blank",
    "--no-pings",
    "--disable-domain-reliability",
    "--disk-cache-size=100000000",
    "--disable-gpu",
)  # fmt: skip


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=MOST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def _serve(out: int) -> int:
    reader = await _lines()

    def tell(told: Told) -> None:
        data = msgspec.json.encode(told) + b"\n"
        while data:
            data = data[os.write(out, data) :]

    start = msgspec.json.decode(await reader.readline(), type=Start)
    try:
        # loaded late: it may be missing, which is then told in words
        from playwright.async_api import async_playwright
    except ImportError:
        tell(Told(0, failed="Playwright is missing: pip install 'stead[browser]'"))
        return 1
    async with async_playwright() as playwright:
        try:
            context = await _browser(playwright, start)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the model is to be told
            words = " ".join(str(problem).split())
            tell(Told(0, failed=f"the browser did not start: {words[:800]}"))
            return 1
        over = asyncio.Event()
        context.on("close", lambda *_: over.set())
        pages = Pages(context, Path(start.out), start.most_bytes)
        tell(Told(0))
        await _obey(reader, pages, tell, over)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5.0):
                await context.close()
    return 0


def _profile(folder: str) -> str:
    """The folder of the profile, made ready."""
    profile = folder or tempfile.mkdtemp(prefix="profile-")
    for name in _STALE:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(profile, name))
    preferences = Path(profile, "Default", "Preferences")
    if not preferences.exists():
        preferences.parent.mkdir(exist_ok=True)
        preferences.write_bytes(msgspec.json.encode(_PREFERENCES))
    return profile


async def _browser(playwright: Any, start: Start) -> Any:
    return await playwright.chromium.launch_persistent_context(
        _profile(start.profile),
        executable_path=start.program,
        headless=True,
        args=list(_FLAGS),
        ignore_default_args=list(_USUALLY),
        proxy={"server": start.proxy},
        downloads_path=start.out,
        accept_downloads=True,
        # Its own sandbox needs namespaces, which no sandbox of stead's gives: that is the wall.
        chromium_sandbox=False,
        viewport={"width": 1280, "height": 900},
        timeout=_START_S * 1000,
        handle_sigint=False,
        handle_sigterm=False,
        handle_sighup=False,
    )


async def _obey(reader: asyncio.StreamReader, pages: Pages, tell: Any, over: asyncio.Event) -> None:
    """Until the session, or the browser, has ended."""
    ended = asyncio.ensure_future(over.wait())
    while True:
        line = asyncio.ensure_future(reader.readline())
        await asyncio.wait({line, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() or not line.result():
            line.cancel()
            return
        order = msgspec.json.decode(line.result(), type=Order)
        if order.do == "close":
            ended.cancel()
            return
        done = asyncio.ensure_future(pages.obey(order))
        await asyncio.wait({done, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            done.cancel()
            return
        tell(done.result())


def main() -> int:
    # What else writes to standard output must not be taken for an answer.
    out = os.dup(1)
    os.dup2(2, 1)
    code = asyncio.run(_serve(out))
    sys.stdout.flush()
    os._exit(code)  # no hung page holds it up


if __name__ == "__main__":
    sys.exit(main())
