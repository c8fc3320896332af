"""How the scripted model answers: :mod:`stead.inference.scripted` says when and what."""

from __future__ import annotations

import asyncio
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from stead.inference.directives import Plan, count, images_of, shaped, tokens

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
CREATED = 1_700_000_000


@dataclass(slots=True)
class Seen:
    """One call, as ``GET /calls`` shows it."""

    n: int
    hash: str
    """SHA-256 of the request as canonical JSON."""
    model: str
    stream: bool
    mode: str
    """``native``, ``schema`` or ``plain``: how tools may be called."""
    messages: int
    owner: str
    """The owner's last message."""
    last_role: str
    last: str
    """The last message, up to 500 characters."""
    key: str
    """SHA-256 of the bearer key, first 12 characters."""
    outcome: str = "open"
    tokens: int = 0
    """Tokens sent."""


class Left(Exception):
    """The caller has gone."""


class Cut(Exception):
    """The connection is to be broken here."""


class Gone:
    """Knows when the caller has left, without being asked."""

    def __init__(self, receive: Receive) -> None:
        self._task = asyncio.ensure_future(self._watch(receive))

    @staticmethod
    async def _watch(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    def check(self) -> None:
        if self._task.done():
            raise Left

    async def wait(self, seconds: float | None) -> None:
        """Sleep, unless the caller leaves: then ``Left``. None: until then."""
        await asyncio.wait({self._task}, timeout=seconds)
        self.check()

    def close(self) -> None:
        self._task.cancel()


@dataclass(slots=True)
class Answer(ABC):
    """One answer on its way out. How it is shaped is said by those that inherit."""

    request: dict[str, Any]
    messages: list[dict[str, Any]]
    plan: Plan
    mode: str
    seen: Seen
    send: Send
    gone: Gone

    async def wait(self, milliseconds: float) -> None:
        if milliseconds:
            await self.gone.wait(milliseconds / 1000)

    async def give(self) -> None:
        await self.wait(self.plan.first_ms)
        if self.plan.stall == 0:
            await self.gone.wait(None)
        streamed = bool(self.request.get("stream"))
        if self.plan.garbage:
            self.seen.outcome = "garbage"
            body = b"data: <html>no JSON</html>\n\n" if streamed else b"<html>no JSON</html>"
            await start(self.send, 200, EVENTS if streamed else JSON)
            await self.send({"type": "http.response.body", "body": body})
        elif streamed:
            await self._stream()
        else:
            await self._whole()

    # --- what is said ---

    @abstractmethod
    async def _whole(self) -> None:
        """Send it in one piece."""

    @abstractmethod
    async def _stream(self) -> None:
        """Send it token by token."""

    @property
    def _native(self) -> bool:
        return self.mode == "native" and bool(self.plan.tool)

    def _pieces(self) -> tuple[list[str], str]:
        """The tokens of the answer and its finish reason."""
        made = self.plan
        if self._native:
            said = made.args
        elif made.images:
            said = "; ".join(images_of(self.messages)) or "no pictures"
        elif self.mode == "schema" and not made.raw:
            said = shaped(made)
        else:
            said = made.text
        pieces = tokens(said)
        limit = self.request.get("max_completion_tokens") or self.request.get("max_tokens")
        if isinstance(limit, int) and 0 < limit < len(pieces):
            return pieces[:limit], "length"
        return pieces, "tool_calls" if self._native else "stop"

    async def _tokens(self, pieces: list[str]) -> AsyncIterator[str]:
        """The pieces in their time, with what the plan has in store."""
        made = self.plan
        for n, piece in enumerate([*pieces, None]):
            if made.cut == n:
                raise Cut
            if made.stall == n:
                await self.gone.wait(None)
            if piece is None or n in (made.error, made.short):
                return
            await self.wait(made.slow_ms)
            self.gone.check()
            self.seen.tokens += 1
            yield piece

    def _id(self, prefix: str, n: int) -> str:
        """Of the call number ``n`` of this answer."""
        seed = self.seen.hash if n == 0 else f"{self.seen.hash} {n}"
        return prefix + hashlib.sha256(seed.encode()).hexdigest()[:16]

    async def _body(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    async def _broken(self, start_of_body: bytes) -> None:
        """The head and a bit of an unstreamed answer that does not come."""
        await start(self.send, 200, [*JSON, (b"content-length", b"100000")])
        await self._body(start_of_body)


class ChatAnswer(Answer):
    """As chat/completions gives it."""

    def _call(self, arguments: str, name: str = "", n: int = 0) -> dict[str, Any]:
        function = {"name": name or self.plan.tool, "arguments": arguments}
        return {"id": self._id("call_", n), "type": "function", "function": function}

    def _usage(self) -> dict[str, Any]:
        prompt = count(self.messages)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.seen.tokens,
            "total_tokens": prompt + self.seen.tokens,
            "prompt_tokens_details": {"cached_tokens": min(self.plan.cached, prompt)},
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.seen.hash[:24]}",
            "object": kind,
            "created": CREATED,
            "model": self.request["model"],
        }

    async def _whole(self) -> None:
        pieces, finish = self._pieces()
        said: list[str] = []
        try:
            async for piece in self._tokens(pieces):
                said.append(piece)
        except Cut:
            await self._broken(b'{"id":"chatcmpl-cut", "choices":')
            raise
        message: dict[str, Any] = {"role": "assistant", "content": "".join(said)}
        if self._native:
            calls = [self._call("".join(said))]
            calls += [self._call(a, name, n) for n, (name, a) in enumerate(self.plan.more, 1)]
            message |= {"content": None, "tool_calls": calls}
        if self.plan.think:
            message["reasoning_content"] = self.plan.think
        answer = self._head("chat.completion") | {
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": self._usage(),
        }
        await send_json(self.send, 200, answer)

    async def _stream(self) -> None:
        await start(self.send, 200, EVENTS)
        pieces, finish = self._pieces()
        for piece in tokens(self.plan.think):
            await self._chunk({"reasoning_content": piece})
        if self._native:
            opening = {"index": 0} | self._call("")
            await self._chunk({"role": "assistant", "content": None, "tool_calls": [opening]})
        else:
            await self._chunk({"role": "assistant", "content": ""})
        async for piece in self._tokens(pieces):
            if self._native:
                more = {"index": 0, "function": {"arguments": piece}}
                await self._chunk({"tool_calls": [more]})
            else:
                await self._chunk({"content": piece})
        if 0 <= self.plan.error <= len(pieces):
            self.seen.outcome = "error"
            await self._event(chat_error(500, "scripted error in mid-answer"))
        elif 0 <= self.plan.short <= len(pieces):
            self.seen.outcome = "short"
        else:
            for n, (name, given) in enumerate(self.plan.more if self._native else [], 1):
                await self._chunk({"tool_calls": [{"index": n} | self._call("", name, n)]})
                for piece in tokens(given):
                    more = {"index": n, "function": {"arguments": piece}}
                    await self._chunk({"tool_calls": [more]})
            await self._chunk({}, finish)
            options = self.request.get("stream_options")
            if isinstance(options, dict) and options.get("include_usage"):
                tail = {"choices": [], "usage": self._usage()}
                await self._event(self._head("chat.completion.chunk") | tail)
            await self._body(b"data: [DONE]\n\n")
        await self.send({"type": "http.response.body", "body": b""})

    async def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        await self._event(self._head("chat.completion.chunk") | {"choices": [choice]})

    async def _event(self, data: dict[str, Any]) -> None:
        await self._body(b"data: " + dumps(data) + b"\n\n")


def key_of(scope: dict[str, Any]) -> str:
    """The key of a request, however it is shown."""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].decode("latin-1"))
        if name == b"x-api-key":
            return str(value.decode("latin-1"))
    return ""


def chat_error(status: int, message: str) -> dict[str, Any]:
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    return {
        "error": {"message": message, "type": kind, "param": None, "code": f"scripted_{status}"}
    }


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        event = await receive()
        parts.append(event.get("body", b""))
        if not event.get("more_body"):
            return b"".join(parts)


async def start(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def send_json(send: Send, status: int, value: object) -> None:
    body = dumps(value)
    await start(send, status, [*JSON, (b"content-length", b"%d" % len(body))])
    await send({"type": "http.response.body", "body": body})
