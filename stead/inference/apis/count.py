"""How many tokens a request to Anthropic's messages would have, where its model is another.

With a server that can tell (llama.cpp's ``/tokenize``): :func:`question` is what to ask it and
:func:`told` what it says. Without: :func:`estimate`. Both are marked as estimated in the answer,
since what a server puts around the text is known to it alone.
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


def answer(tokens: int) -> bytes:
    """The answer of ``/v1/messages/count_tokens``, marked as an estimate."""
    return base.encode({"input_tokens": tokens, "stead": {"estimated": True}})


def estimate(body: bytes) -> int:
    """By rule of thumb. Raises ``BadRequest`` where the request could not be translated."""
    texts, around = _content(body)
    ascii_count = other = 0
    for text in texts:
        plain = len(text.encode("ascii", "ignore"))
        ascii_count += plain
        other += len(text) - plain
    return max(1, round(ascii_count / _ASCII_PER_TOKEN + other / _OTHER_PER_TOKEN) + around)


def question(body: bytes) -> tuple[bytes, int]:
    """The body for ``POST /tokenize``, and the tokens to add to what it says."""
    texts, around = _content(body)
    return base.encode({"content": "\n".join(texts), "add_special": True}), around


def told(body: bytes, around: int) -> int:
    """The count out of the answer of ``/tokenize``. Raises ``ValueError``."""
    found = base.parsed(body)
    tokens = found.get("tokens") if isinstance(found, dict) else None
    if not isinstance(tokens, list):
        raise ValueError("the answer holds no list of tokens")
    return len(tokens) + around


def _content(body: bytes) -> tuple[list[str], int]:
    """All text of the request, and about the tokens of what is none."""
    request = base.load(body)
    made = messages_request.to_chat({**request, "max_tokens": 1}, "")
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
