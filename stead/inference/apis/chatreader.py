"""Reads the answers of chat/completions, of any server that speaks it more or less.

The stream is told to a :class:`Sink` as one thing after the other: a tool call is told to its
end before the next one begins, even where a server mixes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from stead.core.nouns import Usage
from stead.inference.apis import base, usage
from stead.inference.apis.base import Json
from stead.net.sse import Comment, Parser


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None

    def text(self) -> str:
        given = self.arguments
        if isinstance(given, dict):  # some servers give the object itself
            return base.encode(given).decode()
        return given or ""


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct):
    """A message, or a piece of one."""

    content: str | list[Json] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    thinking_blocks: list[Json] | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            texts = (part.get("text") for part in self.content if part.get("type") == "text")
            return "".join(text for text in texts if isinstance(text, str))
        return self.content or ""

    def thought(self) -> str:
        """Its thinking; servers differ in what they call it."""
        if self.reasoning_content:
            return self.reasoning_content
        return self.reasoning if isinstance(self.reasoning, str) else ""


class _Choice(msgspec.Struct):
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    """Of vLLM: the stop sequence that was met."""


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created: float | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Chunk)


@dataclass(slots=True)
class Head:
    """What an answer says of itself."""

    id: str | None
    model: str
    created: int
    seed: bytes
    """Something of this answer alone, to make an id of."""


@dataclass(slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class Finish:
    """How an answer ended."""

    reason: str
    stop_sequence: str | None
    tokens: Usage | None


@dataclass(slots=True)
class Answer:
    """A whole answer."""

    head: Head
    text: str
    refusal: str
    thought: str
    thinking_blocks: list[Json]
    calls: list[ToolCall]
    finish: Finish


class Sink(Protocol):
    """Takes a stream apart."""

    def begin(self, head: Head) -> None: ...

    def text(self, piece: str) -> None: ...

    def refusal(self, piece: str) -> None: ...

    def thought(self, piece: str) -> None: ...

    def thinking_blocks(self, given: list[Json]) -> None: ...

    def call(self, call_id: str, name: str) -> None:
        """A tool call begins."""
        ...

    def arguments(self, piece: str) -> None:
        """Of the call that began last."""
        ...

    def comment(self, text: str) -> None: ...

    def finish(self, finish: Finish) -> None: ...

    def error(self, message: str, code: str) -> None:
        """The backend told an error in its stream; nothing comes after it."""
        ...


def whole(body: bytes, model: str) -> Answer:
    """An unstreamed answer. Raises ``ValueError``; an error inside a 200 is one."""
    chunk = _decoded(body)
    if chunk.error:
        raise ValueError(_error_text(chunk.error)[0])
    if not chunk.choices or chunk.choices[0].message is None:
        raise ValueError("the answer holds no message")
    choice = chunk.choices[0]
    said = choice.message
    assert said is not None
    calls = [
        ToolCall(
            call.id or f"call_{n}",
            (call.function.name if call.function else None) or "",
            call.function.text() if call.function else "",
        )
        for n, call in enumerate(said.tool_calls or [])
    ]
    if said.function_call is not None:
        calls.append(ToolCall("call_0", said.function_call.name or "", said.function_call.text()))
    return Answer(
        head=_head(chunk, model, body),
        text=said.text(),
        refusal=said.refusal or "",
        thought=said.thought(),
        thinking_blocks=said.thinking_blocks or [],
        calls=calls,
        finish=_finish(
            choice.finish_reason or "stop", choice.stop_reason, bool(calls), chunk.usage
        ),
    )


class Reader:
    """A chat stream. ``model``: what it is called where the server does not say."""

    def __init__(self, sink: Sink, model: str) -> None:
        self.ended = False
        self._sink = sink
        self._model = model
        self._parser = Parser()
        self._begun = False
        self._reason = ""
        self._stopped_by: str | int | None = None
        self._usage: Any = None
        self._calls = _Calls(sink)
        self._later: list[tuple[Callable[[str], None], str]] = []
        """Words that came in the middle of a tool call."""

    def feed(self, piece: bytes) -> None:
        """Raises ``ValueError`` where it makes no sense."""
        for event in base.events(self._parser, piece):
            if self.ended:
                return
            if isinstance(event, Comment):
                self._sink.comment(event.text)
            elif event.data.strip() == "[DONE]":
                self._end()
            elif event.data.strip():
                self._take(event.data)

    def end(self) -> None:
        """Raises ``ValueError`` if it ended before the answer did."""
        if self.ended:
            return
        base.last_event(self._parser, self.feed)
        if not self.ended:
            if not self._reason:
                raise ValueError("its stream ended before the answer did")
            self._end()

    def _take(self, data: str) -> None:
        raw = data.encode()
        chunk = _decoded(raw)
        if chunk.error:
            self.ended = True
            self._sink.error(*_error_text(chunk.error))
            return
        if not self._begun:
            self._begun = True
            self._sink.begin(_head(chunk, self._model, raw))
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices or []:
            said = choice.delta or choice.message
            if said is not None:
                self._said(said)
            if choice.finish_reason:
                self._reason = choice.finish_reason
                self._stopped_by = choice.stop_reason
            break  # one answer was asked for

    def _said(self, said: _Said) -> None:
        sink = self._sink
        for tell, piece in (
            (sink.thought, said.thought()),
            (sink.text, said.text()),
            (sink.refusal, said.refusal or ""),
        ):
            if piece:
                self._later.append((tell, piece))
        if said.thinking_blocks:
            sink.thinking_blocks(said.thinking_blocks)
        if self._later and not self._calls.under_way:
            self._tell_later()
        for call in said.tool_calls or []:
            function = call.function or _Function()
            self._calls.take(call.index, call.id, function.name, function.text())
        if said.function_call is not None:
            self._calls.take(0, None, said.function_call.name, said.function_call.text())

    def _tell_later(self) -> None:
        self._calls.flush()
        for tell, piece in self._later:
            tell(piece)
        self._later.clear()

    def _end(self) -> None:
        self.ended = True
        if not self._begun:
            raise ValueError("its stream ended before the answer began")
        self._tell_later()
        self._sink.finish(
            _finish(self._reason or "stop", self._stopped_by, self._calls.any, self._usage)
        )


@dataclass(slots=True)
class _Held:
    id: str
    name: str
    said: list[str] = field(default_factory=list)
    told: bool = False
    """Whether the sink was told that it begins."""
    closed: bool = False
    """Whether the sink was told of something else since."""

    @property
    def whole(self) -> bool:
        """Whether its arguments are an object, so that nothing more is to come."""
        text = "".join(self.said).strip()
        if not (text.startswith("{") and text.endswith("}")):
            return False
        try:
            base.parsed(text)
        except ValueError:
            return False
        return True


class _Calls:
    """Puts tool calls one after the other. The next begins when the last is whole JSON."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._all: list[_Held] = []
        self._by_index: dict[int, _Held] = {}
        self._first = 0
        """The one that the sink is being told of."""

    @property
    def any(self) -> bool:
        return bool(self._all)

    @property
    def under_way(self) -> bool:
        """Whether a call has begun whose arguments are not complete."""
        return any(not held.closed and not held.whole for held in self._all[self._first :])

    def take(self, index: int | None, call_id: str | None, name: str | None, text: str) -> None:
        held = self._find(index, call_id, name)
        if held.closed:
            if text.strip():
                raise ValueError("its stream goes on with a tool call that was complete")
            return
        if text:
            held.said.append(text)
        if self._all[self._first].closed:
            self._first += 1
        if held is self._all[self._first]:
            self._tell(held, text)
        self._advance()

    def _find(self, index: int | None, call_id: str | None, name: str | None) -> _Held:
        """The call that a piece belongs to; servers differ in how they say it."""
        held = self._by_index.get(index) if index is not None else None
        if index is None and self._all:
            same = (held for held in self._all if call_id and held.id == call_id)
            held = next(same, None) if call_id else self._all[-1]
        if held is not None and call_id and name and held.id != call_id:
            held = None  # another one, though the index says the same
        if held is None:
            held = _Held(call_id or f"call_{len(self._all)}", name or "")
            self._all.append(held)
            if index is not None:
                self._by_index[index] = held
        elif not held.told:
            held.name = held.name or name or ""
            held.id = call_id or held.id
        return held

    def _tell(self, held: _Held, text: str) -> None:
        if not held.told:
            if not held.name:
                return  # its name is still to come
            held.told = True
            self._sink.call(held.id, held.name)
            text = "".join(held.said)
        if text:
            self._sink.arguments(text)

    def _advance(self) -> None:
        """Go on to the calls that wait, as far as those before them are whole."""
        while self._first + 1 < len(self._all) and self._all[self._first].whole:
            self._next()

    def _next(self) -> None:
        done = self._all[self._first]
        done.name = done.name or "unnamed"
        self._tell(done, "")
        done.closed = True
        self._first += 1
        held = self._all[self._first]
        self._tell(held, "")

    def flush(self) -> None:
        """Something else comes: what waits is as whole as it gets."""
        while self._first + 1 < len(self._all):
            self._next()
        if self._all and not self._all[self._first].closed:
            last = self._all[self._first]
            last.name = last.name or "unnamed"
            self._tell(last, "")
            last.closed = True


def _decoded(body: bytes) -> _Chunk:
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"that is no chat completion ({error})") from None


def _head(chunk: _Chunk, model: str, seed: bytes) -> Head:
    created = chunk.created or 0
    return Head(chunk.id, chunk.model or model, int(created) if 0 < created < 1e15 else 0, seed)


def _finish(reason: str, stopped_by: str | int | None, calls: bool, told: Any) -> Finish:
    if calls and reason in ("stop", "function_call"):  # some servers do not tell them apart
        reason = "tool_calls"
    met = stopped_by if isinstance(stopped_by, str) and reason == "stop" else None
    return Finish(reason, met, usage.of_chat(told))


def _error_text(error: Any) -> tuple[str, str]:
    if isinstance(error, dict):
        code = error.get("code") or error.get("type") or ""
        return str(error.get("message") or "it gave no reason"), str(code)
    return str(error), ""
