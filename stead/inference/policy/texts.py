"""The texts in a request's body, each with its place, so that one can be changed and no other byte.

A body of JSON (RFC 8259) is walked token by token; of its strings those are texts that are values,
but for what is no text at all: pictures and sound in base64, signatures of a model's thinking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]', re.DOTALL)
#: Keys below which long runs of base64 stand.
_OPAQUE = frozenset(
    {
        b'"data"', b'"url"', b'"image_url"', b'"b64_json"', b'"file_data"', b'"signature"',
        b'"encrypted_content"', b'"thought_signature"', b'"redacted_thinking"',
    }
)  # fmt: skip
_BASE64 = re.compile(r"(?:data:[\w.+-]+/[\w.+-]+(?:;[\w=.-]+)*,)?[A-Za-z0-9+/_=\r\n-]{200,}")
#: Of these the API itself says what may stand there: changed, the request would be another.
_WORDS = frozenset({b'"role"', b'"type"'})
_LONGEST_WORD = 64
#: Shorter than any secret or anything personal.
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Text:
    """A string of a body, from the quote that opens it to the one that closes it."""

    start: int
    end: int
    text: str


def texts_of(body: bytes) -> Iterator[Text]:
    """The texts in a JSON body, in their order. Of what is no JSON it gives what it can."""
    key = b""
    stack: list[bool] = []  # whether we are in an object
    expect_key = False
    keys: list[bytes] = []
    for match in _TOKEN.finditer(body):
        token = match.group()
        first = token[:1]
        if first == b"{":
            stack.append(True)
            keys.append(key)
            expect_key = True
        elif first == b"[":
            stack.append(False)
            keys.append(key)
            expect_key = False
        elif first in b"}]":
            if stack:
                stack.pop()
                key = keys.pop()
            expect_key = False
        elif first == b",":
            expect_key = bool(stack) and stack[-1]
        elif first == b":":
            expect_key = False
        elif expect_key:
            key = token
        elif len(token) >= _LEAST + 2 and not _is_word(key, token, len(stack)):
            text = _decoded(token)
            if text and not (key in _OPAQUE and _BASE64.fullmatch(text)):
                yield Text(match.start(), match.end(), text)


def with_texts(body: bytes, changed: list[tuple[Text, str]]) -> bytes:
    """The body with other texts in those places (in their order); all other bytes as they were."""
    pieces: list[bytes] = []
    at = 0
    for place, text in changed:
        pieces += (body[at : place.start], msgspec.json.encode(text))
        at = place.end
    pieces.append(body[at:])
    return b"".join(pieces)


def _is_word(key: bytes, token: bytes, depth: int) -> bool:
    """Whether it is the model's name, or one of the words of the API."""
    if len(token) > _LONGEST_WORD:
        return False
    return key in _WORDS or (depth == 1 and key == b'"model"')


def _decoded(token: bytes) -> str:
    try:
        return msgspec.json.decode(token, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return token[1:-1].decode("utf-8", "replace")
