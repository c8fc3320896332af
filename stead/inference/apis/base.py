"""What all translators share: reading a request with words for its faults, writing events."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stead.core.errors import BadRequest, SteadError
from stead.core.nouns import Usage
from stead.inference.apis import errors
from stead.inference.seam import Api
from stead.net.sse import Comment, Event, EventTooLarge, Parser

Json = dict[str, Any]

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

#: In place of a signature, on thinking of a model that signs nothing.
UNSIGNED = "stead-unsigned"
#: Under this name stands what a model wrote as arguments that are no JSON object. It is the
#: name that Anthropic's documentation gives to it.
BAD_JSON = "INVALID_JSON"

_ID = re.compile(r"[^a-zA-Z0-9_-]")


class Translation(ABC):
    """One call between two shapes; see :class:`~stead.inference.seam.Translator`.

    ``request`` first, then either ``whole`` or ``feed`` and ``end``.
    """

    client: Api
    backend: Api
    headers: tuple[tuple[str, str], ...] = ()
    """What the backend's API wants beside the key and the content type."""

    def __init__(self, now: int) -> None:
        self.now = now
        """Seconds since 1970, for answers that say when they were made."""
        self.usage: Usage | None = None
        """What the backend told, once it has."""
        self.failed = ""
        """What an error in the middle of its stream said."""

    @abstractmethod
    def request(self, body: bytes, model: str) -> bytes:
        """The request for the backend. Raises ``BadRequest`` with the field in ``param``."""

    @abstractmethod
    def whole(self, body: bytes) -> bytes:
        """An unstreamed answer for the client. Raises ``ValueError`` if it is none."""

    @abstractmethod
    def feed(self, piece: bytes) -> bytes:
        """What follows for the client. Raises ``ValueError`` where the stream makes no sense."""

    @abstractmethod
    def end(self) -> bytes:
        """The rest. Raises ``ValueError`` if the stream ended before the answer did."""

    def broken(self, error: SteadError) -> bytes:
        """The end of a stream that broke off or made no sense, as the client's API tells it."""
        return errors.event(self.client, error)

    def error(self, status: int, body: bytes) -> bytes:
        """An error answer of the backend in the client's shape."""
        return errors.translated(self.client, status, body)


def refuse(where: str, why: str) -> BadRequest:
    """The refusal of a field that cannot be translated, or is not what the API has there."""
    return BadRequest(why=f"`{where}`: {why}", param=where)


def load(body: bytes) -> Json:
    """A request body. Raises ``BadRequest``."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(why=f"the body is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadRequest(why="the body is not a JSON object")
    return value


def parsed(text: str | bytes) -> Any:
    """JSON of a backend. Raises ``ValueError``."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from None


def names(words: str) -> frozenset[str]:
    """A set of names, written as one line of words."""
    return frozenset(words.split())


def as_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise refuse(where, f"text is wanted, not {_kind(value)}")
    return value


def as_list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise refuse(where, f"a list is wanted, not {_kind(value)}")
    return value


def as_object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise refuse(where, f"an object is wanted, not {_kind(value)}")
    return value


def as_flag(value: Any, where: str) -> bool:
    """True or false; null is false."""
    if value is not None and not isinstance(value, bool):
        raise refuse(where, f"true or false is wanted, not {_kind(value)}")
    return bool(value)


def as_count(value: Any, where: str) -> int:
    """A whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise refuse(where, "a whole number of at least 1 is wanted")
    return value


def as_number(value: Any, where: str, least: float, most: float, who: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise refuse(where, f"a number is wanted, not {_kind(value)}")
    if not least <= value <= most:
        raise refuse(where, f"{who} takes {least:g} to {most:g}")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def pass_unknown(request: Json, known: frozenset[str], made: Json) -> None:
    """Fields that the client's API does not have go on as they are: the backend judges them.

    One that the translation has made itself is refused, lest one of the two be lost.
    """
    for name, value in request.items():
        if name in known:
            continue
        if name in made:
            raise refuse(name, "it collides with what the request is translated to")
        made[name] = value


def text_of(part: Json, where: str) -> str:
    return as_text(part.get("text"), f"{where}.text")


def arguments_of(text: str) -> Json | msgspec.Raw:
    """A tool call's arguments as an object, whatever the model wrote; its own bytes if they are."""
    if not text.strip():
        return {}
    try:
        value = parsed(text)
    except ValueError:
        value = None
    return msgspec.Raw(text.encode()) if isinstance(value, dict) else {BAD_JSON: text}


def arguments_text(value: Any) -> str:
    """The other way."""
    if isinstance(value, dict) and list(value) == [BAD_JSON]:
        written = value[BAD_JSON]
        if isinstance(written, str):
            return written
    return encode(value).decode()


def plain_id(text: str) -> str:
    """An id of a tool call with only the characters that Anthropic's API allows in one."""
    clean = _ID.sub("_", text)
    if clean == text and clean:
        return text
    return f"{clean[:40]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def other_id(prefix: str, backend_id: str | None, seed: bytes) -> str:
    """An id of the client's kind: of the backend's where it gave one, else of the answer."""
    known = _ID.sub("", backend_id or "")
    for begin in ("chatcmpl-", "chatcmpl", "msg_", "resp_"):
        known = known.removeprefix(begin)
    return prefix + (known or hashlib.sha256(seed).hexdigest()[:24])


def sse(name: str, data: Mapping[str, Any]) -> bytes:
    """An event with its name, as Anthropic and the Responses API send them."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(data))


def chunk(data: Mapping[str, Any]) -> bytes:
    """An event without a name, as chat streams have them."""
    return b"data: %b\n\n" % encode(data)


def comment(text: str) -> bytes:
    return b":%b\n\n" % (f" {text}" if text else "").encode()


def events(parser: Parser, piece: bytes) -> list[Event | Comment]:
    """What a piece of a stream completes. Raises ``ValueError`` for an event without end."""
    try:
        return parser.feed(piece)
    except EventTooLarge as error:
        raise ValueError(str(error)) from None


def last_event(parser: Parser, feed: Callable[[bytes], object]) -> None:
    """At the end of a stream: its last event may lack nothing but the empty line after it."""
    if parser.open:
        try:
            feed(b"\n\n")
        except ValueError:
            raise ValueError("its stream ended in the middle of an event") from None
