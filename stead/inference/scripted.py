"""The scripted model: a server of models that is deterministic and needs no network.

It speaks OpenAI's chat/completions and Anthropic's messages.

For tests, demos and benchmarks. What it does is said by directives in the last
message of the owner (the last one with role ``user`` that is not a tool result;
a user message that begins with ``[result of `` is one). Everything else in the
messages is ignored, so directives in a file that a tool has read do nothing; nor do those in
what the agent recalls from memory.

=========================  =====================================================
``[[say TEXT]]``           answer TEXT (several: one line each)
``[[raw TEXT]]``           answer TEXT even where the answer should be shaped by a
                           schema (to try what becomes of a misshapen answer)
``[[tool NAME {json}]]``   call a tool; several: one after the other, as results
                           come in, and then the ``say``. Arguments default to
                           ``{}``; what is not JSON is handed on as it stands
``[[together]]``           call all the tools at once
``[[think TEXT]]``         think TEXT before the answer
``[[images]]``             answer what pictures there are in the request
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

``think``, ``slow``, ``first``, ``fail``, ``stall``, ``cut``, ``error``, ``short``,
``garbage`` and ``cached`` hold from their place on: written behind two tools
they are for the calls made once two results are in. Without a directive the
answer is ``This is the scripted model. You said: ...`` with the first 60
characters of the message's first line.

With ``response_format`` of type ``json_schema`` the answer is ``{"reply": "..."}`` or
``{"tool": "...", "args": {...}}``; else, where ``tools`` is given, tool calls
are native; else the tool directives are passed over. A token is a word with the
white space before it; a prompt token is four characters.

Paths, with or without ``/v1`` before them: ``POST /chat/completions``, ``POST /messages``,
``POST /messages/count_tokens``, ``POST /embeddings`` (numbers without a meaning), ``GET
/models``, ``GET /health`` (no key), ``GET /calls`` (what was asked, in order, with a SHA-256 of
each request and what became of it: ``answered``, ``failed 500``, ``left``, ...), ``DELETE
/calls`` (forget them, and how often what has failed).

``python -m stead.inference.scripted --port 8080 --key K`` runs it by hand.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

import uvicorn

from stead.inference import scripted_messages
from stead.inference.directives import Plan, asked, mode_of, plan, text_of, without_recall
from stead.inference.scripted_answer import (
    CREATED,
    Answer,
    ChatAnswer,
    Cut,
    Gone,
    Left,
    Receive,
    Seen,
    Send,
    chat_error,
    key_of,
    read_body,
    send_json,
)

MODEL = "scripted"
#: So many request bodies are kept.
_BODIES = 16
_DIMENSIONS = 8


class Scripted:
    """The ASGI application. ``key``: the bearer key asked for; empty: none."""

    def __init__(self, key: str = "") -> None:
        self.calls: list[Seen] = []
        self.bodies: deque[bytes] = deque(maxlen=_BODIES)
        """The last requests to models, as they came."""
        self._key = key
        self._failed: Counter[str] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = "/" + str(scope["path"]).removeprefix("/v1").strip("/")
        method = scope["method"]
        if path == "/health":
            await send_json(send, 200, {"status": "ok"})
            return
        key = key_of(scope)
        told = scripted_messages.error if path.startswith("/messages") else chat_error
        if self._key and not hmac.compare_digest(key.encode(), self._key.encode()):
            await send_json(send, 401, told(401, "that key is wrong"))
        elif (method, path) == ("POST", "/chat/completions"):
            await self._answer(await read_body(receive), key, receive, send)
        elif method == "POST" and path in ("/messages", "/messages/count_tokens"):
            body = await read_body(receive)
            await self._messages(scope, body, key, path, receive, send)
        elif (method, path) == ("POST", "/embeddings"):
            await _embed(await read_body(receive), send)
        elif (method, path) == ("GET", "/models"):
            entry = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "stead"}
            await send_json(send, 200, {"object": "list", "data": [entry]})
        elif (method, path) == ("GET", "/calls"):
            await send_json(send, 200, [asdict(seen) for seen in self.calls])
        elif (method, path) == ("DELETE", "/calls"):
            self.calls.clear()
            self._failed.clear()
            await send_json(send, 200, {"ok": True})
        else:
            await send_json(send, 404, told(404, f"there is no {method} {scope['path']}"))

    async def _messages(
        self,
        scope: dict[str, Any],
        body: bytes,
        key: str,
        path: str,
        receive: Receive,
        send: Send,
    ) -> None:
        """Anthropic's API, which is stricter."""
        try:
            request = json.loads(body)
            messages = scripted_messages.checked(request, scope["headers"], path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await send_json(send, 400, scripted_messages.error(400, str(error)))
            return
        if request.get("thread"):
            await send_json(send, 400, scripted_messages.NO_THREADS)
            return
        if path == "/messages":
            await self._answer(body, key, receive, send, messages)
        else:
            self.bodies.append(body)
            await send_json(send, 200, {"input_tokens": scripted_messages.prompt(messages)})

    async def _answer(
        self,
        body: bytes,
        key: str,
        receive: Receive,
        send: Send,
        messages: list[dict[str, Any]] | None = None,
    ) -> None:
        """``messages``: those of a request to Anthropic's API, as a chat request has them."""
        kind: type[Answer] = ChatAnswer if messages is None else scripted_messages.MessagesAnswer
        told = chat_error if messages is None else scripted_messages.error
        try:
            request = json.loads(body)
            messages = messages or [dict(message) for message in request["messages"]]
            model = str(request["model"])
        except (ValueError, KeyError, TypeError) as error:
            await send_json(send, 400, chat_error(400, f"not a chat request: {error!r}"))
            return
        self.bodies.append(body)
        what = asked(messages)
        made = plan(what)
        mode = mode_of(request) if kind is ChatAnswer else scripted_messages.mode_of(request)
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
            last=without_recall(text_of(last.get("content")))[:500],
            key=hashlib.sha256(key.encode()).hexdigest()[:12],
        )
        self.calls.append(seen)
        answer = kind(request, messages, made, mode, seen, send, Gone(receive))
        try:
            if self._fails(made, what.owner):
                seen.outcome = f"failed {made.fail}"
                await answer.wait(made.first_ms)
                await send_json(send, made.fail, told(made.fail, f"scripted failure {made.fail}"))
                return
            await answer.give()
            if seen.outcome == "open":
                seen.outcome = "answered"
        except Left:
            seen.outcome = "left"
        except Cut:
            seen.outcome = "cut"
        finally:
            answer.gone.close()

    def _fails(self, made: Plan, owner: str) -> bool:
        if not made.fail:
            return False
        self._failed[owner] += 1
        return made.fail_times == 0 or self._failed[owner] <= made.fail_times


async def _embed(body: bytes, send: Send) -> None:
    """Numbers that are always the same for a text, and mean nothing."""
    try:
        request = json.loads(body)
        given = request["input"]
        texts = [given] if isinstance(given, str) else [str(text) for text in given]
        model = str(request["model"])
    except (ValueError, KeyError, TypeError) as error:
        await send_json(send, 400, chat_error(400, f"no embeddings request: {error!r}"))
        return
    data = []
    for index, text in enumerate(texts):
        numbers = [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:_DIMENSIONS]]
        packed = struct.pack(f"<{_DIMENSIONS}f", *numbers)
        wants = request.get("encoding_format") == "base64"
        shown: Any = base64.b64encode(packed).decode() if wants else numbers
        data.append({"object": "embedding", "index": index, "embedding": shown})
    used = sum(len(text) // 4 + 1 for text in texts)
    usage = {"prompt_tokens": used, "total_tokens": used}
    await send_json(send, 200, {"object": "list", "data": data, "model": model, "usage": usage})


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
