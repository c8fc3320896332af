"""A gateway in this process: the real composition over a real port, database and model server.

Only the process is missing: signals, the pid file and the logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from stead.agent.loop import toolbox
from stead.app.gateway import Gateway
from stead.config import load, prepare_home
from stead.core.ids import uuid7
from stead.core.keys import new_key
from stead.core.nouns import Inbound, NewJob
from stead.core.storage import Accepted
from stead.core.wire import Claim, ClaimedJob, ClaimReply, Finish
from stead.gateway.auth import hash_key
from stead.gateway.front import front
from stead.inference.client import HttpModelClient
from stead.inference.scripted import Running
from stead.net.http import Client, Streamed
from stead.net.sse import Comment, Parser
from stead.node.link import HttpLink
from stead.node.runner import Runner
from stead.store.sqlite import SqliteStore

_SETTINGS = """
listen = "127.0.0.1:{port}"
[gateway]
max_body_mb = 0.05
answer_wait_s = {answer_wait_s}
[model]
local = "off"
main = "scripted"
light = "scripted"
[node]
away_after_s = {away_after_s}
[queue]
lease_s = 1
backoff_s = 0.02
[[backend]]
name = "script"
url = "{model_url}"
key_file = "secrets/script.key"
models = [{{name = "scripted", tools = "schema"}}]
"""

#: Bytes; what ``max_body_mb`` of the settings above means.
MAX_BODY = 50_000


@dataclass(frozen=True)
class Answer:
    """A whole answer of the gateway."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> Any:
        """The error of a refusal; fails when the answer has not exactly the OpenAI shape."""
        assert self.status >= 400, (self.status, self.raw)
        assert self.headers["content-type"] == "application/json"
        (error,) = self.data.values()
        assert set(error) == {"message", "type", "param", "code"}, error
        assert error["message"] and error["type"] and error["code"], error
        return error


@dataclass
class Event:
    """A server-sent event, or (with the type ``comment``) a comment."""

    type: str
    text: str
    id: str = ""

    @property
    def data(self) -> Any:
        return json.loads(self.text)


