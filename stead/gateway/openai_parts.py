"""The content of a chat message in OpenAI's shape: its text, and the files in it.

Parts as the API reference has them (chat completions): ``text``, ``image_url``, ``input_audio``,
``file``; and ``input_text``, ``input_image`` and ``input_file`` of the Responses API, which some
clients send here too. What lies elsewhere is never fetched: an address could point at anything that
the gateway's machine reaches, and asking for it tells that it was read.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from stead.core.errors import BadRequest

_TEXTS = ("text", "input_text", "output_text")
_DATA = re.compile(r"data:(?P<type>[^;,]*)(?P<more>(?:;[^;,]*)*),(?P<data>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Given:
    """A file in a message: its bytes, or the id of one that was handed in before."""

    param: str
    name: str = ""
    data: bytes = b""
    ident: str = ""


def content_of(message: dict[str, Any], index: int, *, last: bool) -> tuple[str, list[Given]]:
    """Text and files of a message. Raises ``BadRequest``. Only of the ``last`` one the files are
    read: those before it were handed in with their own requests."""
    where = f"messages[{index}]"
    if not isinstance(message.get("role"), str):
        raise BadRequest("A message needs a role.", param=f"{where}.role")
    content = message.get("content")
    if isinstance(content, str):
        return content, []
    if content is None:
        return "", []
    if not isinstance(content, list):
        raise BadRequest(
            f"content must be text or a list of parts, not {type(content).__name__}.",
            param=f"{where}.content",
        )
    texts: list[str] = []
    files: list[Given] = []
    for place, part in enumerate(content):
        at = f"{where}.content[{place}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXTS:
            texts.append(_text(part.get("text"), f"{at}.text"))
        elif kind in _KINDS:
            if last:
                files.append(_KINDS[kind](part, at))
        else:
            shown = kind if isinstance(part, dict) else type(part).__name__
            known = ", ".join(["text", *(one for one in _KINDS if not one.startswith("input_i"))])
            raise BadRequest(f"The agent reads no part {shown!r}; it reads {known}.", param=at)
    return "\n".join(texts), files


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise BadRequest("This needs to be text.", param=at)
    return value


def _picture(part: dict[str, Any], at: str) -> Given:
    found = part.get("image_url")
    if found is None and part.get("file_id"):
        return Given(f"{at}.file_id", ident=_text(part["file_id"], f"{at}.file_id"))
    at = f"{at}.image_url"
    if isinstance(found, dict):
        found, at = found.get("url"), f"{at}.url"
    return Given(at, data=_data(_text(found, at), at))


def _sound(part: dict[str, Any], at: str) -> Given:
    at = f"{at}.input_audio"
    found = part.get("input_audio")
    if not isinstance(found, dict):
        raise BadRequest("input_audio holds data and format.", param=at)
    kind = found.get("format")
    name = f"sound.{kind}" if isinstance(kind, str) and kind.isalnum() else ""
    return Given(at, name, _base64(_text(found.get("data"), f"{at}.data"), f"{at}.data"))


def _file(part: dict[str, Any], at: str) -> Given:
    found = part.get("file", part)
    if not isinstance(found, dict):
        raise BadRequest("file holds file_data or file_id.", param=f"{at}.file")
    at = f"{at}.file" if "file" in part else at
    if found.get("file_id") is not None:
        return Given(f"{at}.file_id", ident=_text(found["file_id"], f"{at}.file_id"))
    name = _text(found.get("filename") or "", f"{at}.filename")
    if found.get("file_url") is not None:
        raise _elsewhere(f"{at}.file_url")
    data = _text(found.get("file_data"), f"{at}.file_data")
    at = f"{at}.file_data"
    return Given(at, name, _data(data, at) if data.startswith("data:") else _base64(data, at))


_KINDS = {
    "image_url": _picture, "input_image": _picture, "input_audio": _sound, "file": _file,
    "input_file": _file,
}  # fmt: skip


def _data(url: str, at: str) -> bytes:
    """What a ``data:`` address holds (RFC 2397)."""
    found = _DATA.fullmatch(url)
    if found is None:
        raise _elsewhere(at)
    if found["more"].lower().endswith(";base64"):
        return _base64(found["data"], at)
    return unquote_to_bytes(found["data"])


def _base64(text: str, at: str) -> bytes:
    try:
        bare = "".join(text.split()) if any(char.isspace() for char in text[:200]) else text
        return base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"That is not base64: {error}.", param=at) from error


def _elsewhere(at: str) -> BadRequest:
    return BadRequest(
        "stead fetches nothing by an address it is sent: send the content itself (data:...;base64,"
        "...), or hand the file in at /api/v1/files and name its id as file_id.",
        param=at,
    )
