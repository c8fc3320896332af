"""The scripted model: an OpenAI-compatible server that is deterministic and needs no network.

For tests, demos and benchmarks. What it does is said by directives in the last
message of the owner (the last one with role ``user`` that is not a tool result;
a user message that begins with ``[result of `` is one). Everything else in the
messages is ignored, so directives in a file that a tool has read do nothing.

=========================  =====================================================
``[[say TEXT]]``           answer TEXT (several: one line each)
``[[raw TEXT]]``           answer TEXT even where the answer should be shaped by a
                           schema (to try what becomes of a misshapen answer)
``[[tool NAME {json}]]``   call a tool; several: one after the other, as results
                           come in, and then the ``say``. Arguments default to
                           ``{}``; what is not JSON is handed on as it stands
``[[tokens N]]``           answer N words of filler (where there is no ``say``)
``[[first MS]]``           wait before the answer begins
``[[slow MS]]``            wait before each token
``[[fail STATUS]]``        fail with this HTTP status
``[[fail STATUS times N]]``  fail the first N times that this message is asked
``[[stall]]``              say nothing at all until the caller leaves
``[[stall N]]``            fall silent after N tokens
``[[cut N]]``              break the connection after N tokens (0: after the head)
``[[error N]]``            end a stream after N tokens with an error event
``[[short N]]``            end a stream in good order after N tokens, but with no
                           finish reason and no ``[DONE]``
``[[garbage]]``            answer 200 with what is no JSON
``[[cached N]]``           report N prompt tokens as read from cache
=========================  =====================================================

``slow``, ``first``, ``fail``, ``stall``, ``cut``, ``error``, ``short``,
``garbage`` and ``cached`` hold from their place on: written behind two tools
they are for the calls made once two results are in. Without a directive the
answer is ``This is the scripted model. You said: ...`` with the first 60
characters of the message's first line.

With ``response_format`` of type ``json_schema`` the answer is ``{"reply": "..."}`` or
``{"tool": "...", "args": {...}}``; else, where ``tools`` is given, tool calls
are native; else the tool directives are passed over. A token is a word with the
white space before it; a prompt token is four characters.

Paths, with or without ``/v1`` before them: ``POST /chat/completions``, ``GET
/models``, ``GET /health`` (no key), ``GET /calls`` (what was asked, in order, with a
SHA-256 of each request and what became of it: ``answered``, ``failed 500``,
``left``, ...), ``DELETE /calls`` (forget them, and how often what has failed).

``python -m stead.inference.scripted --port 8080 --key K`` runs it by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

import uvicorn

from stead.inference.directives import Plan, asked, count, mode_of, plan, shaped, text_of, tokens

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MODEL = "scripted"
_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
_CREATED = 1_700_000_000


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


class _Cut(Exception):
    """The connection is to be broken here."""


class Scripted:
    """The ASGI application. ``key``: the bearer key asked for; empty: none."""

    def __init__(self, key: str = "") -> None:
        self.calls: list[Seen] = []
        self._key = key
        self._failed: Counter[str] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = "/" + str(scope["path"]).removeprefix("/v1").strip("/")
        method = scope["method"]
        if path == "/health":
            await _json(send, 200, {"status": "ok"})
            return
        key = _bearer(scope)
        if self._key and not hmac.compare_digest(key.encode(), self._key.encode()):
            await _json(send, 401, _error(401, "that key is wrong"))
        elif (method, path) == ("POST", "/chat/completions"):
            await self._chat(await _body(receive), key, receive, send)
        elif (method, path) == ("GET", "/models"):
            entry = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": "stead"}
            await _json(send, 200, {"object": "list", "data": [entry]})
        elif (method, path) == ("GET", "/calls"):
            await _json(send, 200, [asdict(seen) for seen in self.calls])
        elif (method, path) == ("DELETE", "/calls"):
            self.calls.clear()
            self._failed.clear()
            await _json(send, 200, {"ok": True})
        else:
            await _json(send, 404, _error(404, f"there is no {method} {scope['path']}"))

    async def _chat(self, body: bytes, key: str, receive: Receive, send: Send) -> None:
        try:
            request = json.loads(body)
            messages = [dict(message) for message in request["messages"]]
            model = str(request["model"])
        except (ValueError, KeyError, TypeError) as error:
            await _json(send, 400, _error(400, f"not a chat request: {error!r}"))
            return
        what = asked(messages)
        made = plan(what)
        mode = mode_of(request)
        last = messages[-1] if messages else {}
        canonical = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        seen = Seen(
            n=len(self.calls) + 1,
            hash=hashlib.sha256(canonical.encode()).hexdigest(),
            model=model,
            stream=bool(request.get("stream")),
            mode=mode,
            messages=len(messages),
            owner=what.owner,
            last_role=str(last.get("role", "")),
            last=text_of(last.get("content"))[:500],
            key=hashlib.sha256(key.encode()).hexdigest()[:12],
        )
        self.calls.append(seen)
        answer = _Answer(request, messages, made, mode, seen, send, _Gone(receive))
        try:
            if self._fails(made, what.owner):
                seen.outcome = f"failed {made.fail}"
                await answer.wait(made.first_ms)
                await _json(send, made.fail, _error(made.fail, f"scripted failure {made.fail}"))
                return
            await answer.give()
            if seen.outcome == "open":
                seen.outcome = "answered"
        except Left:
            seen.outcome = "left"
        except _Cut:
            seen.outcome = "cut"
        finally:
            answer.gone.close()

    def _fails(self, made: Plan, owner: str) -> bool:
        if not made.fail:
            return False
        self._failed[owner] += 1
        return made.fail_times == 0 or self._failed[owner] <= made.fail_times


class _Gone:
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
class _Answer:
    """One answer on its way out."""

    request: dict[str, Any]
    messages: list[dict[str, Any]]
    plan: Plan
    mode: str
    seen: Seen
    send: Send
    gone: _Gone

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
            await _start(self.send, 200, _EVENTS if streamed else _JSON)
            await self.send({"type": "http.response.body", "body": body})
        elif streamed:
            await self._stream()
        else:
            await self._whole()

    # --- what is said ---

    @property
    def _native(self) -> bool:
        return self.mode == "native" and bool(self.plan.tool)

    def _pieces(self) -> tuple[list[str], str]:
        """The tokens of the answer and its finish reason."""
        made = self.plan
        if self._native:
            said = made.args
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
                raise _Cut
            if made.stall == n:
                await self.gone.wait(None)
            if piece is None or n in (made.error, made.short):
                return
            await self.wait(made.slow_ms)
            self.gone.check()
            self.seen.tokens += 1
            yield piece

    def _call(self, arguments: str) -> dict[str, Any]:
        call_id = "call_" + hashlib.sha256(f"{self.seen.hash}".encode()).hexdigest()[:16]
        function = {"name": self.plan.tool, "arguments": arguments}
        return {"id": call_id, "type": "function", "function": function}

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
            "created": _CREATED,
            "model": self.request["model"],
        }

    # --- how it leaves ---

    async def _whole(self) -> None:
        pieces, finish = self._pieces()
        said: list[str] = []
        try:
            async for piece in self._tokens(pieces):
                said.append(piece)
        except _Cut:
            await _start(self.send, 200, [*_JSON, (b"content-length", b"100000")])
            await self._body(b'{"id":"chatcmpl-cut", "choices":')
            raise
        message: dict[str, Any] = {"role": "assistant", "content": "".join(said)}
        if self._native:
            message |= {"content": None, "tool_calls": [self._call("".join(said))]}
        answer = self._head("chat.completion") | {
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": self._usage(),
        }
        await _json(self.send, 200, answer)

    async def _stream(self) -> None:
        await _start(self.send, 200, _EVENTS)
        pieces, finish = self._pieces()
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
            await self._event(_error(500, "scripted error in mid-answer"))
        elif 0 <= self.plan.short <= len(pieces):
            self.seen.outcome = "short"
        else:
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
        await self._body(b"data: " + _dumps(data) + b"\n\n")

    async def _body(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})


def _bearer(scope: dict[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].decode("latin-1"))
    return ""


def _error(status: int, message: str) -> dict[str, Any]:
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    return {
        "error": {"message": message, "type": kind, "param": None, "code": f"scripted_{status}"}
    }


def _dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        event = await receive()
        parts.append(event.get("body", b""))
        if not event.get("more_body"):
            return b"".join(parts)


async def _start(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _json(send: Send, status: int, value: object) -> None:
    body = _dumps(value)
    await _start(send, status, [*_JSON, (b"content-length", b"%d" % len(body))])
    await send({"type": "http.response.body", "body": body})


# --- running it --------------------------------------------------------------


class _Server(uvicorn.Server):
    """uvicorn, which says when it is up."""

    def __init__(self, app: Scripted, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="critical",  # a broken connection is our doing, not a fault
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not uvicorn's own, which raises the signal again once it has stopped:
        # whoever called serve() has an end of its own to make.
        self.should_exit = True


def serve(port: int, key: str, *, on_ready: Callable[[int], None]) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT. Port 0 takes a free one.

    ``on_ready`` is called with the port once calls are answered.
    """
    with socket.create_server(("127.0.0.1", port)) as listener:
        taken = int(listener.getsockname()[1])
        _Server(Scripted(key), lambda: on_ready(taken)).run([listener])


@dataclass(frozen=True, slots=True)
class Running:
    """A scripted model in a thread of this process. ``url`` ends in ``/v1``."""

    url: str
    key: str
    app: Scripted

    @property
    def calls(self) -> list[Seen]:
        return self.app.calls


@contextmanager
def running(key: str = "scripted-key", port: int = 0) -> Iterator[Running]:
    """Serve from a thread while the block runs; for tests and benchmarks."""
    app = Scripted(key)
    up = threading.Event()
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = _Server(app, up.set)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        if not up.wait(10):
            raise RuntimeError("the scripted model did not start within 10 s")
        try:
            yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", key, app)
        finally:
            server.should_exit = True
            thread.join(5)


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description="Serve the scripted model.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--key", default="", help="bearer key asked for; empty: none")
    given = parser.parse_args()
    began = time.monotonic()

    def ready(port: int) -> None:
        took = time.monotonic() - began
        sys.stdout.write(f"scripted model at http://127.0.0.1:{port}/v1, ready in {took:.2f} s\n")
        sys.stdout.flush()

    serve(given.port, given.key, on_ready=ready)


if __name__ == "__main__":
    main()
