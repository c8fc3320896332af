"""The scripted model as Anthropic's API: https://docs.claude.com/en/api/messages.

Strict where the original is: the version header and ``max_tokens`` must be there, results belong
to calls, and thinking comes back with the signature it was given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from stead.inference.directives import count, tokens
from stead.inference.scripted_answer import EVENTS, Answer, Cut, dumps, send_json, start

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def error(status: int, message: str) -> dict[str, Any]:
    """An error in Anthropic's shape."""
    kind = _KINDS.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


#: Told to who wants a conversation kept; its official client then sends all of it.
NO_THREADS = error(400, "thread: this model keeps no conversations")
NO_THREADS["error"]["details"] = {
    "error_code": "thread_unsupported_request",
    "unsupported": ["thread"],
}


def signature(thinking: str) -> str:
    """What thinking is signed with."""
    return "sig" + hashlib.sha256(thinking.encode()).hexdigest()[:24]


def prompt(messages: list[dict[str, Any]]) -> int:
    """Tokens of a request."""
    return count(messages)


def mode_of(request: dict[str, Any]) -> str:
    """How the answer may call tools: ``schema``, ``native`` or ``plain`` (not at all)."""
    if (request.get("output_config") or {}).get("format"):
        return "schema"
    return "native" if request.get("tools") else "plain"


def checked(
    request: dict[str, Any], headers: Iterable[tuple[bytes, bytes]], path: str
) -> list[dict[str, Any]]:
    """The messages as a chat request has them. Raises ``ValueError`` where Anthropic refuses."""
    if not any(name == b"anthropic-version" for name, _ in headers):
        raise ValueError("anthropic-version: header is required")
    most = request.get("max_tokens")
    if path == "/messages" and (not isinstance(most, int) or most < 1):
        raise ValueError("max_tokens: Field required")
    made: list[dict[str, Any]] = []
    if request.get("system"):
        made.append({"role": "system", "content": _text(request["system"])})
    waiting: set[str] = set()
    for n, message in enumerate(request["messages"]):
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            raise ValueError(f"messages.{n}: content must be non-empty")
        if message["role"] == "assistant":
            waiting = _own(blocks, n)
            made.append({"role": "assistant", "content": _text(blocks)})
        else:
            made.extend(_user(blocks, waiting, n))
    if waiting:
        raise ValueError(f"tool_use ids without tool_result blocks: {sorted(waiting)}")
    return made


def _own(blocks: list[dict[str, Any]], n: int) -> set[str]:
    """Ids of the tools called in an assistant's message."""
    for block in blocks:
        if block["type"] == "thinking" and block["signature"] != signature(block["thinking"]):
            raise ValueError(f"messages.{n}: Invalid `signature` in `thinking` block")
    return {block["id"] for block in blocks if block["type"] == "tool_use"}


def _user(blocks: list[dict[str, Any]], waiting: set[str], n: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for block in blocks:
        if block["type"] == "tool_result":
            if block["tool_use_id"] not in waiting:
                raise ValueError(f"messages.{n}: unexpected `tool_use_id` {block['tool_use_id']}")
            waiting.discard(block["tool_use_id"])
            made.append({"role": "tool", "content": _parts(block.get("content", ""))})
        else:
            said.append(block)
    if said:
        made.append({"role": "user", "content": _parts(said)})
    return made


def _parts(content: Any) -> Any:
    """Content as a chat message has it: pictures as addresses."""
    if isinstance(content, str):
        return content
    parts = []
    for block in content:
        if block["type"] == "image":
            source = block["source"]
            data = f"data:{source.get('media_type')};base64,{source.get('data')}"
            url = source["url"] if source["type"] == "url" else data
            parts.append({"type": "image_url", "image_url": {"url": url}})
        else:
            if block["type"] == "text" and not block["text"].strip():
                raise ValueError("text content blocks must be non-empty")
            parts.append(block)
    return parts


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block["type"] == "text")


class MessagesAnswer(Answer):
    """An answer as a message."""

    def _usage(self) -> dict[str, Any]:
        prompt = count(self.messages)
        cached = min(self.plan.cached, prompt)
        return {
            "input_tokens": prompt - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": self.seen.tokens,
        }

    def _head(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self.seen.hash[:24]}",
            "type": "message",
            "role": "assistant",
            "model": self.request["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(),
        }

    def _use(self, name: str, given: Any, n: int) -> dict[str, Any]:
        return {"type": "tool_use", "id": self._id("toolu_", n), "name": name, "input": given}

    async def _whole(self) -> None:
        pieces, finish = self._pieces()
        said: list[str] = []
        try:
            async for piece in self._tokens(pieces):
                said.append(piece)
        except Cut:
            await self._broken(b'{"id":"msg_cut", "content":')
            raise
        content: list[dict[str, Any]] = []
        think = self.plan.think
        if think:
            content.append({"type": "thinking", "thinking": think, "signature": signature(think)})
        if self._native:
            calls = [(self.plan.tool, "".join(said)), *self.plan.more]
            content += [
                self._use(name, json.loads(given), n) for n, (name, given) in enumerate(calls)
            ]
        else:
            content.append({"type": "text", "text": "".join(said)})
        answer = self._head() | {"content": content, "stop_reason": _REASONS[finish]}
        await send_json(self.send, 200, answer)

    async def _stream(self) -> None:
        await start(self.send, 200, EVENTS)
        pieces, finish = self._pieces()
        await self._event("message_start", {"message": self._head()})
        await self._event("ping", {})
        index = 0
        if think := self.plan.think:
            await self._begin(0, {"type": "thinking", "thinking": "", "signature": ""})
            for piece in tokens(think):
                await self._delta(0, {"type": "thinking_delta", "thinking": piece})
            await self._delta(0, {"type": "signature_delta", "signature": signature(think)})
            await self._event("content_block_stop", {"index": 0})
            index = 1
        block: dict[str, Any] = {"type": "text", "text": ""}
        await self._begin(index, self._use(self.plan.tool, {}, 0) if self._native else block)
        async for piece in self._tokens(pieces):
            await self._piece(index, piece)
        if 0 <= self.plan.error <= len(pieces):
            self.seen.outcome = "error"
            await self._event("error", error(529, "scripted error in mid-answer"))
        elif 0 <= self.plan.short <= len(pieces):
            self.seen.outcome = "short"
        else:
            await self._event("content_block_stop", {"index": index})
            await self._more(index)
            delta = {"stop_reason": _REASONS[finish], "stop_sequence": None}
            await self._event("message_delta", {"delta": delta, "usage": self._usage()})
            await self._event("message_stop", {})
        await self.send({"type": "http.response.body", "body": b""})

    async def _more(self, index: int) -> None:
        for n, (name, given) in enumerate(self.plan.more if self._native else [], 1):
            await self._begin(index + n, self._use(name, {}, n))
            for piece in tokens(given):
                await self._piece(index + n, piece)
            await self._event("content_block_stop", {"index": index + n})

    async def _piece(self, index: int, piece: str) -> None:
        if self._native:
            await self._delta(index, {"type": "input_json_delta", "partial_json": piece})
        else:
            await self._delta(index, {"type": "text_delta", "text": piece})

    async def _begin(self, index: int, block: dict[str, Any]) -> None:
        await self._event("content_block_start", {"index": index, "content_block": block})

    async def _delta(self, index: int, delta: dict[str, Any]) -> None:
        await self._event("content_block_delta", {"index": index, "delta": delta})

    async def _event(self, kind: str, fields: dict[str, Any]) -> None:
        data = dumps({"type": kind, **fields})
        await self._body(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))
