"""The gate of browsers: at which address, asked by whom, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from stead.core.errors import SteadError, WrongKey
from stead.gateway.signin import Comer, SignIns
from stead.pages.gate import KeyGate
from stead.pages.held import Held
from stead.pages.signin.addresses import Address, Addresses, parse_origin
from stead.pages.signin.browsers import in_words
from stead.pages.signin.gate import SignInGate
from stead.pages.site import Site
from stead.store.sqlite import SqliteStore

HTML = {"Accept": "text/html"}
OURS = ("https://stead.example.org", "http://box:7832", "https://far.example.org:8443")


def asked(method: str = "GET", server: str = "127.0.0.1", **headers: str) -> Request:
    """A request as the gateway gets it; ``_`` in names stands for ``-``."""
    pairs = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    scope = {
        "type": "http", "method": method, "path": "/", "query_string": b"", "headers": pairs,
        "server": (server, 7832), "scheme": "http",
    }  # fmt: skip
    return Request(scope)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:7832", "http://localhost:7832"),
        ("LOCALHOST.:7832", "http://localhost:7832"),
        ("localhost", "http://localhost"),
        ("stead.localhost:7832", "http://stead.localhost:7832"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),  # a tunnel
        ("[::1]:7832", "http://[::1]:7832"),
        ("stead.example.org", "https://stead.example.org"),
        ("Stead.Example.Org:443", "https://stead.example.org"),
        ("stead.example.org:80", "https://stead.example.org"),  # a proxy that puts its own port
        ("far.example.org", "https://far.example.org:8443"),  # one that leaves it out
        ("box:7832", "http://box:7832"),
    ],
)
def test_its_own_addresses(host: str, origin: str) -> None:
    """The machine's own, and those of stead.toml, also as proxies pass them on."""
    assert Addresses(OURS).of(asked(host=host)).origin == origin


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "localhost.evil.example", "xlocalhost", "127.0.0.1.evil.example",
        "stead.example.org.evil.example", "evil.example#stead.example.org", "10.1.2.3:7832",
        "203.0.113.7", "", " ", "localhost:7832, evil.example", "localhost:99999", "localhost:x",
        "[::1", "[::2]", "user@localhost", "2130706433", "0x7f.1", "0", "loc\u00e4lhost",
        "a" * 9999,
    ],
)  # fmt: skip
def test_foreign_addresses(host: str) -> None:
    """Whatever else a name may be that leads here: the request is refused (DNS rebinding)."""
    with pytest.raises(SteadError) as refused:
        Addresses(OURS).of(asked(host=host))
    assert refused.value.status == 421


def test_no_host_or_two_are_refused() -> None:
    """There is exactly one (RFC 9112, section 3.2)."""
    for headers in ([], [(b"host", b"localhost"), (b"host", b"localhost")]):
        request = asked()
        request.scope["headers"] = headers
        with pytest.raises(SteadError):
            Addresses(OURS).of(Request(request.scope))


def test_the_address_that_was_reached() -> None:
    """At an IP address the page is shown if that is the one the connection came in at."""
    ours = Addresses(())
    assert ours.of(asked(server="10.1.2.3", host="10.1.2.3:7832")).host == "10.1.2.3"
    assert ours.of(asked(server="::ffff:10.1.2.3", host="10.1.2.3:7832")).host == "10.1.2.3"
    with pytest.raises(SteadError):
        ours.of(asked(server="10.1.2.3", host="10.1.2.4:7832"))


@pytest.mark.parametrize(
    ("origin", "cookie", "rp"),
    [
        ("http://localhost:7832", "stead-7832", "localhost"),
        ("http://stead.localhost", "stead", "stead.localhost"),
        ("http://127.0.0.1:7832", "stead-7832", ""),
        ("https://[::1]:7832", "__Host-stead-7832", ""),
        ("http://box:7832", "stead-7832", ""),
        ("https://stead.example.org", "__Host-stead", "stead.example.org"),
        ("https://stead.example.org:8443", "__Host-stead-8443", "stead.example.org"),
    ],
)
def test_what_an_address_gives(origin: str, cookie: str, rp: str) -> None:
    """With https the cookie is bound to the host; passkeys are where browsers have them."""
    address = parse_origin(origin)
    assert (address.origin, address.cookie, address.rp) == (origin, cookie, rp)


