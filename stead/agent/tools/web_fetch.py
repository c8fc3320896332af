"""A page of the web as readable text."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stead import __version__
from stead.agent.tools.asking import Answer, Order, ask
from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.urls import Url, read_url
from stead.agent.tools.workspace import size_words
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches
from stead.sandbox.box import Host
from stead.sandbox.egress_hosts import WEB_PORTS

_MOST = 10_000_000
"""Bytes of a page that are read."""
_REDIRECTS = 5
_NOTE_ROOM = 400


class FetchArgs(Args, frozen=True):
    url: Annotated[str, Meta(description="http:// or https:// address of the page")]
    start: Annotated[int, Meta(description="Character to begin at, for long pages", ge=0)] = 0


async def fetch(args: FetchArgs, context: Context) -> str:
    """The page as Markdown, from a character on, with notes on what is not shown."""
    url = read_url(args.url)
    answer = await ask(
        context,
        "web_fetch",
        host_of(url),
        Order(
            url,
            headers=(
                ("User-Agent", f"Mozilla/5.0 (compatible; stead/{__version__})"),
                ("Accept", "text/html,application/xhtml+xml,text/*;q=0.9,*/*;q=0.5"),
                ("Accept-Encoding", "gzip"),
            ),
            redirects=_REDIRECTS,
            page=True,
            most=_MOST,
        ),
    )
    if answer.elsewhere:
        raise ToolError(
            f"the page leads to another host: {answer.elsewhere[:1000]} ; fetch that one instead"
        )
    if answer.status >= 400:
        raise ToolError(
            f"the server answered {answer.status}{_later(answer)}: "
            + " ".join(answer.text.split())[:500]
        )
    return _shown(answer, args.start, context.limit)


def host_of(url: Url) -> Host:
    """The one host that its sandbox may reach."""
    port = 0 if url.target.port in WEB_PORTS else url.target.port
    return Host(url.host, port)


def _shown(answer: Answer, start: int, limit: int) -> str:
    if answer.kind in ("pdf", "binary"):
        kind = (
            "a PDF" if answer.kind == "pdf" else answer.headers.get("content-type", "binary data")
        )
        at_least = "" if answer.whole else "more than "
        raise ToolError(f"this is {kind[:100]}, {at_least}{size_words(answer.size)}, and no page")
    text = answer.text
    if not text.strip():
        return f"[{answer.url} holds no text]"
    if start >= len(text):
        raise ToolError(f"the page has only {len(text)} characters")
    title = f"{answer.title}\n" if answer.title and start == 0 else ""
    head = f"{title}{answer.url}\n\n"
    room = max(200, limit - len(head) - _NOTE_ROOM)
    piece = text[start : start + room]
    notes = []
    if start + room < len(text):
        notes.append(f"{len(text)} characters in all; go on with start={start + room}")
    if not answer.whole:
        notes.append(f"only the first {size_words(_MOST)} of the page were read")
    if answer.by == "plain":
        notes.append("its words only, without its form")
    return head + piece + (f"\n\n[{'; '.join(notes)}]" if notes else "")


def _later(answer: Answer) -> str:
    after = answer.headers.get("retry-after", "")
    return f" (to be tried again after {after[:40]} s)" if after.isdigit() else ""


def touches(args: FetchArgs, context: Context) -> Touches:
    return Touches(hosts=(read_url(args.url).host,), foreign=True)


def preview(args: FetchArgs, context: Context) -> str:
    url = read_url(args.url)
    return f"Read the page {url.text}\n({url.host} learns this address, and that it was asked.)"


WEB_FETCH = Tool(
    name="web_fetch",
    about="Read a page of the web as Markdown. Long pages come in parts; go on with start.",
    short="read a web page",
    args=FetchArgs,
    run=fetch,
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    time_limit_s=60.0,
    output_limit=12_000,
    touches=touches,
    preview=preview,
    group="web",
)
