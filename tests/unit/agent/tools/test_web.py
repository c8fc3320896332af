"""Pages, searches and calls of APIs: real servers, real sandboxes, the real proxy between."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stead.agent.tools import TOOLS
from stead.agent.tools.base import Context, Outcome, Toolbox, ToolError
from stead.agent.web import Search, Web
from stead.sandbox.box import Walls
from stead.sandbox.egress import EgressProcess
from stead.sandbox.egress_terms import Terms
from stead.sandbox.secrets import Credential, Source
from stead.sandbox.walls import walls_here
from tests.unit.sandbox.egress_house import Asked, Ca, Echo, keep_secret, listening

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "the-key-of-the-api-0815"
PAGE = """<!doctype html><html><head><title>On walls &amp; doors</title>
<script>var hidden = "never shown";</script><style>p { color: red }</style></head><body>
<nav><a href="/a">Start</a> <a href="/b">Imprint</a></nav>
<article><h1>On walls</h1><p>A wall that nobody has leaned on is a drawing of a wall, and the longer
it stands the more people come to believe in it, which is the worst that can happen to a wall.</p>
<p>So we lean on it <a href="/more">every day</a>, and write down what gave way, and how far.</p>
<ul><li>first thing</li><li>second thing</li></ul>
<img src="http://evil.example/?leak=1" alt="a picture"></article><footer>imprint</footer>
</body></html>"""


def answered(
    body: str | bytes, kind: str = "text/html", status: str = "200 OK", **more: str
) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{extra}\r\n"
    )
    return head.encode() + data


def credentials(port: int) -> tuple[Credential, ...]:
    """Of all tests of this file."""
    host = (f"localhost:{port}",)
    return (
        Credential("api", Source(file="key"), host),
        Credential("part", Source(file="key"), host, paths=("/v1",), methods=("GET", "POST")),
        Credential("tavily", Source(file="key"), host, tools=("web_search",)),
        Credential(
            "brave", Source(file="key"), host, tools=("web_search",), how="header",
            field="X-Subscription-Token",
        ),
    )  # fmt: skip


@dataclass
class Hands:
    """The tools of the web, that reach one port of this machine."""

    folder: Path
    port: int
    walls: Walls
    echo: Echo
    web: Web

    @property
    def tools(self) -> Toolbox:
        return Toolbox(TOOLS, Context(self.folder, walls=self.walls, web=self.web))

    async def use(
        self, name: str, most: int = 12_000, limit_s: float = 120.0, **args: Any
    ) -> Outcome:
        tool, read = self.tools.read(name, json.dumps(args))
        tool = replace(tool, time_limit_s=limit_s)
        return await self.tools.call(tool, read, most, job="job-1", step=1)

    async def text(self, name: str, most: int = 12_000, **args: Any) -> str:
        outcome = await self.use(name, most, **args)
        assert outcome.ok, outcome.text
        return outcome.text

    async def error(self, name: str, **args: Any) -> str:
        outcome = await self.use(name, **args)
        assert not outcome.ok, outcome.text
        return outcome.text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hands]:
    """One server, one proxy and one set of walls for all tests: to start them takes longer than
    to use them."""
    folder = tmp_path_factory.mktemp("web")
    ca, echo = Ca(folder), Echo()
    keep_secret(folder / "secrets", "key", KEY)
    async with (
        listening(echo, ca.server("localhost")) as port,
        listening(_silent, ca.server("localhost")) as silent,
    ):
        terms = Terms(
            secrets=str(folder / "secrets"), ca_file=str(ca.file), credentials=credentials(port),
            private=(f"localhost:{port}", f"localhost:{silent}"),
        )  # fmt: skip
        egress = EgressProcess(lambda: terms)
        walls = walls_here(folder / "run", egress)
        yield Hands(folder / f"{silent}", port, walls, echo, Web(credentials(port)))
        await walls.aclose()
        await egress.aclose()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.fixture
def echo(house: Hands) -> Echo:
    house.echo.seen.clear()
    house.echo.answer = None
    return house.echo


@pytest.fixture
def hands(house: Hands, echo: Echo) -> Hands:
    return replace(house)


# --- web_fetch ------------------------------------------------------------------------


async def test_a_page_is_read_as_markdown(hands: Hands, echo: Echo) -> None:
    """What it says, its links and lists; not its menus, scripts and remote pictures."""
    echo.answer = lambda _: answered(PAGE)
    url = f"https://localhost:{hands.port}/walls"
    text = await hands.text("web_fetch", url=url)
    assert text.startswith(f"On walls & doors\n{url}\n\n")
    assert "# On walls" in text and "- first thing" in text
    assert f"[every day](https://localhost:{hands.port}/more)" in text
    assert "never shown" not in text and "evil.example" not in text and "color" not in text
    assert echo.seen[0].headers["host"] == f"localhost:{hands.port}"


async def test_long_pages_come_in_parts(hands: Hands, echo: Echo) -> None:
    """Each part says where the next one begins; together they are the page."""
    words = [f"word{number}" for number in range(3000)]
    echo.answer = lambda _: answered(" ".join(words), "text/plain")
    start, parts, url = 0, "", f"https://localhost:{hands.port}/"
    while True:
        text = await hands.text("web_fetch", most=9000, url=url, start=start)
        head, _, note = text.partition("\n\n")[2].partition("\n\n[")
        parts += head
        if not note:
            break
        start = int(note.partition("start=")[2].rstrip("]"))
    assert parts.split() == words
    assert "has only" in await hands.error("web_fetch", url=url, start=10**6)


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ("gr\u00fc\u00dfe".encode("latin-1"), "text/plain; charset=ISO-8859-1", "gr\u00fc\u00dfe"),
        ("gr\u00fc\u00dfe".encode(), "text/plain", "gr\u00fc\u00dfe"),
        ("gr\u00fc\u00dfe".encode("latin-1"), "text/plain", "gr\u00fc\u00dfe"),
        ("gr\u00fc\u00dfe".encode("utf-16"), "text/plain", "gr\u00fc\u00dfe"),
        ("gr\u00fc\u00dfe".encode(), "text/plain; charset=no-such", "gr\u00fc\u00dfe"),
        (
            '<html><meta charset="koi8-r"><p>\u043f\u0440\u0438\u0432\u0435\u0442</p>'.encode(
                "koi8-r"
            ),
            "text/html",
            "\u043f\u0440\u0438\u0432\u0435\u0442",
        ),
        ('{"a": [1, 2]}', "application/json", '{"a": [1, 2]}'),
        ("", "text/html", "holds no text"),
    ],
)
async def test_letters_are_read_right(
    hands: Hands, echo: Echo, body: str | bytes, kind: str, expected: str
) -> None:
    """By the header, the page's own word, a mark at the beginning, or what they look like."""
    echo.answer = lambda _: answered(body, kind)
    assert expected in await hands.text("web_fetch", url=f"https://localhost:{hands.port}/")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answered(b"%PDF-1.7 ...", "application/octet-stream"), "a PDF"),
        (answered(b"\x89PNG\r\n\0\0", "image/png"), "image/png"),
        (answered(b"a\0b" * 100, "text/html"), "no page"),
        (answered("gone", status="404 Not Found"), "answered 404"),
        (answered("slow down", status="429 Too Many", Retry_After="30"), "again after 30 s"),
        (answered("x", Content_Encoding="br"), "packed as 'br'"),
        (answered(b"junk", Content_Encoding="gzip"), "cannot be unpacked"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", "broke off"),
        (b"no http at all\r\n\r\n", "cannot be read"),
        (answered("", status="302 Found", Location="http://169.254.169.254/x"), "another host"),
        (answered("", status="302 Found", Location="file:///etc/passwd"), "another host"),
    ],
)
async def test_what_is_no_page_is_said(hands: Hands, echo: Echo, answer: bytes, says: str) -> None:
    """The model learns what it is, and gets no bytes of it."""
    echo.answer = lambda _: answer
    assert says in await hands.error("web_fetch", url=f"https://localhost:{hands.port}/")
    assert len(echo.seen) == 1


