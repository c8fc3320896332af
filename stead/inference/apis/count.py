"""How many tokens a request to Anthropic's messages would have, where its model is another.

A server of llama.cpp can tell: :func:`request` is what ``/apply-template`` makes the whole prompt
of, and ``/tokenize`` counts that, so the answer is what a call would be counted at. Where it has no
template for such a request (pictures), :func:`text` is what to count, without what stands around
it; and of a server that tells nothing there is :func:`estimate`. Both are marked in the answer.
(API reference: tools/server/README.md of llama.cpp.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stead.inference.apis import base, blocks, messages_request
from stead.inference.apis.base import Json

#: A picture, as large as Anthropic's models take one; others differ.
_IMAGE = 1600
#: What stands around a message and around a tool in most prompt formats.
_AROUND = 4
_ASCII_PER_TOKEN = 4.0
#: Other scripts cost more a character.
_OTHER_PER_TOKEN = 1.5


def answer(tokens: int, by: str = "") -> bytes:
    """The answer of ``/v1/messages/count_tokens``. ``by``: what an estimate rests on; empty: it was
    counted."""
    mark = {"stead": {"estimated": True, "by": by}} if by else {}
    return base.encode({"input_tokens": tokens, **mark})


def estimate(body: bytes) -> int:
    """By rule of thumb. Raises ``BadRequest`` where the request could not be translated."""
    texts, around = _content(body)
    ascii_count = other = 0
    for text in texts:
        plain = len(text.encode("ascii", "ignore"))
        ascii_count += plain
        other += len(text) - plain
    return max(1, round(ascii_count / _ASCII_PER_TOKEN + other / _OTHER_PER_TOKEN) + around)


def request(body: bytes, model: str) -> bytes:
    """The chat request for ``/apply-template``, as it would be sent. Raises ``BadRequest``."""
    made = messages_request.to_chat({**base.load(body), "max_tokens": 1}, model)
    return base.encode({**made, "stream": False})


def prompt(body: bytes) -> str:
    """The prompt out of the answer of ``/apply-template``. Raises ``ValueError``."""
    found = base.parsed(body)
    text = found.get("prompt") if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise ValueError("the answer holds no prompt")
    return text


def text(body: bytes) -> tuple[str, int]:
    """All text of the request, and the tokens to add for what is none. Raises ``BadRequest``."""
    texts, around = _content(body)
    return "\n".join(texts), around


def question(text: str, model: str) -> bytes:
    """The body for ``/tokenize``."""
    return base.encode(
        {"model": model, "content": text, "add_special": True, "parse_special": True}
    )


def told(body: bytes) -> int:
    """The count out of the answer of ``/tokenize``. Raises ``ValueError``."""
    found = base.parsed(body)
    tokens = found.get("tokens") if isinstance(found, dict) else None
    if not isinstance(tokens, list):
        raise ValueError("the answer holds no list of tokens")
    return len(tokens)


def _content(body: bytes) -> tuple[list[str], int]:
    """All text of the request, and about the tokens of what is none."""
    made = messages_request.to_chat({**base.load(body), "max_tokens": 1}, "")
    texts: list[str] = []
    around = 0
    for message in made["messages"]:
        around += _AROUND
        for part, _ in blocks.of(message.get("content") or "", ""):
            if part.get("type") == "text":
                texts.append(part["text"])
            else:
                around += _IMAGE
        texts.extend(_calls(message))
    for tool in made.get("tools", []):
        around += _AROUND
        texts.append(base.encode(tool["function"]).decode())
    return texts, around


def _calls(message: Json) -> Iterator[str]:
    call: Any
    for call in message.get("tool_calls", []):
        yield call["function"]["name"]
        yield call["function"]["arguments"]
