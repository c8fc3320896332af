"""A kept request made ready to be asked again of another model, and its answer in words."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stead.core.errors import BadRequest
from stead.inference.audit.words import words

__all__ = ["Prepared", "prepare", "words"]

_FORM_MODEL = re.compile(
    rb'(content-disposition:[^\r\n]*\bname="model"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)[^\r\n]*', re.I
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as it is to be sent to the door."""

    path: str
    body: bytes
    type: str
    model: str
    warnings: tuple[str, ...] = field(default=())


def prepare(kept: dict[str, Any], model: str) -> Prepared:
    """``kept``: as ``/api/v1/calls/ID/bodies`` has it. Raises ``BadRequest`` where that cannot be
    asked again."""
    request = kept["request"]
    if request["cut"]:
        raise BadRequest(
            f"Only the beginning of that request was kept ({request['size']} bytes are more than "
            "audit.max_kb), so it cannot be asked again."
        )
    warnings = []
    if request["redacted"]:
        warnings.append("Parts of the request are blacked out, so it is asked again without them.")
    type_ = str(request["type"])
    coded = request.get("base64")
    body = request["text"].encode() if coded is None else base64.b64decode(coded)
    if type_.lower().startswith("multipart/"):
        body, many = _FORM_MODEL.subn(lambda m: m[1] + model.encode(), body, count=1)
        if not many:
            raise BadRequest("That form names no model, so no other can be put in its place.")
    else:
        body = _json(body, model)
    return Prepared(f"/v1/{kept['api']}", body, type_ or "application/json", model, tuple(warnings))


def _json(body: bytes, model: str) -> bytes:
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(
            f"That request was no JSON object, so no model is named: {error}"
        ) from error
    return msgspec.json.encode({**fields, "model": model})