async def test_redirects_on_one_host_are_followed_so_far(hands: Hands, echo: Echo) -> None:
    """A few are; a circle is not."""

    def answer(asked: Asked) -> bytes:
        step = int(asked.path.strip("/") or 0)
        return (
            answered("at last", "text/plain")
            if step == 4
            else answered("", status="302 Found", Location=f"/{step + 1}")
        )

    echo.answer = answer
    url = f"https://localhost:{hands.port}/"
    text = await hands.text("web_fetch", url=url)
    assert "at last" in text and f"{url}4" in text
    echo.answer = lambda _: answered("", status="302 Found", Location="/again")
    assert "redirects" in await hands.error("web_fetch", url=url)


async def test_a_bomb_bursts_in_its_box(hands: Hands, echo: Echo) -> None:
    """Gigabytes of zeros, packed small, are read so far and no further."""
    bomb = gzip.compress(b"<p>" + b"a" * 60_000_000)
    echo.answer = lambda _: answered(bomb, "text/plain", Content_Encoding="gzip")
    text = await hands.text("web_fetch", url=f"https://localhost:{hands.port}/")
    assert "only the first 10.0 MB" in text and len(text) < 12_500


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "http://[::1]:{port}/",
        "http://169.254.169.254/latest/meta-data/", "http://localhost/", "http://10.0.0.1/",
        "http://0.0.0.0:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "https://localhost:22/",
    ],
)  # fmt: skip
async def test_no_private_address_is_reached(hands: Hands, echo: Echo, url: str) -> None:
    """Not by address and not by name; what the owner named is reached by that name alone."""
    said = await hands.error("web_fetch", url=url.format(port=hands.port))
    assert "not let out" in said
    assert echo.seen == []


