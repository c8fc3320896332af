"""Looks at instances: what they ask for, when, and what follows. Over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stead.inference.backends import Backend, BackendModel
from stead.inference.routing import probe, view
from stead.inference.routing.routes import Routes
from stead.inference.routing.rules import Lane, Setup
from tests.unit.inference.routing.houses import Clock, fails, plan

MODELS = b'{"object":"list","data":[{"id":"m"},{"id":"n"}]}'


class Server:
    """A server that counts what it is asked, and answers as it is told."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        self.heads: list[str] = []
        self.silent = False
        self.url = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            if self.silent:
                await asyncio.sleep(30)
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (self.status, len(self.body), self.body)
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(status: int = 200, body: bytes = MODELS) -> AsyncIterator[Server]:
    server = Server(status, body)
    listening = await asyncio.start_server(server._serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    server.url = f"http://{host}:{port}/v1"
    try:
        yield server
    finally:
        listening.close()


def routing(*backends: Backend, clock: Clock, every: float = 15.0) -> Routes:
    setup = Setup(backends, probe_s={backend.name: every for backend in backends})
    return Routes(setup, clock=clock)


async def test_a_look_asks_for_the_models_only() -> None:
    """A look is a GET of the models with the key: no model works for it, so it costs nothing."""
    async with serving() as server:
        backend = Backend("a", server.url, "secret", (BackendModel("m"),))
        found = await probe.look(backend)
        assert found.ok and found.models == ("m", "n")
        assert server.heads[0].startswith("GET /v1/models HTTP/1.1\r\n")
        assert "authorization: Bearer secret" in server.heads[0]


@pytest.mark.parametrize(
    ("status", "body", "ok", "models"),
    [
        (404, b"nothing here", True, None),
        (200, b"<html>", True, None),
        (200, b'{"data": 7}', True, None),
        (500, b"", False, None),
        (503, b'{"error":{"message":"Loading model"}}', False, None),
        (401, b"", False, None),
    ],
)
async def test_odd_answers(status: int, body: bytes, ok: bool, models: None) -> None:
    """A server without a list of models is well; one that errs or refuses our key is not."""
    async with serving(status, body) as server:
        found = await probe.look(Backend("a", server.url, "k"))
        assert (found.ok, found.models) == (ok, models) and found.words


async def test_no_server_and_a_silent_one() -> None:
    """Nobody there, or nobody who says a word: told in words, and soon."""
    found = await probe.look(Backend("a", "http://127.0.0.1:1/v1"))
    assert not found.ok and "refused" in found.words
    assert not (await probe.look(Backend("a", "http://127.0.0.1:1/v1", "a\nb"))).ok
    async with serving() as server:
        server.silent = True
        found = await probe.look(Backend("a", server.url), patience_s=0.2)
        assert not found.ok and "within" in found.words


async def test_who_is_looked_at() -> None:
    """Only who is in the house, and of whom no call told within the time; one that rests more
    often; nobody where the owner says so."""
    clock = Clock()
    async with serving() as server:
        home = Backend("home", server.url, models=(BackendModel("m"),))
        cloud = Backend("cloud", server.url, models=(BackendModel("c"),), where="cloud")
        found = routing(home, cloud, clock=clock)
        prober = probe.Prober(found, round_s=2.0)
        await prober.round()
        assert len(server.heads) == 1
        clock.now += 5
        await prober.round()
        assert len(server.heads) == 1
        clock.now += 11
        fails(found, plan(found, "m").ways[0], 200)
        await prober.round()
        assert len(server.heads) == 1, "its traffic told"
        fails(found, plan(found, "m").ways[0], 0)
        clock.now += 2
        await prober.round()
        assert len(server.heads) == 2
        quiet = routing(home, clock=clock, every=0.0)
        await probe.Prober(quiet).round()
        assert len(server.heads) == 2


async def test_one_that_fell_goes_last_before_a_call_finds_out() -> None:
    """An instance that does not answer a look is not the first to be asked; when it is back, it
    is, without a call having been lost."""
    clock = Clock()
    async with serving() as server:
        gone = Backend("box", "http://127.0.0.1:1/v1", models=(BackendModel("m"),))
        here = Backend("box", server.url, models=(BackendModel("m"),))
        found = routing(gone, here, clock=clock)
        prober = probe.Prober(found)
        await prober.round()
        for _ in range(4):
            told = plan(found, "m")
            assert told.ways[0].backend == here and "refused" in told.reason
        assert "its other instances get its calls" in view.not_yet(found)[0]
        fallen = found.health.places[gone.place]
        found.health.reached(gone.place)
        assert fallen.well and view.not_yet(found) == []


async def test_a_look_is_no_proof_against_calls() -> None:
    """A server that lists its models and fails at each call is tried by one call at a time."""
    clock = Clock()
    async with serving() as server:
        backend = Backend("a", server.url, models=(BackendModel("m"),))
        found = routing(backend, clock=clock)
        fails(found, plan(found, "m").ways[0], 0)
        clock.now += 0.5
        found.health.reached(backend.place)
        place = found.health.places[backend.place]
        assert not place.well and not place.objection("m", clock.now)[0]
        found.began(plan(found, "m").ways[0])
        assert "tried again" in plan(found, "m").reason
        found.ended(plan(found, "m").ways[0], status=200)
        assert place.well


async def test_the_view_keeps_passwords() -> None:
    """What is shown of a backend has neither its key nor a password of its address."""
    clock = Clock()
    backend = Backend("a", "http://me:word@10.0.0.7:1/v1?k=secret", "key", (BackendModel("m"),))
    found = Routes(Setup((backend,), (Lane("x", ("m",)),)), clock=clock)
    shown = f"{view.backends(found)} {view.lanes(found)}"
    for secret in ("word", "secret", "key"):
        assert secret not in shown
    one = view.backends(found)[0]
    assert one["state"] == "unknown" and one["where"] == "house"
    fails(found, plan(found, "m").ways[0], 429, 30.0)
    one = view.backends(found)[0]
    assert one["state"] == "waiting" and one["waits"]["m"]["left_s"] == 30.0
    lanes = {lane["name"]: lane["models"] for lane in view.lanes(found)}
    assert lanes["x"] == ["a/m"] and lanes["main"] == ["a/m"]
