"""Reads answers as they pass: what they used, and whether they are whole.

One class a shape of stream. Nothing is changed but one thing: the chunk with the usage alone,
which is held back from a client that has not asked for it. Only whole events are handed on, so
that an error can be told after any of them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from stead.core.nouns import Usage
from stead.inference.seam import Api

_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)|(?<=\r\r)")
_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_ERROR = re.compile(
    rb'(?:^|[\r\n])data:\s*\{\s*"error"\s*:\s*[{"]|(?:^|[\r\n])event:\s*error[\r\n]'
)
_ERROR_DATA = re.compile(rb'data:\s*\{\s*(?:"error"\s*:\s*[{"]|"type"\s*:\s*"error")')
_ERROR_EVENT = re.compile(rb"(?:^|[\r\n])event:\s*error[\r\n]")
#: An event that does not end within this many bytes is passed on in parts.
_HOLD = 1024 * 1024
#: A larger answer is not read whole to find its usage: it stands near one of its ends.
_LARGE = 256 * 1024
_NEAR = 4096


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    thinking_tokens: int | None = None
    """Anthropic's word for it."""


_NONE = _Details()


class UsageJson(msgspec.Struct):
    """The ``usage`` object of an answer, in the words of OpenAI's shapes and of Anthropic's."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def usage(self) -> Usage:
        """Prompt tokens count the cached ones in, whoever told them."""
        if (  # which is how most tell it
            self.prompt_tokens_details is None and self.completion_tokens_details is None
            and self.input_tokens is None and self.output_tokens is None
            and self.input_tokens_details is None and self.output_tokens_details is None
            and self.cache_read_input_tokens is None and self.cache_creation_input_tokens is None
        ):  # fmt: skip
            return Usage(self.prompt_tokens or 0, 0, self.completion_tokens or 0)
        details = self.prompt_tokens_details or self.input_tokens_details or _NONE
        out = self.completion_tokens_details or self.output_tokens_details or _NONE
        cached, written = details.cached_tokens or 0, details.cache_write_tokens or 0
        prompt = self.prompt_tokens or self.input_tokens or 0
        if self.cache_read_input_tokens is not None or self.cache_creation_input_tokens is not None:
            cached = self.cache_read_input_tokens or 0
            written = self.cache_creation_input_tokens or 0
            prompt += cached + written
        return Usage(
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=self.completion_tokens or self.output_tokens or 0,
            cache_write_tokens=written,
            reasoning_tokens=out.reasoning_tokens or out.thinking_tokens or 0,
        )


class _Inner(msgspec.Struct):
    usage: UsageJson | None = None


class _Answer(msgspec.Struct):
    """An answer, or an event of one, of any shape."""

    usage: UsageJson | None = None
    choices: list[msgspec.Raw] | None = None
    error: msgspec.Raw = msgspec.Raw()
    response: _Inner | None = None
    message: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Answer)
_INNER = msgspec.json.Decoder(_Inner)
_PLAIN = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_USAGE_JSON = msgspec.json.Decoder(UsageJson)
_USAGE_AT = re.compile(rb'"usage"\s*:\s*(\{)')


class NoAnswer(Exception):
    """A body with status 200 that is none: the words say why."""


class ErrorWithin(NoAnswer):
    """An error in place of the answer, though the status said 200."""


def whole(body: bytes) -> Usage | None:
    """The usage in an unstreamed JSON answer; None if it tells none.

    Raises ``NoAnswer`` for what is no JSON object, ``ErrorWithin`` for an error.
    """
    if len(body) > _LARGE:
        return _large(body)
    try:
        answer = _DECODER.decode(body)
    except msgspec.ValidationError:
        return _odd(body)
    except _BAD as error:
        raise NoAnswer(f"what it answered is no JSON object ({error})") from None
    if not answer.choices and bytes(answer.error) not in (b"", b"null"):
        raise ErrorWithin("it answered 200 with an error inside")
    return answer.usage.usage() if answer.usage is not None else None


def _odd(body: bytes) -> Usage | None:
    """An answer with fields of other types than ours: fine, if it is an object at all."""
    try:
        _PLAIN.decode(body)
    except _BAD:
        raise NoAnswer("what it answered is no JSON object") from None
    return None


def _large(body: bytes) -> Usage | None:
    if not body[:_NEAR].lstrip().startswith(b"{") or not body[-_NEAR:].rstrip().endswith(b"}"):
        raise NoAnswer("what it answered is no JSON object")
    for part in (body[-_NEAR:], body[:_NEAR]):
        found = _USAGE_AT.search(part)
        if found is not None:
            end = part.find(b"}", found.start(1))
            for _ in range(4):  # it may hold objects itself
                try:
                    return _USAGE_JSON.decode(part[found.start(1) : end + 1]).usage()
                except _BAD:
                    end = part.find(b"}", end + 1)
    return None


class Tail:
    """Watches a stream of no known shape: bytes, which end when they end."""

    __slots__ = ("done", "events", "failed", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.done = False
        """Whether the end of the answer went by."""
        self.events = 0
        """Chunks so far: about the tokens written."""
        self.failed = False
        """Whether it ended in an error of the backend; known when it is over."""

    @property
    def whole(self) -> bool:
        """Whether what went by can be a whole answer, or says itself that it is none."""
        return True

    def feed(self, piece: bytes) -> bytes:
        """Take what came; return what may go on to the client."""
        return piece

    def end(self) -> bytes:
        """The stream is over in good order: what was held back of an event without its end."""
        return b""


class EventTail(Tail):
    """Watches an event stream. ``strip``: hold back the chunk that holds nothing but the usage."""

    __slots__ = ("_before", "_held", "_last", "_strip")
    #: Bytes without which an event cannot tell the usage, or that it is the last one.
    usage_mark: re.Pattern[bytes] = re.compile(rb'"usage"\s*:\s*\{')
    finish_mark: re.Pattern[bytes] = re.compile(rb'"finish_reason"\s*:\s*"')
    last_mark = b"[DONE]"

    def __init__(self, *, strip: bool = False) -> None:
        super().__init__()
        self._strip = strip
        self._held = b""
        self._last = b""
        self._before = b""

    @property
    def whole(self) -> bool:
        if self.done:
            return True
        end = self._before + self._last
        return bool(self.finish_mark.search(end) or _ERROR.search(end))

    def feed(self, piece: bytes) -> bytes:
        if self._held:
            piece = self._held + piece
            self._held = b""
        if not piece.endswith(_ENDS):
            cut = _last_end(piece)
            if cut == 0 and len(piece) < _HOLD:
                self._held = piece
                return b""
            cut = cut or len(piece)
            piece, self._held = piece[:cut], piece[cut:]
        if b'"usage"' in piece and self.usage_mark.search(piece):
            piece = self._read_usage(piece)
        if piece:
            self.events += piece.count(b"data:")
            self._before, self._last = self._last, piece
            if self.last_mark in piece[-400:] and self._is_last(piece):
                self.done = True
        return piece

    def end(self) -> bytes:
        held, self._held = self._held, b""
        if held:
            self._before, self._last = self._last, held
            self.done = self.done or self._is_last(held)
        self.failed = self._told_error(self._before + self._last)
        return held

    def _told_error(self, end: bytes) -> bool:
        return _ERROR.search(end) is not None

    def _is_last(self, piece: bytes) -> bool:
        return piece.rstrip(b"\r\n").endswith(b"[DONE]")

    def _read_usage(self, piece: bytes) -> bytes:
        kept = []
        for event in _EVENT_END.split(piece):
            if self.usage_mark.search(event) and self._take(event) and self._strip:
                continue
            kept.append(event)
        return b"".join(kept)

    def _take(self, event: bytes) -> bool:
        """Read the usage of an event; whether it holds nothing else."""
        answer = _decoded(event)
        if answer is None or answer.usage is None:
            return False
        self.usage = answer.usage.usage()
        return bool(answer.choices == [])


class ResponsesTail(EventTail):
    """``/v1/responses``: the last event is ``response.completed``, ``.incomplete``, ``.failed``."""

    __slots__ = ()
    finish_mark = re.compile(rb'"response\.(?:completed|incomplete|failed)"')
    last_mark = b"\n"
    _over = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"')

    def feed(self, piece: bytes) -> bytes:
        out = super().feed(piece)
        if not self.done and b'"response.' in out and self._over.search(out):
            self.done = True
        return out

    def _is_last(self, piece: bytes) -> bool:
        return bool(self._over.search(piece))

    def _told_error(self, end: bytes) -> bool:
        return b'"response.failed"' in end or super()._told_error(end)

    def _take(self, event: bytes) -> bool:
        answer = _decoded(event)
        if answer is not None:
            told = answer.response.usage if answer.response else answer.usage
            if told is not None:
                self.usage = told.usage()
        return False


class MessagesTail(EventTail):
    """Anthropic's: the prompt's tokens come first, those of the answer with ``message_delta``."""

    __slots__ = ("_told",)
    finish_mark = re.compile(rb'"message_stop"')
    last_mark = b"message_stop"

    def __init__(self) -> None:
        super().__init__()
        self._told = UsageJson()

    def _is_last(self, piece: bytes) -> bool:
        return b'"message_stop"' in piece[-400:]

    def _take(self, event: bytes) -> bool:
        answer = _decoded(event)
        if answer is None:
            return False
        told = answer.usage
        if told is None and bytes(answer.message):
            try:
                told = _INNER.decode(answer.message).usage
            except _BAD:
                told = None
        if told is not None:
            for name in _ANTHROPIC:
                value = getattr(told, name)
                if value is not None:
                    setattr(self._told, name, value)
            self.usage = self._told.usage()
        return False


class TranscriptTail(EventTail):
    """``/v1/audio/transcriptions``, streamed: ``transcript.text.done`` is the last event."""

    __slots__ = ()
    finish_mark = re.compile(rb'"transcript\.text\.done"')
    last_mark = b"transcript.text.done"

    def _is_last(self, piece: bytes) -> bool:
        return b"transcript.text.done" in piece


_ANTHROPIC = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "output_tokens_details",
)  # fmt: skip


def tail_of(api: Api, *, strip: bool) -> EventTail:
    """Who watches an event stream of that shape."""
    if api is Api.RESPONSES:
        return ResponsesTail()
    if api is Api.MESSAGES:
        return MessagesTail()
    if api is Api.TRANSCRIPTIONS:
        return TranscriptTail()
    return EventTail(strip=strip)


def first_error(piece: bytes) -> bytes | None:
    """The JSON of the error that a stream begins with; None if it begins otherwise."""
    at = piece.find(b"data:")
    if at < 0 or not (_ERROR_DATA.match(piece, at) or _ERROR_EVENT.search(piece, 0, at)):
        return None
    start = at + 5
    ends = [end for end in (piece.find(mark, start) for mark in (b"\n", b"\r")) if end >= 0]
    return piece[start : min(ends, default=len(piece))].strip()


def _decoded(event: bytes) -> Any:
    start = event.find(b"data:")
    if start < 0:
        return None
    try:
        return _DECODER.decode(event[start + 5 :])
    except _BAD:
        return None


def _last_end(piece: bytes) -> int:
    """Where the last whole event ends; 0 if none does."""
    places = ((piece.rfind(end), len(end)) for end in _ENDS)
    return max((at + length for at, length in places if at >= 0), default=0)