async def test_no_walls_no_web(tmp_path: Path) -> None:
    """Where there are no sandboxes nothing is asked."""
    tools = Toolbox(TOOLS, Context(tmp_path))
    tool, args = tools.read("web_fetch", '{"url": "https://example.com"}')
    outcome = await tools.call(tool, args, 5000)
    assert not outcome.ok and "no sandboxes" in outcome.text


# --- web_search -----------------------------------------------------------------------

FOUND = [
    {
        "title": "Walls\n<b>and</b> doors",
        "url": "https://a.example/1",
        "content": "On &amp; on " * 90,
    },
    {"title": "", "url": "https://b.example/\n2", "description": "<strong>bold</strong> words"},
]
ENGINES: dict[str, Callable[[Any], Any]] = {
    "searxng": lambda found: {"results": found},
    "brave": lambda found: {"web": {"results": found}},
    "tavily": lambda found: {"results": found},
}


def searching(hands: Hands, kind: str) -> None:
    name = "" if kind == "searxng" else kind
    chosen = Search(kind, f"https://localhost:{hands.port}", name, 5)
    hands.web = Web(hands.web.credentials, chosen)


@pytest.mark.parametrize("kind", ENGINES)
async def test_each_engine_is_asked_its_way(hands: Hands, echo: Echo, kind: str) -> None:
    """With its key where it has one; titles, addresses and words come back on one line each."""
    echo.answer = lambda _: answered(json.dumps(ENGINES[kind](FOUND)), "application/json")
    searching(hands, kind)
    text = await hands.text("web_search", query="walls & doors")
    assert text.splitlines()[:2] == ["1. Walls and doors", "   https://a.example/1"]
    assert "   https://b.example/2" in text and max(map(len, text.splitlines())) < 450
    (seen,) = echo.seen
    if kind == "tavily":
        assert json.loads(seen.body) == {"query": "walls & doors", "max_results": 5}
        assert seen.headers["authorization"] == f"Bearer {KEY}"
    else:
        assert "q=walls+%26+doors" in seen.path
        assert (seen.headers.get("x-subscription-token") == KEY) is (kind == "brave")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answered("no", status="401 No"), "its key is not right"),
        (answered("no", status="429 No"), "too many searches"),
        (answered("oops", status="500 No"), "answered 500: oops"),
        (answered("<html>", "text/html"), "no list of results"),
        (answered("[1]", "application/json"), "no list of results"),
        (answered('{"results": [3]}', "application/json"), "no list of results"),
    ],
)
async def test_a_search_that_fails_is_told(
    hands: Hands, echo: Echo, answer: bytes, says: str
) -> None:
    """What is wrong, and with what."""
    echo.answer = lambda _: answer
    searching(hands, "tavily")
    assert says in await hands.error("web_search", query="x")