@dataclass
class Gate:
    """A gateway, its port and its keys."""

    home: Path
    port: int
    key: str
    node_key: str
    store: SqliteStore
    parts: Any
    client: Client
    _leave: list[asyncio.Task[None]] = field(default_factory=list)

    # --- HTTP --------------------------------------------------------------------------

    def head(self, key: str | None = None, **more: str) -> dict[str, str]:
        """Headers; ``key`` None is the owner's, empty is none."""
        shown = self.key if key is None else key
        bearer = {"authorization": f"Bearer {shown}"} if shown else {}
        return {**bearer, "content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in more.items()
        }

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> Answer:
        """One request; ``body`` is bytes as they are, or anything that becomes JSON."""
        raw = body if isinstance(body, bytes) else b"" if body is None else _json(body)
        got = await self.client.request(method, path, body=raw, headers=self.head(key, **headers))
        return Answer(got.status, got.headers, got.body)

    async def say(self, text: str, **more: Any) -> str:
        """Send a message; the id of its job."""
        answer = await self.ask("POST", "/api/v1/messages", {"text": text, **more})
        assert answer.status == 202, answer
        return str(answer.data["job_id"])

    async def why(self, job_id: str) -> Any:
        answer = await self.ask("GET", f"/api/v1/why/{job_id}")
        assert answer.status == 200, answer
        return answer.data

    async def ended(self, job_id: str) -> Any:
        """The story of a job once it is over."""
        for _ in range(2000):
            story = await self.why(job_id)
            if story["job"]["state"] in ("done", "dead", "cancelled"):
                return story
            await asyncio.sleep(0.005)
        raise AssertionError(f"{job_id} does not end: {story['job']}")

    async def open(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> Streamed:
        raw = b"" if body is None else _json(body)
        return await self.client.stream(method, path, body=raw, headers=self.head(key, **headers))

    async def raw(self, data: bytes) -> bytes:
        """Bytes on a connection of their own; all that comes back until it is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), 60)
        finally:
            writer.close()

    async def hang_up(self, data: bytes) -> None:
        """Send bytes and leave without waiting; returns when the gateway has noticed."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()
        await self.ask("GET", "/healthz")

    # --- the node protocol -----------------------------------------------------------------

    async def node(self, call: str, body: Any, *, key: str | None = None) -> Answer:
        raw = msgspec.json.encode(body)
        return await self.ask("POST", f"/node/v1/{call}", raw, key=key or self.node_key)

    async def claim(
        self, *, labels: tuple[str, ...] = (), wait_s: float = 0.0, key: str | None = None
    ) -> ClaimedJob | None:
        claim = Claim(uuid7(), "boot-1", labels=list(labels), wait_s=wait_s)
        answer = await self.node("claim", claim, key=key)
        assert answer.status == 200, answer
        return msgspec.json.decode(answer.raw, type=ClaimReply).job

    async def finish(self, job: ClaimedJob, text: str = "done") -> Answer:
        return await self.node("finish", Finish(uuid7(), job.id, job.epoch, "done", text=text))

    async def add_node(self, name: str) -> str:
        """A second node; its key."""
        key = new_key("node")
        await self.store.add_node(name, hash_key(key))
        return key

    def work(self) -> Runner:
        """A real node at work in this process until the gate is closed."""
        link = HttpLink(f"http://127.0.0.1:{self.port}", self.node_key)
        runner = Runner(
            link,
            lambda job: HttpModelClient(link.client, job.key),
            toolbox(self.home / "workspace"),
            grace_s=0.1,
            claim_wait_s=5,
        )

        async def run() -> None:
            try:
                await runner.run()
            finally:
                await link.aclose()

        self._leave.append(asyncio.create_task(run()))
        return runner

    async def accept(self, text: str, session: str = "main", needs: str = "") -> Accepted:
        """A message put straight into the queue, past the router."""
        return await self.store.accept(
            Inbound("cli", uuid7(), text, session),
            NewJob("chat", {"text": text, "role": "main"}, needs=needs),
            "",
        )


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


@contextlib.asynccontextmanager
async def gate_at(
    home: Path,
    model: Running,
    *,
    answer_wait_s: float = 20.0,
    away_after_s: float = 1.0,
    more: str = "",
) -> AsyncIterator[Gate]:
    """A gateway in ``home``, its background services running, its worker in process not."""
    prepare_home(home)
    # With its protocol named: else asyncio does not turn off Nagle's algorithm on it.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    port = int(sock.getsockname()[1])
    settings = _SETTINGS.format(
        port=port,
        model_url=model.url,
        answer_wait_s=answer_wait_s,
        away_after_s=away_after_s,
    )
    (home / "stead.toml").write_text(settings + more)
    (home / "secrets" / "script.key").write_text(model.key)
    owner, node = new_key("owner"), new_key("node")
    store = SqliteStore(home / "state.db", home / "backups")
    await store.add_node("hands", hash_key(node))
    parts = Gateway(load(home), store)._build(owner, b"0" * 32)
    await parts.keys.refresh()
    await parts.queue.start()
    tasks = [
        asyncio.create_task(parts.daily.run()),
        asyncio.create_task(parts.queue.run_rescue(parts.flow.crash_rule, 0.05)),
    ]
    server = uvicorn.Server(
        uvicorn.Config(
            parts.app, http=front(*parts.doors.places(), *parts.node_doors.places()),  # type: ignore[arg-type]
            lifespan="off", access_log=False, log_config=None,
            timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
    server.config.load()  # what serve() does, but for its ticks of a tenth of a second
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[sock])
    client = Client(f"http://127.0.0.1:{port}")
    gate = Gate(home, port, owner, node, store, parts, client)
    try:
        yield gate
    finally:
        parts.queue.close()
        parts.live.close()
        parts.queue.news.close()
        for task in [*gate._leave, *tasks]:
            task.cancel()
        await asyncio.gather(*gate._leave, *tasks, return_exceptions=True)
        await client.aclose()
        await server.shutdown(sockets=[sock])
        await parts.door.aclose()
        await parts.policy.aclose()
        await parts.audit.aclose()
        store.close()


async def events(streamed: Streamed) -> AsyncIterator[Event]:
    """The events of a stream, as they come."""
    parser = Parser()
    async for piece in streamed:
        for item in parser.feed(piece):
            if isinstance(item, Comment):
                yield Event("comment", item.text)
            else:
                yield Event(item.event, item.data, item.id)
