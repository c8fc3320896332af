"""Requests, read once: what the door has to know of a body that it otherwise passes on as it came.

Bytes are never written anew where that can be helped: a model that has another name at its
backend is spliced in, and so is the wish to be told a stream's usage.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from stead.core.errors import BadRequest
from stead.inference.plane import form
from stead.inference.seam import Api, Asked

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FAULT = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`")
_DATA_URL = re.compile(rb'(?:;base64,|"data"\s*:\s*")[A-Za-z0-9+/=_-]+')
_NOTHING = frozenset({b"", b"null", b"[]", b"{}"})
#: Of a long text so much, from its beginning and its end, tells it from others.
_SAMPLE = 2048
_UNSAID = msgspec.Raw()
_EMPTY = frozenset({b'""', b"null", b"[]"})
_NO_HEADERS: Mapping[bytes, bytes] = {}
_ASKS_USAGE = b',"stream_options":{"include_usage":true}}'


class _Message(msgspec.Struct):
    """Of a message only the role is looked at; the rest is for the backend to judge."""

    role: str
    content: msgspec.Raw = msgspec.Raw()


class _Options(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    """What requests of all shapes have in common."""

    model: str | None = None
    stream: bool | None = None
    tools: msgspec.Raw = _UNSAID
    prompt_cache_key: str | None = None

    def most(self) -> int | None:
        return None

    def check(self) -> None:
        """Raises ``BadRequest`` where a field is missing without which nothing can be asked."""

    def tells(self) -> bool:
        """Whether the client asked to be told a stream's usage."""
        return False

    def beginning(self) -> list[Any]:
        """What all turns of a conversation have in common, to tell it from others."""
        return []


class _Named(msgspec.Struct):
    model: str


_NAME = msgspec.json.Decoder(_Named)


