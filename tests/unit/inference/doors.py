"""What the tests of the door and of its clients share: a purse that writes down, and servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stead.core.errors import OverBudget
from stead.core.nouns import Usage
from stead.core.ports import Caller
from stead.inference.backends import Backend, BackendModel, LocalModel
from stead.inference.door import Door, DoorAnswer
from stead.inference.plane.plane import ALIVE_S, Plane
from stead.inference.routing.routes import Routes
from stead.inference.routing.rules import Setup as Routing
from stead.inference.scripted import Running
from stead.inference.seam import Api, Asked, Record, Verdict, Who

KEY = "sk-very-secret-key"
CHAT = Caller("owner")
JOB = Caller("job", job_id="job-1")
Raw = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Settled:
    """A booking as the purse got it."""

    usage: Usage
    status: int
    first_ms: float
    total_ms: float


@dataclass
class NotingPurse:
    """A real book in memory: it has so many micro-dollars, and writes all down."""

    money: int = 10_000_000
    reserved: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    twice: int = 0
    keeps: bool = False

    def begin(self, record: Record) -> None:
        pass

    async def reserve(self, record: Record, most_micro: int) -> None:
        if most_micro > self.money:
            raise OverBudget(why="the test's purse is empty")
        assert record.id not in self.reserved
        self.reserved[record.id] = most_micro
        self._row(record, most_micro)

    def end(self, record: Record) -> None:
        if any(record is one for one in self.records):
            self.twice += 1
            return
        self.records.append(record)
        ended = record.ended
        assert ended is not None
        if self.reserved.pop(record.id, None) is None:
            self._row(record, 0)
        self.money -= ended.usage.cost_micro
        self.settled.append(Settled(ended.usage, ended.status, ended.first_ms, ended.total_ms))

    def _row(self, record: Record, most: int) -> None:
        way = record.plan.ways[0] if record.plan else None
        if record.ended is not None:
            way = record.ended.way
        name = "" if way is None else way.backend.name if way.backend else "local"
        reason = record.plan.reason if record.plan else ""
        row = {"who": record.who, "model": way.model.called if way else "", "backend": name}
        self.rows.append(row | {"most": most, "reason": reason})

    def one(self) -> Settled:
        """The one booking there should be."""
        assert (len(self.settled), self.twice, self.reserved) == (1, 0, {}), self
        return self.settled[0]


@dataclass
class Setup:
    door: Door
    purse: NotingPurse


def table(model: Running) -> list[Backend]:
    """The scripted model as a cloud: a free model and a paid one with an alias."""
    paid = BackendModel(
        "vendor/paid-1", "paid", usd_per_mtok_in=3.0, usd_per_mtok_cached=0.3, usd_per_mtok_out=15.0
    )
    return [Backend("cloud", model.url, model.key, (BackendModel("free"), paid), timeout_s=5.0)]


class AllowAll:
    """The policy of a house without rules."""

    def check(self, who: Who, asked: Asked) -> Verdict:
        return Verdict()

    async def look(self, who: Who, asked: Asked, verdict: Verdict) -> Verdict:
        return verdict

    def ended(self, verdict: Verdict, tokens: int) -> None:
        pass

    def sees(self, who: Who, name: str) -> bool:
        return True


@asynccontextmanager
async def door_to(
    backends: list[Backend],
    *,
    roles: dict[str, str] | None = None,
    home: Path | None = None,
    wait_s: float = 20.0,
    money: int = 10_000_000,
    alive_s: float = ALIVE_S,
) -> AsyncIterator[Setup]:
    purse = NotingPurse(money)
    played = {"main": "auto", "light": "auto"} | (roles or {})
    local = LocalModel(home) if home is not None else None
    known = Routes(Routing(backends=tuple(backends), roles=played), local)
    plane = Plane(
        policy=AllowAll(), routing=known, book=purse, local=local, wait_s=wait_s, alive_s=alive_s
    )
    try:
        yield Setup(Door(known, plane), purse)
    finally:
        await plane.aclose()


@asynccontextmanager
async def raw_backend(
    handler: Raw, *, timeout_s: float = 5.0, key: str = KEY
) -> AsyncIterator[Backend]:
    """A backend that answers what ``handler`` writes, and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await handler(await reader.readexactly(size), writer)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    url = f"http://user:hushhush@127.0.0.1:{port}/v1"
    model = BackendModel("m", usd_per_mtok_in=1.0, usd_per_mtok_out=1.0)
    try:
        # Asked for in whatever shape: nothing is translated.
        every = frozenset(api.value for api in Api)
        yield Backend("raw", url, key, (model,), timeout_s=timeout_s, apis=every)
    finally:
        listener.close()


def answering(status: int, body: bytes, *headers: str) -> Raw:
    """A whole answer with a length."""

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return handler


def chat(text: str, model: str = "free", **more: Any) -> bytes:
    """The body of a chat request."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": model, "messages": messages} | more).encode()


async def read(answer: DoorAnswer) -> bytes:
    """The whole body."""
    return b"".join([piece async for piece in answer.body])


def events(body: bytes) -> list[Any]:
    """The events of a stream, decoded; ``[DONE]`` and comments as text."""
    out: list[Any] = []
    for event in body.decode().split("\n\n"):
        if event.startswith("data: {"):
            out.append(json.loads(event.removeprefix("data: ")))
        elif event:
            out.append(event)
    return out


def text_of(body: bytes) -> str:
    """The words of a streamed answer."""
    said = ""
    for event in events(body):
        if isinstance(event, dict) and event.get("choices"):
            said += event["choices"][0]["delta"].get("content") or ""
    return said


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something that another thread or process does has happened; 10 s at most."""
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("what was waited for did not happen within 10 s")
