"""The page lets in who may, says no in words, and is asked from inside as from outside."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from stead.app.pages import Pages
from stead.core.errors import WrongKey
from stead.pages.inside import Api, Refused
from stead.pages.rooms import Room, letters
from stead.pages.visitor import Visitor

KEY = "st-owner"
HTML = {"Accept": "text/html"}


def site() -> Pages:
    def right(scope: object) -> None:
        assert isinstance(scope, dict)
        if dict(scope["headers"]).get(b"authorization") != f"Bearer {KEY}".encode():
            raise WrongKey

    pages = Pages(KEY, right)
    pages.api = Starlette()
    return pages


@pytest.fixture
def browser() -> TestClient:
    return TestClient(site(), raise_server_exceptions=False, follow_redirects=False)


def test_strangers_see_nothing(browser: TestClient) -> None:
    """Whoever shows no key, or a wrong one, is told that he is not signed in."""
    for key in ({}, {"Authorization": "Bearer st-wrong"}):
        answer = browser.get("/jobs", headers={**HTML, **key})
        assert answer.status_code == 401
        assert "not signed in" in answer.text


def test_every_answer_is_walled_in(browser: TestClient) -> None:
    """Nothing from elsewhere, nothing inline, in nobody's frame: also what says no."""
    for path in ("/", "/jobs", "/static/x/site.css"):
        answer = browser.get(path, headers=HTML)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"


def test_files_may_be_kept_under_their_hash(browser: TestClient) -> None:
    """A file under its own hash is for ever; under another it is not, and one more is not there."""
    page = browser.get("/nothing", headers=HTML)
    url = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = browser.get(url)
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
    assert "--ground" in answer.text
    plain = browser.get("/static/000000000000/site.css", headers={"Accept-Encoding": ""})
    assert plain.headers["cache-control"] == "no-cache"
    assert plain.text == answer.text
    assert browser.get("/static/x/../site.py").status_code == 404
    assert browser.get("/static/x/nothing.css").status_code == 404


def test_the_app_is_there_for_who_is_not_in(browser: TestClient) -> None:
    """Manifest, worker and offline page come without signing in; the worker keeps what exists."""
    manifest = browser.get("/manifest.webmanifest")
    assert manifest.headers["content-type"] == "application/manifest+json"
    for icon in manifest.json()["icons"]:
        assert browser.get(icon["src"]).content.startswith(b"\x89PNG")
    worker = browser.get("/sw.js")
    assert worker.headers["content-type"].startswith("text/javascript")
    assert worker.headers["cache-control"] == "no-cache"
    kept = json.loads(worker.text.split("const KEPT = ")[1].split(";\n")[0])
    assert "/offline" in kept
    assert all(browser.get(path).status_code == 200 for path in kept)


def test_colours_are_as_chosen(browser: TestClient) -> None:
    """The choice is in the first byte of the page, so nothing flashes; nonsense is no choice."""
    for chosen, shown in (("dark", True), ("light", True), ("evil", False), ("", False)):
        browser.cookies.set("stead-theme", chosen)
        text = browser.get("/offline", headers=HTML).text
        assert (f'data-theme="{chosen}"' in text) == shown
        assert ('<html lang="en" data-theme' in text) == shown


def test_rooms_have_letters_of_their_own() -> None:
    """Each room is reached by a letter of its title that no earlier one has taken."""
    rooms = [Room(name.lower(), name, ()) for name in ("Chat", "Costs", "Tac", "AT", "Ta", "Ü")]
    assert letters(rooms) == {"/chat": "c", "/costs": "o", "/tac": "t", "/at": "a"}


def test_a_program_astray_is_told_in_its_own_shape(browser: TestClient) -> None:
    """Who does not ask for HTML gets the API's shape of errors."""
    answer = browser.post("/chat/completions", headers={"Accept": "*/*"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


async def test_inside_is_as_outside() -> None:
    """Answers, errors with their words, queries and bodies; a person is named but for the owner."""

    async def echo(request: Request) -> JSONResponse:
        body = await request.body()
        seen = {key: request.headers.get(key) for key in ("authorization", "x-stead-person")}
        return JSONResponse({**seen, "query": str(request.url.query), "body": body.decode()})

    async def no(request: Request) -> JSONResponse:
        return JSONResponse({"error": {"message": "Not so.", "code": "no", "param": "x"}}, 409)

    app = Starlette(routes=[Route("/a", echo, methods=["GET", "POST"]), Route("/no", no)])
    owner, child = Api(app, KEY, Visitor()), Api(app, KEY, Visitor("ada"))
    told = await owner.get("/a", state="queued", before=None)
    assert (told["authorization"], told["x-stead-person"]) == (f"Bearer {KEY}", None)
    assert (told["query"], told["body"]) == ("state=queued", "")
    told = await child.post("/a", {"text": "ü"})
    assert (told["x-stead-person"], told["body"]) == ("ada", '{"text":"ü"}')
    with pytest.raises(Refused, match="Not so") as refused:
        await owner.get("/no")
    assert (refused.value.status, refused.value.code, refused.value.param) == (409, "no", "x")


async def test_a_stream_is_read_as_it_comes_and_hung_up() -> None:
    """Pieces arrive one by one; leaving ends the source."""
    ended = asyncio.Event()
    go_on = asyncio.Event()

    async def count(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                await go_on.wait()
                yield b"two"
                await asyncio.Event().wait()
            finally:
                ended.set()

        return StreamingResponse(pieces())

    api = Api(Starlette(routes=[Route("/s", count)]), KEY, Visitor())
    async with api.stream("GET", "/s") as (status, _, pieces):
        assert status == 200
        assert await anext(pieces) == b"one"
        go_on.set()
        assert await anext(pieces) == b"two"
    async with asyncio.timeout(60):
        await ended.wait()


def test_nothing_of_it_is_loaded_before_a_browser_comes() -> None:
    """A gateway that nobody looks at does without templates."""
    look = "import stead.app.gateway, sys; print({'jinja2', 'stead.pages'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