async def test_without_a_search_the_model_learns_what_to_set(hands: Hands) -> None:
    """And that it is the owner who sets it."""
    assert "[search] kind" in await hands.error("web_search", query="x")


# --- http -----------------------------------------------------------------------------


async def test_a_call_with_a_credential(hands: Hands, echo: Echo) -> None:
    """The server sees the key; neither the model nor anything it gets back does."""
    text = await hands.text(
        "http", method="POST", url=f"http://localhost:{hands.port}/v1/items?x=1",
        headers={"X-Own": "1"}, body='{"a": 1}', credential="api",
    )  # fmt: skip
    (seen,) = echo.seen
    assert (seen.line, seen.body) == ("POST /v1/items?x=1 HTTP/1.1", b'{"a": 1}')
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert (seen.headers["content-type"], seen.headers["x-own"]) == ("application/json", "1")
    assert text.startswith("HTTP 200\n") and KEY not in text and "[secret api]" in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"credential": "other"}, "there are: api, part"),
        ({"credential": "api", "url": "https://evil.example/v1"}, "is for localhost:"),
        ({"credential": "api", "url": "https://localhost/v1"}, "is for localhost:"),
        ({"credential": "part", "method": "DELETE"}, "is for GET, POST only"),
        ({"credential": "part", "url": "https://localhost:{port}/v10"}, "is for /v1 only"),
        ({"credential": "part", "url": "https://localhost:{port}/v1/../x"}, "not let out"),
        ({"headers": {"Host": "evil.example"}}, "leave it out"),
        ({"headers": {"X": "a\r\nY: b"}}, "does not allow"),
        ({"headers": {"X Y": "a"}}, "does not allow"),
        ({"url": "https://127.0.0.1:{port}/"}, "not let out"),
        ({"method": "CONNECT"}, "wrong arguments"),
    ],
)
async def test_a_call_that_may_not_be_is_told(
    hands: Hands, echo: Echo, args: dict[str, Any], says: str
) -> None:
    """Which condition it does not meet, and no request goes out."""
    whole = {"url": "https://localhost:{port}/v1", **args}
    whole["url"] = whole["url"].format(port=hands.port)
    try:
        said = await hands.error("http", **whole)
    except ToolError as error:
        said = str(error)
    assert says in said
    assert echo.seen == [] and KEY not in said


async def test_what_comes_back_of_a_call(hands: Hands, echo: Echo) -> None:
    """Its status and where it leads, also of errors and redirects; data that is no text is told."""
    url = f"https://localhost:{hands.port}/"
    echo.answer = lambda _: answered('{"error": 1}', "application/json", "422 No", Link="<x>")
    text = await hands.text("http", url=url)
    assert text.startswith("HTTP 422\n") and "link: <x>" in text and '{"error": 1}' in text
    echo.answer = lambda _: answered("", status="302 Found", Location="http://10.0.0.1/")
    assert "location: http://10.0.0.1/" in await hands.text("http", url=url)
    echo.answer = lambda _: answered(b"\0" * 500, "application/octet-stream")
    assert "500 bytes that are no text" in await hands.text("http", url=url)


async def test_a_call_is_cut_off_at_its_limit(hands: Hands) -> None:
    """A server that never answers ends the call, not the job."""
    url = f"https://localhost:{hands.folder.name}/"
    outcome = await hands.use("http", limit_s=4.0, url=url)
    assert not outcome.ok
