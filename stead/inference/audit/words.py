"""What an answer says, in words for people: of any shape the door answers in, streamed or not.

Shapes: OpenAI's chat, completions, responses, embeddings and transcriptions, Anthropic's
messages. What is none of these is shown as it is, or told by its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_MOST = 200_000


def words(body: bytes, type_: str = "") -> str:
    """The text of an answer; tool calls as ``[name(arguments)]``."""
    if type_.startswith("text/event-stream") or body.lstrip().startswith((b"data:", b"event:")):
        return "".join(_streamed(body))[:_MOST]
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _raw(body)
    if not isinstance(answer, dict):
        return _raw(body)
    return _told(answer)[:_MOST] or _raw(body)


def _raw(body: bytes) -> str:
    try:
        return body.decode()[:_MOST]
    except UnicodeDecodeError:
        return f"[{len(body)} bytes that are no text]"


def _told(answer: dict[str, Any]) -> str:
    """An answer that came whole."""
    if isinstance(error := answer.get("error"), dict):
        return f"[error: {error.get('message') or error}]"
    if isinstance(choices := answer.get("choices"), list):
        return "\n---\n".join(_choice(one) for one in choices if isinstance(one, dict))
    if isinstance(parts := answer.get("content"), list):  # Anthropic's
        return "".join(_part(one) for one in parts if isinstance(one, dict))
    if isinstance(items := answer.get("output"), list):  # of /v1/responses
        return "".join(_item(one) for one in items if isinstance(one, dict))
    if isinstance(rows := answer.get("data"), list):
        first = rows[0].get("embedding") if rows and isinstance(rows[0], dict) else None
        size = f" of {len(first)} numbers" if isinstance(first, list) else ""
        return f"[{len(rows)} embeddings{size}]" if first is not None else ""
    return answer["text"] if isinstance(answer.get("text"), str) else ""


def _choice(choice: dict[str, Any]) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        return _text(choice.get("text"))
    return _text(message.get("content")) + _calls(message.get("tool_calls"))


def _calls(calls: Any) -> str:
    told = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            told.append(f"[{function.get('name')}({function.get('arguments')})]")
    return "".join(told)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(_part(one) for one in content if isinstance(one, dict))
    return content if isinstance(content, str) else ""


def _part(part: dict[str, Any]) -> str:
    if part.get("type") == "tool_use":
        return f"[{part.get('name')}({msgspec.json.encode(part.get('input')).decode()})]"
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _item(item: dict[str, Any]) -> str:
    if item.get("type") == "function_call":
        return f"[{item.get('name')}({item.get('arguments')})]"
    return _text(item.get("content"))


def _streamed(body: bytes) -> Iterator[str]:
    """What the events of a stream say, one after the other."""
    for line in body.splitlines():
        if not line.startswith(b"data:"):
            continue
        try:
            event = msgspec.json.decode(line[5:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(event, dict):
            yield _event(event)


def _event(event: dict[str, Any]) -> str:
    if isinstance(error := event.get("error"), dict):
        return f"[error: {error.get('message') or error}]"
    kind = event.get("type")
    delta = event.get("delta")
    if kind == "response.output_text.delta":
        return _text(delta)
    if kind == "response.output_item.done":
        item = event.get("item")
        called = isinstance(item, dict) and item.get("type") == "function_call"
        return _item(item) if called and isinstance(item, dict) else ""
    if kind == "content_block_start":  # Anthropic's: its arguments follow as deltas
        block = event.get("content_block")
        used = isinstance(block, dict) and block.get("type") == "tool_use"
        return f"[{block.get('name')}] " if used and isinstance(block, dict) else ""
    if kind == "content_block_delta" and isinstance(delta, dict):
        return _text(delta.get("text")) or _text(delta.get("partial_json"))
    return "".join(_deltas(event.get("choices")))


def _deltas(choices: Any) -> Iterator[str]:
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            yield _text(choice.get("text"))
            continue
        yield _text(delta.get("content"))
        for call in delta.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                name = function.get("name")
                yield (f"[{name}] " if name else "") + _text(function.get("arguments"))
