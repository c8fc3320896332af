"""The model door as an agent sees it: over HTTP, or within the gateway's own process.

Both read the same bytes, so an agent cannot tell the one from the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from stead.core.errors import BackendFailed, GatewayAway
from stead.core.nouns import Usage
from stead.core.ports import Caller, ModelChunk, ModelRequest, ToolCall
from stead.core.states import Failure
from stead.inference import faults
from stead.inference.plane.tails import UsageJson
from stead.net.http import Client, HttpFailed, TimedOut
from stead.net.sse import Comment, EventTooLarge, Parser

if TYPE_CHECKING:  # a node has no door of its own, and does without all that is behind it
    from stead.inference.door import Door, DoorAnswer

PATH = "/v1/chat/completions"
_NOTE = "stead "
_COST = "stead-cost "
_DOOR = "behind the model door"


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _CallPart(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallPart] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: UsageJson | None = None
    error: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Chunk)


def body_of(request: ModelRequest) -> bytes:
    """The request as JSON for ``/v1/chat/completions``, always streamed and telling its usage."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.tools:
        body["tools"] = request.tools
    if request.schema is not None:
        schema = {"name": "answer", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return msgspec.json.encode(body)


class HttpModelClient:
    """A model client for a node. ``client`` points at the gateway, ``key`` is the job's.

    ``silence_s``: the longest silence. The door speaks up every 15 s, whatever
    the model does, so a longer one is a connection that leads nowhere.
    """

    def __init__(self, client: Client, key: str, *, silence_s: float = 60.0) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._silence_s = silence_s

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """See :class:`~stead.core.ports.ModelClient`."""
        body = body_of(request)
        try:
            streamed = await self._client.stream(
                "POST", PATH, body=body, headers=self._headers, timeout=self._silence_s
            )
        except TimedOut as error:
            raise faults.unreachable(_DOOR, error) from None
        except HttpFailed as error:
            raise GatewayAway(url=self._client.server, why=str(error)) from None
        async with streamed:
            kind = streamed.headers.get("content-type", "")
            try:
                async for chunk in _read(streamed.status, kind, streamed):
                    yield chunk
            except TimedOut as error:
                raise faults.unreachable(_DOOR, error) from None
            except HttpFailed as error:
                # Not the backend's fault (the door says so itself): the gateway is gone.
                raise GatewayAway(url=self._client.server, why=str(error)) from None


class DoorModelClient:
    """A model client within the gateway's process."""

    def __init__(self, door: Door, caller: Caller) -> None:
        self._door = door
        self._caller = caller

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """See :class:`~stead.core.ports.ModelClient`."""
        answer: DoorAnswer = await self._door.chat(body_of(request), self._caller)
        async with aclosing(answer):
            kind = dict(answer.headers).get("content-type", "")
            async for chunk in _read(answer.status, kind, answer.body):
                yield chunk


async def _read(status: int, kind: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[ModelChunk]:
    """An answer of the door as chunks; raises where it is not a whole one."""
    reader = _Reader()
    try:
        if status != 200 or not kind.startswith("text/event-stream"):
            body = b"".join([piece async for piece in pieces])
            if status != 200:
                raise faults.refusal(status, body)
            for chunk in reader.take(body):
                yield chunk
            yield reader.last()
            return
        parser = Parser()
        async for piece in pieces:
            for found in parser.feed(piece):
                if isinstance(found, Comment):
                    if found.text.startswith(_NOTE):
                        yield ModelChunk(note=found.text.removeprefix(_NOTE))
                    elif found.text.startswith(_COST):
                        reader.cost(found.text.removeprefix(_COST))
                elif found.data == "[DONE]":
                    reader.done = True
                else:
                    for chunk in reader.take(found.data.encode()):
                        yield chunk
    except HttpFailed:
        if not reader.done:
            raise
    except EventTooLarge as error:
        raise faults.not_whole(_DOOR, str(error)) from None
    yield reader.last()


class _Reader:
    """Puts the pieces of one answer together."""

    def __init__(self) -> None:
        self.done = False
        """Whether ``[DONE]`` came."""
        self._finish = ""
        self._usage: Usage | None = None
        self._cost = 0
        self._calls: dict[int, tuple[str, str, list[str]]] = {}

    def take(self, data: bytes) -> list[ModelChunk]:
        """One event, or a whole unstreamed answer."""
        try:
            chunk = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            failed = faults.not_whole(_DOOR, f"it sent what is no answer ({error})")
            failed.failure = Failure.UNAVAILABLE
            raise failed from None
        if bytes(chunk.error) not in (b"", b"null"):
            raise faults.refusal(_status(data), data)
        if chunk.usage is not None:
            self._usage = chunk.usage.usage()
        out = []
        for choice in chunk.choices or ():
            if choice.index != 0:
                continue
            delta = choice.delta or choice.message
            if delta is not None:
                text = delta.content or delta.refusal
                if text:
                    out.append(ModelChunk(text=text))
                for part in delta.tool_calls or ():
                    self._part(part)
            self._finish = choice.finish_reason or self._finish
        return out

    def cost(self, text: str) -> None:
        if text.isdigit():
            self._cost = int(text)

    def last(self) -> ModelChunk:
        """The last chunk; raises if the answer has no end."""
        if not self._finish:
            raise faults.not_whole(_DOOR, "no finish reason came")
        calls = tuple(
            ToolCall(call_id or f"call_{index}", name, "".join(arguments) or "{}")
            for index, (call_id, name, arguments) in sorted(self._calls.items())
        )
        finish = "tool_calls" if calls and self._finish == "stop" else self._finish
        usage = self._usage
        if usage is not None:
            usage = replace(usage, cost_micro=self._cost)
        return ModelChunk(calls=calls, finish=finish, usage=usage)

    def _part(self, part: _CallPart) -> None:
        """A piece of a tool call. Some servers give no index: an id then begins a new one."""
        index = part.index
        if index is None:
            last = max(self._calls, default=-1)
            new = last < 0 or (part.id is not None and part.id != self._calls[last][0])
            index = last + 1 if new else last
        call_id, name, arguments = self._calls.get(index, ("", "", []))
        function = part.function or _Function()
        given = function.arguments
        if given is not None:
            arguments.append(
                given if isinstance(given, str) else msgspec.json.encode(given).decode()
            )
        self._calls[index] = (part.id or call_id, function.name or name, arguments)


def _status(data: bytes) -> int:
    """The status that an error told within a stream would have had."""
    _, code, kind, _ = faults.read_error(data)
    known = {"rate_limit_exceeded": 429, "over_budget": 429, "backend_auth": 502}
    if code in known:
        return known[code]
    return 400 if kind == "invalid_request_error" else BackendFailed.status