@pytest.mark.parametrize(
    ("fine", "method", "headers"),
    [
        (True, "GET", {}),
        (True, "GET", {"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"}),
        (True, "GET", {"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}),
        (True, "GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate",
                       "sec_fetch_dest": "document"}),
        (False, "GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate",
                        "sec_fetch_dest": "iframe"}),
        (False, "GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}),
        (False, "GET", {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"}),
        (True, "POST", {"origin": "http://localhost:7832"}),
        (True, "POST", {"origin": "http://localhost:7832", "sec_fetch_site": "same-origin"}),
        (True, "POST", {"sec_fetch_site": "same-origin"}),
        (True, "POST", {"origin": "null", "sec_fetch_site": "same-origin"}),
        (True, "POST", {}),  # a program, or a browser of old that signs in
        (False, "POST", {"cookie": "stead-7832=x"}),
        (False, "POST", {"origin": "null"}),
        (False, "POST", {"origin": "null", "sec_fetch_site": "cross-site"}),
        (False, "POST", {"origin": "http://localhost:9999", "sec_fetch_site": "same-site"}),
        (False, "POST", {"origin": "http://localhost:9999"}),
        (False, "POST", {"origin": "https://localhost:7832"}),
        (False, "POST", {"origin": "http://localhost:7832", "sec_fetch_site": "cross-site"}),
        (False, "POST", {"origin": "http://localhost:7832.evil.example"}),
        (False, "POST", {"sec_fetch_site": "same-site"}),
        (False, "DELETE", {"origin": "https://evil.example"}),
        (False, "PUT", {"sec_fetch_site": "cross-site"}),
        (False, "PURGE", {"origin": "https://evil.example"}),
    ],
)  # fmt: skip
def test_what_another_page_may_not(fine: bool, method: str, headers: dict[str, str]) -> None:
    """To change something, or to show something of ours in itself; a link here may be anywhere. A
    page on another port of localhost is another page."""
    ours = Addresses(OURS)
    request = asked(method, host="localhost:7832", **headers)
    try:
        ours.check(request, ours.of(request))
        allowed = True
    except SteadError as error:
        assert error.status == 403
        allowed = False
    assert allowed is fine


def test_a_proxy_that_renames_us() -> None:
    """nginx as it comes passes on a Host of its own: what the browser says of the origin counts, if
    it is one of ours."""
    ours = Addresses(OURS)
    request = asked("POST", host="127.0.0.1:7832", origin="https://stead.example.org")
    assert ours.of(request) == Address("https", "stead.example.org", 443)
    ours.check(request, ours.of(request))
    with pytest.raises(SteadError):
        Addresses(()).check(request, Addresses(()).of(request))


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
         "Firefox on Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
         " Gecko) Version/18.5 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
         " Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge on Windows"),
        ("", "a browser that does not say its name"),
        ("<script>\u202e\x07" + "x" * 500, "<script> " + "x" * 31),
    ],
)  # fmt: skip
def test_browsers_in_words(agent: str, words: str) -> None:
    """Short, and without anything that could play tricks in a list."""
    assert in_words(agent) == words


# --- the whole site -------------------------------------------------------------------------------


