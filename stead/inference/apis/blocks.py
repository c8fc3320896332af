"""Pieces of content: text, pictures and files, in Anthropic's shape and in the chat shape."""

from __future__ import annotations

import re
from typing import Any

from stead.core.errors import BadRequest
from stead.inference.apis import base
from stead.inference.apis.base import Json, as_list, as_object, as_text, refuse

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w=.+-]+)*?)(;base64)?,", re.IGNORECASE)
_PDF = "application/pdf"


def of(content: Any, where: str) -> list[tuple[Json, str]]:
    """The blocks of a content, each with its place. A text alone is one block."""
    if isinstance(content, str):
        return [({"type": "text", "text": content}, where)]
    places = enumerate(as_list(content, where))
    return [(as_object(block, f"{where}[{n}]"), f"{where}[{n}]") for n, block in places]


def unknown(block: Json, where: str) -> BadRequest:
    """A block that cannot stand where it does, or that only its own API knows."""
    return refuse(f"{where}.type", f"{block.get('type')!r} has no counterpart there")


def simplest(parts: list[Json]) -> str | list[Json]:
    """Text alone as text: every server understands that. Else the list of parts."""
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


# --- Anthropic to chat ---------------------------------------------------------------


def to_chat(block: Json, where: str) -> list[Json]:
    """The parts of a chat message for a block of a user's message or a tool's result."""
    kind = block.get("type")
    if kind == "text":
        return [{"type": "text", "text": base.text_of(block, where)}]
    if kind == "image":
        return [{"type": "image_url", "image_url": {"url": _image_url(block, where)}}]
    if kind == "document":
        return _document(block, where)
    if kind == "search_result":
        _no_citations(block, where)
        head = f"{block.get('title') or ''} ({block.get('source') or ''})"
        inner = of(block.get("content"), f"{where}.content")
        texts = [base.text_of(part, place) for part, place in inner]
        return [{"type": "text", "text": "\n".join([head, *texts])}]
    raise unknown(block, where)


def _image_url(block: Json, where: str) -> str:
    source = as_object(block.get("source"), f"{where}.source")
    kind = source.get("type")
    if kind == "base64":
        media = as_text(source.get("media_type"), f"{where}.source.media_type")
        return f"data:{media};base64,{as_text(source.get('data'), f'{where}.source.data')}"
    if kind == "url":
        return as_text(source.get("url"), f"{where}.source.url")
    raise refuse(f"{where}.source.type", "only base64 and url can be handed on")


def _document(block: Json, where: str) -> list[Json]:
    _no_citations(block, where)
    source = as_object(block.get("source"), f"{where}.source")
    kind = source.get("type")
    title = block.get("title") or ""
    if kind == "base64":
        media = as_text(source.get("media_type"), f"{where}.source.media_type")
        data = as_text(source.get("data"), f"{where}.source.data")
        name = title or ("document.pdf" if media == _PDF else "document")
        file = {"filename": name, "file_data": f"data:{media};base64,{data}"}
        made: list[Json] = [{"type": "file", "file": file}]
    elif kind == "text":
        made = [{"type": "text", "text": as_text(source.get("data"), f"{where}.source.data")}]
    elif kind == "content":
        inner = of(source.get("content"), f"{where}.source.content")
        made = [part for piece, place in inner for part in to_chat(piece, place)]
    else:
        raise refuse(f"{where}.source.type", "only base64, text and content can be handed on")
    heads = [str(block[name]) for name in ("title", "context") if block.get(name)]
    if heads and (kind != "base64" or block.get("context")):
        made.insert(0, {"type": "text", "text": "\n".join(heads)})
    return made


def _no_citations(block: Json, where: str) -> None:
    citations = block.get("citations")
    if isinstance(citations, dict) and citations.get("enabled"):
        raise refuse(f"{where}.citations", "only Anthropic's models can cite")


# --- chat to Anthropic ---------------------------------------------------------------


def to_messages(part: Json, where: str) -> list[Json]:
    """The blocks of an Anthropic message for a part of a user's or tool's chat message."""
    kind = part.get("type")
    if kind == "text":
        return text_block(part, where)
    if kind == "image_url":
        return [_kept(part, {"type": "image", "source": _source(part, where)})]
    if kind == "file":
        return [_kept(part, _file(part, where))]
    if kind == "input_audio":
        raise refuse(f"{where}.type", "Claude does not hear: send a transcription")
    raise unknown(part, where)


def text_block(part: Json, where: str) -> list[Json]:
    """A text block; none where there is nothing in it, which Anthropic's API refuses."""
    text = base.text_of(part, where)
    return [_kept(part, {"type": "text", "text": text})] if text.strip() else []


def _kept(part: Json, made: Json) -> Json:
    """With the mark for Anthropic's cache, which clients may set in chat requests as well."""
    if part.get("cache_control") is not None:
        made["cache_control"] = part["cache_control"]
    return made


def _source(part: Json, where: str) -> Json:
    image = part.get("image_url")
    if isinstance(image, dict):
        url = as_text(image.get("url"), f"{where}.image_url.url")
    else:
        url = as_text(image, f"{where}.image_url")
    if url[:5].lower() != "data:":
        return {"type": "url", "url": url}
    media, data = data_url(url, f"{where}.image_url.url")
    return {"type": "base64", "media_type": media, "data": data}


def data_url(url: str, where: str) -> tuple[str, str]:
    """Media type and base64 text of a ``data:`` address."""
    match = _DATA.match(url)
    if match is None or not match.group(3):
        raise refuse(where, "a data: address must be base64")
    return match.group(1) or "application/octet-stream", url[match.end() :]


def _file(part: Json, where: str) -> Json:
    file = as_object(part.get("file"), f"{where}.file")
    if not file.get("file_data"):
        raise refuse(f"{where}.file", "a file that was uploaded elsewhere: send its file_data")
    given = as_text(file["file_data"], f"{where}.file.file_data")
    media, data = _PDF, given
    if given[:5].lower() == "data:":
        media, data = data_url(given, f"{where}.file.file_data")
    if media != _PDF:
        raise refuse(f"{where}.file.file_data", f"Claude reads PDF files, not {media}")
    made: Json = {"type": "document"}
    made["source"] = {"type": "base64", "media_type": media, "data": data}
    if file.get("filename"):
        made["title"] = as_text(file["filename"], f"{where}.file.filename")
    return made
