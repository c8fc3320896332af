"""Answers of chat/completions as Anthropic's messages, for Anthropic clients.

Source: https://docs.claude.com/en/api/messages-streaming.
"""

from __future__ import annotations

from typing import Any

from stead.core.nouns import Usage
from stead.inference.apis import base, messages_request
from stead.inference.apis.base import Json, other_id, sse
from stead.inference.apis.chatreader import Finish, Head, Reader, whole
from stead.inference.apis.errors import translated
from stead.inference.apis.usage import as_messages
from stead.inference.seam import Api

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


class MessagesOnChat(base.Translation):
    """An Anthropic client, and a model behind chat/completions."""

    client = Api.MESSAGES
    backend = Api.CHAT

    def __init__(self, now: int = 0) -> None:
        super().__init__(now)
        self._writer = _Writer()
        self._reader = Reader(self._writer, "")

    def request(self, body: bytes, model: str) -> bytes:
        made = messages_request.to_chat(base.load(body), model)
        self._reader = Reader(self._writer, model)
        self._model = model
        return base.encode(made)

    def whole(self, body: bytes) -> bytes:
        answer = whole(body, self._model)
        content: list[Json] = []
        if answer.thought:
            content.append(
                {"type": "thinking", "thinking": answer.thought, "signature": base.UNSIGNED}
            )
        for text in (answer.text, answer.refusal):
            if text:
                content.append({"type": "text", "text": text})
        for call in answer.calls:
            given = base.arguments_of(call.arguments)
            block: Json = {"type": "tool_use", "id": call.id, "name": call.name, "input": given}
            content.append(block)
        tokens = answer.finish.tokens
        self.usage = tokens
        made = _message(answer.head, as_messages(tokens or Usage()))
        made["content"] = content
        made |= _stop(answer.finish, bool(answer.refusal))
        return base.encode(made)

    def feed(self, piece: bytes) -> bytes:
        self._reader.feed(piece)
        return self._told()

    def end(self) -> bytes:
        self._reader.end()
        return self._told()

    def _told(self) -> bytes:
        writer = self._writer
        self.failed = writer.failed
        if writer.tokens is not None:
            self.usage = writer.tokens
        return writer.take()


def _message(head: Head, told: Json) -> Json:
    return {
        "id": other_id("msg_", head.id, head.seed),
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": told,
    }


def _stop(finish: Finish, refused: bool) -> Json:
    if finish.stop_sequence is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": finish.stop_sequence}
    reason = "refusal" if refused else _REASONS.get(finish.reason, "end_turn")
    return {"stop_reason": reason, "stop_sequence": None}


class _Writer:
    """Writes the events. One content block is open at a time."""

    def __init__(self) -> None:
        self.failed = ""
        self.tokens: Usage | None = None
        self._out: list[bytes] = []
        self._open = ""
        """The type of the block that is open; empty: none."""
        self._index = -1
        self._refused = False

    def take(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def begin(self, head: Head) -> None:
        self._say("message_start", {"message": _message(head, as_messages(Usage()))})

    def text(self, piece: str) -> None:
        self._block("text", {"text": ""})
        self._delta({"type": "text_delta", "text": piece})

    def refusal(self, piece: str) -> None:
        self._refused = True
        self.text(piece)

    def thought(self, piece: str) -> None:
        self._block("thinking", {"thinking": "", "signature": ""})
        self._delta({"type": "thinking_delta", "thinking": piece})

    def thinking_blocks(self, given: list[Json]) -> None:
        """Only of a model that signs them; behind chat that is another translator of ours."""

    def call(self, call_id: str, name: str) -> None:
        self._close()
        self._block("tool_use", {"id": call_id, "name": name, "input": {}})

    def arguments(self, piece: str) -> None:
        self._delta({"type": "input_json_delta", "partial_json": piece})

    def comment(self, text: str) -> None:
        self._out.append(base.comment(text))

    def finish(self, finish: Finish) -> None:
        self._close()
        self.tokens = finish.tokens
        told = as_messages(finish.tokens or Usage())
        self._say("message_delta", {"delta": _stop(finish, self._refused), "usage": told})
        self._say("message_stop", {})

    def error(self, message: str, code: str) -> None:
        self.failed = message
        body = base.encode({"error": {"message": message, "code": code}})
        status = 429 if "rate_limit" in code else 500
        self._out.append(b"event: error\ndata: %b\n\n" % translated(Api.MESSAGES, status, body))

    def _block(self, kind: str, fields: dict[str, Any]) -> None:
        if self._open == kind:
            return
        self._close()
        self._open = kind
        self._index += 1
        block = {"type": kind, **fields}
        self._say("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> None:
        if not self._open:
            return
        if self._open == "thinking":
            self._delta({"type": "signature_delta", "signature": base.UNSIGNED})
        self._open = ""
        self._say("content_block_stop", {"index": self._index})

    def _delta(self, delta: Json) -> None:
        self._say("content_block_delta", {"index": self._index, "delta": delta})

    def _say(self, kind: str, fields: Json) -> None:
        self._out.append(sse(kind, {"type": kind, **fields}))