class _Chat(_Body):
    messages: list[_Message] | None = None
    stream_options: _Options | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None

    def most(self) -> int | None:
        most = self.max_completion_tokens or self.max_tokens
        return most * max(1, self.n or 1) if most is not None and most > 0 else None

    def check(self) -> None:
        if not self.messages:
            _need(self.messages, "messages")

    def tells(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    def beginning(self) -> list[Any]:
        begun: list[Any] = []
        for message in self.messages or ():
            begun.append(message.content)
            if message.role == "user":
                break
        return begun


class _Completions(_Body):
    prompt: msgspec.Raw = msgspec.Raw()
    stream_options: _Options | None = None
    max_tokens: int | None = None
    n: int | None = None

    def most(self) -> int | None:
        return self.max_tokens * max(1, self.n or 1) if (self.max_tokens or 0) > 0 else None  # type: ignore[operator]

    def check(self) -> None:
        _need(bytes(self.prompt), "prompt")

    def tells(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True


class _Responses(_Body):
    input: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    previous_response_id: str | None = None
    max_output_tokens: int | None = None

    def most(self) -> int | None:
        return self.max_output_tokens if (self.max_output_tokens or 0) > 0 else None

    def check(self) -> None:
        if not (bytes(self.prompt) or self.previous_response_id):
            _need(bytes(self.input), "input")

    def beginning(self) -> list[Any]:
        # Of a list the first entry would have to be read; its first bytes serve as well.
        return [self.instructions, bytes(self.input)[:256]]


class _Messages(_Body):
    messages: list[_Message] | None = None
    system: msgspec.Raw = msgspec.Raw()
    max_tokens: int | None = None

    def most(self) -> int | None:
        return self.max_tokens if (self.max_tokens or 0) > 0 else None

    def check(self) -> None:
        _need(self.messages, "messages")

    def beginning(self) -> list[Any]:
        first = self.messages[0].content if self.messages else b""
        return [self.system, first]


class _Input(_Body):
    """Embeddings and speech."""

    input: msgspec.Raw = msgspec.Raw()

    def check(self) -> None:
        _need(bytes(self.input), "input")


class _Rerank(_Body):
    query: msgspec.Raw = msgspec.Raw()
    documents: msgspec.Raw = msgspec.Raw()

    def check(self) -> None:
        _need(bytes(self.query), "query")
        _need(bytes(self.documents), "documents")


_DECODERS: dict[Api, msgspec.json.Decoder[Any]] = {
    Api.CHAT: msgspec.json.Decoder(_Chat),
    Api.RESPONSES: msgspec.json.Decoder(_Responses),
    Api.COMPLETIONS: msgspec.json.Decoder(_Completions),
    Api.EMBEDDINGS: msgspec.json.Decoder(_Input),
    Api.SPEECH: msgspec.json.Decoder(_Input),
    Api.RERANK: msgspec.json.Decoder(_Rerank),
    Api.OCR: msgspec.json.Decoder(_Body),
    Api.TRANSCRIPTIONS: msgspec.json.Decoder(_Body),
    Api.ACTIVITY: msgspec.json.Decoder(_Body),
    Api.MESSAGES: msgspec.json.Decoder(_Messages),
    Api.COUNT_TOKENS: msgspec.json.Decoder(_Messages),
}
_NAMELESS = frozenset(
    {Api.EMBEDDINGS, Api.SPEECH, Api.TRANSCRIPTIONS, Api.OCR, Api.RERANK, Api.ACTIVITY}
)
#: Shapes whose streams tell their usage only when they are asked to.
_USAGE_ON_WISH = frozenset({Api.CHAT, Api.COMPLETIONS})


def read(
    api: Api,
    body: bytes,
    content_type: str = "application/json",
    headers: Mapping[bytes, bytes] | None = None,
    query: str = "",
) -> Asked:
    """A request as the door has to know it. Raises ``BadRequest`` with the fault's path."""
    if content_type[:19].lower() == "multipart/form-data":
        return _form(api, body, content_type, headers or {}, query)
    try:
        said = _DECODERS[api].decode(body)
    except msgspec.ValidationError as error:
        raise _fault(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(why=f"the body is not a JSON object ({error})") from None
    if not said.model and api not in _NAMELESS:
        raise BadRequest(why="`model` is missing or empty", param="model")
    said.check()
    images = b"image" in body and _has_images(body)
    return _Read(said, api, body, content_type, images, headers or _NO_HEADERS, query)


class _Read(Asked):
    """An :class:`Asked` whose session is worked out when it is asked for, which is not often."""

    __slots__ = ("_known", "said")

    said: _Body | None
    _known: str | None

    def __init__(
        self, said: _Body, api: Api, body: bytes, content_type: str, images: bool,
        headers: Mapping[bytes, bytes], query: str,
    ) -> None:  # fmt: skip
        self.api = api
        self.body = body
        self.content_type = content_type
        self.model = said.model or ""
        self.stream = stream = said.stream is True
        self.most_tokens = said.most()
        self.tools = said.tools is not _UNSAID and bytes(said.tools) not in _NOTHING
        self.images = images
        self.chars = len(body) if not images else len(_DATA_URL.sub(b"", body))
        self.headers = headers
        self.tells_usage = stream and said.tells()
        self.query = query
        self.said = said
        self._known = said.prompt_cache_key or None

    @property
    def session(self) -> str:
        if self._known is None:
            self._known = _session(self.said.beginning()) if self.said is not None else ""
        return self._known

    @session.setter
    def session(self, value: str) -> None:
        self._known, self.said = value or None, None


def _form(
    api: Api, body: bytes, content_type: str, headers: Mapping[bytes, bytes], query: str
) -> Asked:
    fields = form.fields(body, content_type)
    return Asked(
        api=api,
        body=body,
        content_type=content_type,
        model=fields.get("model", ""),
        stream=fields.get("stream", "").lower() in ("true", "1"),
        images=api is Api.OCR,
        headers=headers,
        query=query,
    )


def body_for(asked: Asked, body: bytes, model: str) -> bytes:
    """The body for a backend that calls the model ``model``: the very one that came, if it can be.

    A stream is made to tell its usage.
    """
    rename = bool(model) and model != asked.model
    wishes = asked.stream and asked.api in _USAGE_ON_WISH and not asked.tells_usage
    if not rename and not wishes:
        return body
    if asked.content_type[:19].lower() == "multipart/form-data":
        return form.renamed(body, asked.content_type, model) if rename else body
    if wishes and b"stream_options" in body:
        return _anew(asked, body, model, wishes=True)
    if rename:
        renamed = _spliced(asked, body, model)
        if renamed is None:
            return _anew(asked, body, model, wishes=wishes)
        body = renamed
    if wishes:
        body = body.rstrip(b" \t\r\n")[:-1] + _ASKS_USAGE
    return body


def _spliced(asked: Asked, body: bytes, model: str) -> bytes | None:
    """Another name for the model in place of the one there; None: its place is not certain."""
    if not asked.model:
        start = body.find(b"{") + 1
        rest = body[start:].lstrip(b" \t\r\n")
        comma = b"" if rest.startswith(b"}") else b","
        if b'"model"' in body:
            return None
        return body[:start] + b'"model":' + msgspec.json.encode(model) + comma + body[start:]
    named = re.escape(msgspec.json.encode(asked.model))
    places = list(re.finditer(rb'"model"(\s*:\s*)' + named, body))
    if len(places) != 1:
        return None
    at = places[0]
    out = body[: at.end(1)] + msgspec.json.encode(model) + body[at.end() :]
    # Where it is the first field it is certain; else it might be the field of something within.
    if body[: at.start()].strip(b" \t\r\n") != b"{" and _NAME.decode(out).model != model:
        return None
    return out


def _anew(asked: Asked, body: bytes, model: str, *, wishes: bool) -> bytes:
    """The body put together again of its fields; values that need no change keep their bytes."""
    fields: dict[str, Any] = dict(_FIELDS.decode(body))
    if model and model != asked.model:
        fields["model"] = msgspec.json.encode(model)
    if wishes:
        options = _options(fields.get("stream_options", b"null"))
        fields["stream_options"] = msgspec.json.encode(
            options | {"include_usage": msgspec.Raw(b"true")}
        )
    return b"{%b}" % b",".join(
        b"%b:%b" % (msgspec.json.encode(name), bytes(value)) for name, value in fields.items()
    )


def _options(raw: Any) -> dict[str, Any]:
    found = msgspec.json.decode(raw)
    return dict(_FIELDS.decode(raw)) if isinstance(found, dict) else {}


def _need(value: Any, name: str) -> None:
    if not value or (value.__class__ is bytes and value in _EMPTY):
        raise BadRequest(why=f"`{name}` is missing or empty", param=name)


def _has_images(body: bytes) -> bool:
    return (
        b'"image_url"' in body
        or b'"input_image"' in body
        or re.search(rb'"type"\s*:\s*"image"', body) is not None
    )


def _session(parts: list[Any]) -> str:
    """A short hash of the beginning of a conversation; empty where there is none."""
    if not parts:
        return ""
    crc = 0
    for part in parts:
        view = memoryview(part)
        if len(view) > 2 * _SAMPLE:
            crc = zlib.crc32(b"%d" % len(view), zlib.crc32(view[-_SAMPLE:], crc))
            view = view[:_SAMPLE]
        crc = zlib.crc32(view, crc)
    return f"{crc:08x}"


def _fault(error: msgspec.ValidationError) -> BadRequest:
    match = _FAULT.match(str(error))
    what, where = (match.group(1), match.group(2) or "") if match else (str(error), "")
    missing = _MISSING.match(what)
    if missing:
        where = f"{where}.{missing[1]}" if where else missing[1]
        what = f"`{missing[1]}` is missing"
    if not where:
        return BadRequest(why=f"the body is not a JSON object ({what})")
    return BadRequest(why=f"{what} at `{where}`", param=where)