class Home:
    """A site over a store, and an API that echoes."""

    def __init__(self, store: SqliteStore) -> None:
        self.ins = SignIns(store, b"secret", 86_400_000)

        def right(request: Request) -> None:
            if request.headers.get("authorization") != "Bearer owner":
                raise WrongKey

        self.gate = SignInGate(self.ins, Addresses(OURS), KeyGate(right))
        self.site = Site(Starlette(), "owner", self.gate)

    def browser(self, base: str = "http://localhost:7832") -> TestClient:
        """With the headers of a page of ours."""
        client = TestClient(
            self.site, base, raise_server_exceptions=False, follow_redirects=False,
            headers={**HTML, "Origin": base, "Sec-Fetch-Site": "same-origin",
                     "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        )  # fmt: skip
        return client


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield Home(store)
    store.close()


def enter(home: Home, browser: TestClient, to: str = "/x") -> Response:
    made = asyncio.run(home.ins.new_code("owner", 600))
    return browser.post("/sign-in", data={"code": made.code, "next": to})  # type: ignore[return-value]


def test_the_cookie_of_each_address(home: Home) -> None:
    """Read by no script, sent by no other page; with https bound to the host and never sent in the
    clear."""
    for base, name, secure in (
        ("http://localhost:7832", "stead-7832", False),
        ("https://stead.example.org", "__Host-stead", True),
    ):
        answer = enter(home, home.browser(base))
        assert (answer.status_code, answer.headers["location"]) == (303, "/x")
        value, *flags = answer.headers["set-cookie"].split("; ")
        assert value.startswith(f"{name}=")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(flags)
        assert ("Secure" in flags) is secure
        assert not any(flag.startswith("Domain") for flag in flags)


@pytest.mark.parametrize(
    "to",
    ["//evil.example", "https://evil.example", "/\\evil.example", "x", "", "/a\r\nX: y", "/sign-in"],  # noqa: E501
)  # fmt: skip
def test_it_goes_on_to_pages_of_ours_alone(home: Home, to: str) -> None:
    """Where one wanted to go comes with the request: to nobody else's page."""
    answer = enter(home, home.browser(), to)
    assert answer.headers["location"] in ("/", "/devices")


def test_a_code_in_an_address_is_not_taken(home: Home) -> None:
    """Addresses are kept by browsers and proxies: a code there lets nobody in, and stays good."""
    made = asyncio.run(home.ins.new_code("owner", 600))
    browser = home.browser()
    for path in (f"/sign-in?code={made.secret}", f"/?key={made.secret}", f"/x?token={made.code}"):
        answer = browser.get(path)
        assert "set-cookie" not in answer.headers
    assert browser.get("/").headers["location"] == "/sign-in"
    assert browser.post("/sign-in", data={"code": made.code}).status_code == 303


def test_wrong_codes_in_words(home: Home) -> None:
    """What was typed is not shown again; the sixth is told to wait, with the time; forms that are
    none are told so."""
    browser = home.browser()
    for n in range(6):
        answer = browser.post("/sign-in", data={"code": "<b>AAAAA"})
        assert answer.status_code == (403 if n < 5 else 429)
        assert "<b>AAAAA" not in answer.text and 'role="alert"' in answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert browser.post("/sign-in", content=b"\xff\xfe=1").status_code == 400
    assert browser.post("/sign-in", content=b"x" * 70_000).status_code == 413
    assert browser.post("/sign-in", content=b"&".join([b"a=1"] * 50)).status_code == 400


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"response": 1}',
        b'{"response": {}}',
        b"[" * 60_000,
        b'{"id": 1, "response": {"clientDataJSON": "e30"}}',
        b'{"id": "x", "response": {"clientDataJSON": "!!!"}}',
        b'{"id": "x", "response": {"clientDataJSON": "eyJjaGFsbGVuZ2UiOiBbXX0"}}',
        b'{"id": "x", "response": {"clientDataJSON": "eyJjaGFsbGVuZ2UiOiAieCJ9"}}',
    ],
)
def test_what_is_no_passkey(home: Home, answer: bytes) -> None:
    """Whatever a stranger sends as the answer of a passkey is refused in words."""
    told = home.browser().post("/sign-in/passkey", content=answer)
    assert told.status_code == 403
    assert "message" in told.json()["error"]


def test_passkeys_are_for_names(home: Home) -> None:
    """At an IP address there are none, and it is said why; to add one needs who has signed in."""
    assert home.browser("http://127.0.0.1:7832").post("/sign-in/options").status_code == 400
    assert (
        "no passkeys at this address" in home.browser("http://127.0.0.1:7832").get("/sign-in").text
    )
    options = home.browser().post("/sign-in/options").json()
    assert (options["rpId"], options["userVerification"]) == ("localhost", "required")
    for path in ("/sign-in/new/options", "/sign-in/new"):
        assert home.browser().post(path).status_code == 401


