"""A chat request: read once, changed only where it must be, otherwise passed on as it came."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from stead.core.errors import BadRequest


class _Message(msgspec.Struct):
    """Of a message only the role is looked at; the rest is for the backend to judge."""

    role: str


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN: dict[str, msgspec.json.Decoder[Any]] = {
    "model": msgspec.json.Decoder(str),
    "messages": msgspec.json.Decoder(list[_Message]),
    "stream": msgspec.json.Decoder(bool | None),
    "stream_options": msgspec.json.Decoder(dict[str, msgspec.Raw] | None),
    "max_tokens": msgspec.json.Decoder(int | None),
    "max_completion_tokens": msgspec.json.Decoder(int | None),
    "n": msgspec.json.Decoder(int | None),
}
_FAULT = re.compile(r"(.*?)(?: - at `\$(.*)`)?\Z", re.DOTALL)


@dataclass(slots=True)
class ChatRequest:
    """``/v1/chat/completions`` as far as the door has to understand it."""

    body: bytes
    model: str
    stream: bool
    tells_usage: bool
    """Whether the client itself asked for the usage in the stream."""
    most_tokens: int | None
    """How long the answer may be, all choices together; None if that was not said."""
    _fields: dict[str, msgspec.Raw]
    _options: dict[str, msgspec.Raw]

    @classmethod
    def parse(cls, body: bytes) -> ChatRequest:
        """Raises ``BadRequest`` with the path of the fault in ``param``."""
        try:
            fields = _FIELDS.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(why=f"the body is not a JSON object ({error})") from None
        model = _read(fields, "model")
        if not model:
            raise BadRequest(why="`model` is missing or empty", param="model")
        if not _read(fields, "messages"):
            raise BadRequest(why="`messages` is missing or empty", param="messages")
        options = _read(fields, "stream_options") or {}
        stream = bool(_read(fields, "stream"))
        most = _read(fields, "max_completion_tokens") or _read(fields, "max_tokens")
        choices = _read(fields, "n") or 1
        return cls(
            body=body,
            model=model,
            stream=stream,
            tells_usage=bytes(options.get("include_usage", b"")) == b"true",
            most_tokens=most * max(1, choices) if most is not None and most > 0 else None,
            _fields=fields,
            _options=options,
        )

    def body_for(self, model: str) -> bytes:
        """The body for a backend that calls the model ``model``.

        A stream is made to tell its usage. Values that need no change keep
        their bytes; if nothing does, the body is the very one that came.
        """
        changed: dict[str, bytes] = {}
        if model != self.model:
            changed["model"] = msgspec.json.encode(model)
        if self.stream and not self.tells_usage:
            options = self._options | {"include_usage": msgspec.Raw(b"true")}
            changed["stream_options"] = msgspec.json.encode(options)
        if not changed:
            return self.body
        fields: dict[str, bytes | msgspec.Raw] = {**self._fields, **changed}
        return b"{%b}" % b",".join(
            b"%b:%b" % (msgspec.json.encode(name), bytes(value)) for name, value in fields.items()
        )


def _read(fields: dict[str, msgspec.Raw], name: str) -> Any:
    """The value of a field that we know, None if it is not there."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return _KNOWN[name].decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        match = _FAULT.match(str(error))
        what, where = (match.group(1), match.group(2) or "") if match else (str(error), "")
        raise BadRequest(why=f"{what} at `{name}{where}`", param=f"{name}{where}") from None
