"""Reads an answer as it passes: its usage, and whether it is whole. Changes nothing but one thing.

That thing is the chunk with the usage alone, which is held back from a client
that has not asked for it.
"""

from __future__ import annotations

import re

import msgspec

from stead.core.nouns import Usage

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_ERROR = re.compile(rb'(?:^|\n)data:\s*\{\s*"error"')
_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)|(?<=\r\r)")
_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
#: An event that does not end within this many bytes is passed on in parts.
_HOLD = 1024 * 1024


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class UsageJson(msgspec.Struct):
    """The ``usage`` object of an answer."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None

    def usage(self) -> Usage:
        details = self.prompt_tokens_details
        return Usage(
            prompt_tokens=self.prompt_tokens or 0,
            cached_tokens=(details.cached_tokens if details else None) or 0,
            completion_tokens=self.completion_tokens or 0,
        )


class _Answer(msgspec.Struct):
    usage: UsageJson | None = None
    choices: list[msgspec.Raw] | None = None


_DECODER = msgspec.json.Decoder(_Answer)


def is_object(body: bytes) -> bool:
    """Whether that is a JSON object at all; what stands in it is the client's business."""
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def usage_of(body: bytes) -> Usage | None:
    """The usage in an unstreamed answer; None if it tells none."""
    try:
        answer = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return answer.usage.usage() if answer.usage else None


class StreamTail:
    """Watches an event stream go by.

    Only whole events are handed on, so that an error can be told after any of
    them. ``strip``: hold back the chunk that holds nothing but the usage.
    """

    __slots__ = ("_before", "_held", "_last", "_strip", "done", "events", "usage")

    def __init__(self, *, strip: bool) -> None:
        self.usage: Usage | None = None
        self.done = False
        """Whether ``[DONE]`` went by."""
        self.events = 0
        """Chunks so far: about the tokens written."""
        self._strip = strip
        self._held = b""
        self._last = b""
        self._before = b""

    @property
    def whole(self) -> bool:
        """Whether what went by can be a whole answer, or says itself that it is none."""
        if self.done:
            return True
        end = self._before + self._last
        return bool(_FINISH.search(end) or _ERROR.search(end))

    def feed(self, piece: bytes) -> bytes:
        """Take what came; return what may go on to the client."""
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
        if _USAGE.search(piece):
            piece = self._read_usage(piece)
        if piece:
            self.events += piece.count(b"data:")
            self._before, self._last = self._last, piece
            if piece.rstrip(b"\r\n").endswith(b"[DONE]"):
                self.done = True
        return piece

    def end(self) -> bytes:
        """The stream is over in good order: what was held back of an event without its end."""
        held, self._held = self._held, b""
        if held:
            self._before, self._last = self._last, held
            self.done = self.done or held.rstrip(b"\r\n").endswith(b"[DONE]")
        return held

    def _read_usage(self, piece: bytes) -> bytes:
        kept = []
        for event in _EVENT_END.split(piece):
            if _USAGE.search(event) and self._is_usage_only(event) and self._strip:
                continue
            kept.append(event)
        return b"".join(kept)

    def _is_usage_only(self, event: bytes) -> bool:
        start = event.find(b"data:")
        if start < 0:
            return False
        try:
            answer = _DECODER.decode(event[start + 5 :])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if answer.usage is None:
            return False
        self.usage = answer.usage.usage()
        return answer.choices == []


def _last_end(piece: bytes) -> int:
    """Where the last whole event ends; 0 if none does."""
    places = ((piece.rfind(end), len(end)) for end in _ENDS)
    return max((at + length for at, length in places if at >= 0), default=0)
