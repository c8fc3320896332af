"""A search of the web, by whom the owner chose for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from msgspec import Meta

from stead.agent.tools.asking import Order, ask
from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.urls import Url, read_url
from stead.agent.web import Search
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches
from stead.sandbox.box import Host

_SNIPPET = 400
_HOW = (
    'no web search is set up. The owner can set one in stead.toml: [search] kind = "searxng" with'
    ' the url of a SearXNG server, or kind = "brave" or "tavily" with a credential'
    " (docs/egress.md)"
)


class SearchArgs(Args, frozen=True):
    query: Annotated[str, Meta(description="Words to search for", min_length=1, max_length=400)]


@dataclass(frozen=True, slots=True)
class _Engine:
    """How a search is asked, and where its answer holds what was found."""

    url: str
    order: Callable[[str, Search, str], tuple[str, str, bytes]]
    """Of base URL, settings and query: method, URL, body."""
    results: Callable[[Any], Any]
    snippet: str


def _searxng(base: str, search: Search, query: str) -> tuple[str, str, bytes]:
    return "GET", f"{base}/search?{urlencode({'q': query, 'format': 'json'})}", b""


def _brave(base: str, search: Search, query: str) -> tuple[str, str, bytes]:
    asked = urlencode({"q": query, "count": search.results})
    return "GET", f"{base}/res/v1/web/search?{asked}", b""


def _tavily(base: str, search: Search, query: str) -> tuple[str, str, bytes]:
    body = {"query": query, "max_results": search.results}
    return "POST", f"{base}/search", json.dumps(body).encode()


#: https://docs.searxng.org/dev/search_api.html, https://api-dashboard.search.brave.com/documentation,
#: https://docs.tavily.com/documentation/api-reference/endpoint/search
_ENGINES = {
    "searxng": _Engine("", _searxng, lambda told: told["results"], "content"),
    "brave": _Engine(
        "https://api.search.brave.com",
        _brave,
        lambda told: told.get("web", {}).get("results", []),
        "description",
    ),
    "tavily": _Engine("https://api.tavily.com", _tavily, lambda told: told["results"], "content"),
}


async def search(args: SearchArgs, context: Context) -> str:
    """Title, address and a few words of each result."""
    engine, where = _engine(context)
    chosen = context.web.search
    method, text, body = engine.order(where.text.rstrip("/"), chosen, args.query)
    headers = [("Accept", "application/json"), ("Accept-Encoding", "gzip")]
    if body:
        headers.append(("Content-Type", "application/json"))
    credentials = (chosen.credential,) if chosen.credential else ()
    # The address is the owner's own: it may be that of a machine in the house.
    host = Host(where.host, where.target.port, credentials, private=True)
    order = Order(read_url(text), method, headers, body)
    answer = await ask(context, "web_search", host, order)
    if answer.status != 200:
        raise ToolError(_why(chosen, answer.status, answer.text))
    try:
        found = engine.results(json.loads(answer.text))
        lines = [_line(one, engine.snippet) for one in found[: chosen.results]]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ToolError(
            f"what {where.host} answered is no list of results; is it a {chosen.kind} server?"
        ) from None
    if not lines:
        return "[nothing was found]"
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _engine(context: Context) -> tuple[_Engine, Url]:
    chosen = context.web.search
    engine = _ENGINES.get(chosen.kind)
    if engine is None:
        raise ToolError(_HOW)
    return engine, read_url(chosen.url or engine.url)


def _why(search: Search, status: int, text: str) -> str:
    if status in (401, 403) and search.kind == "searxng":
        return f"the search server answered {status}; is json among its search.formats?"
    if status in (401, 403):
        return f"{search.kind} answered {status}: its key is not right; tell the owner"
    if status == 429:
        return f"{search.kind} answered 429: too many searches for now"
    return f"{search.kind} answered {status}: {' '.join(text.split())[:300]}"


def _line(one: dict[str, Any], snippet: str) -> str:
    title, words = _words(one.get("title"))[:200], _words(one.get(snippet))
    if len(words) > _SNIPPET:
        words = words[:_SNIPPET] + " ..."
    address = "".join(str(one["url"]).split())[:1000]
    return f"{title}\n   {address}" + (f"\n   {words}" if words else "")


def _words(value: object) -> str:
    import html  # late: its table of names is large, and few processes look for pages

    return " ".join(html.unescape(re.sub(r"<[^>]{0,200}>", "", str(value or ""))).split())


def touches(args: SearchArgs, context: Context) -> Touches:
    if context.web.search.kind not in _ENGINES:
        return Touches()
    credential = context.web.search.credential
    return Touches(
        hosts=(_engine(context)[1].host,),
        credentials=(credential,) if credential else (),
        foreign=True,
    )


def preview(args: SearchArgs, context: Context) -> str:
    return f"Search the web ({context.web.search.kind}) for “{args.query}”"


WEB_SEARCH = Tool(
    name="web_search",
    about="Search the web: titles, addresses and a few words of what is found.",
    short="search the web",
    args=SearchArgs,
    run=search,
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    time_limit_s=40.0,
    output_limit=8000,
    touches=touches,
    preview=preview,
    group="web",
)