def test_foreign_pages_get_nothing(home: Home) -> None:
    """Neither in, nor to change something with the cookie of who is; nor into a frame."""
    browser = home.browser()
    enter(home, browser)
    elsewhere = {"Origin": "http://localhost:9999", "Sec-Fetch-Site": "same-site"}
    assert browser.post("/devices/others", headers=elsewhere).status_code == 403
    assert browser.post("/sign-in", headers=elsewhere, data={"code": "x"}).status_code == 403
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}
    assert browser.get("/devices", headers=framed).status_code == 403
    answer = browser.get("/devices", headers={"Host": "evil.example"})
    assert answer.status_code == 421 and "origins" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_page_that_was_left_open_is_led_to_sign_in(home: Home) -> None:
    """What htmx asks for after a sign-out does not put the sign-in page inside of another."""
    answer = home.browser().get(
        "/devices", headers={"HX-Request": "true", "Sec-Fetch-Mode": "cors"}
    )
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in")


async def test_a_stream_ends_with_the_sign_in(home: Home) -> None:
    """Who is signed out while a stream is open gets nothing more of it, at once; a request that has
    it done is answered itself; other people's streams go on."""
    here = Comer("Firefox", "127.0.0.1")
    tokens, devices = [], []
    for _ in range(2):
        token, device = await home.ins.enter_by_code(
            (await home.ins.new_code("owner", 60)).code, here
        )
        tokens.append(token)
        devices.append(device.id)

    async def endless(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.Event().wait()

        return StreamingResponse(pieces())

    async def out(request: Request) -> Response:
        await asyncio.create_task(home.ins.revoke(devices[0]))  # as the API inside does
        return PlainTextResponse("done")

    home.site._rooms = Starlette(
        routes=[Route("/endless", endless), Route("/out", out, methods=["POST"])]
    )
    streams = [Asking(home, "GET", "/endless", token) for token in tokens]
    for stream in streams:
        assert await stream.said() == b"one"
    asking = Asking(home, "POST", "/out", tokens[0])
    assert await asking.said() == b"done"
    assert await streams[0].said() == b""
    async with asyncio.timeout(60):
        await streams[0].task
    assert not streams[1].task.done()
    streams[1].task.cancel()
    await asyncio.gather(streams[1].task, return_exceptions=True)
    assert not home.gate._held._open


async def test_a_stream_ends_for_who_was_sent_away_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody told: it is looked again before more is sent."""
    monkeypatch.setattr("stead.pages.held._LOOK_S", -1.0)
    sent: list[Message] = []

    async def app(scope: Scope, receive: object, send: object) -> None:
        await StreamingResponse(pieces())(scope, gone, send)  # type: ignore[arg-type]

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"more"

    async def gone() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def holds() -> bool:
        return len(sent) < 3

    scope = {"type": "http", "method": "GET", "path": "/"}
    async with asyncio.timeout(60):
        await Held().run("device", app, scope, gone, send, holds)
    assert [one.get("body") for one in sent] == [None, b"more", b"more", b""]


class Asking:
    """A request of a browser, answered piece by piece."""

    def __init__(self, home: Home, method: str, path: str, token: str) -> None:
        headers = [
            (b"host", b"localhost:7832"), (b"cookie", f"stead-7832={token}".encode()),
            (b"origin", b"http://localhost:7832"), (b"sec-fetch-site", b"same-origin"),
        ]  # fmt: skip
        self._scope = {
            "type": "http", "method": method, "path": path, "query_string": b"",
            "headers": headers, "server": ("127.0.0.1", 7832), "scheme": "http", "root_path": "",
            "raw_path": path.encode(), "http_version": "1.1", "state": {},
            "asgi": {"version": "3.0", "spec_version": "2.3"}, "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.task = asyncio.ensure_future(home.site(self._scope, self._receive, self._send))

    async def said(self) -> bytes:
        """The next piece of the answer."""
        async with asyncio.timeout(60):
            return await self._pieces.get()

    async def _receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self._pieces.put_nowait(message.get("body", b""))
