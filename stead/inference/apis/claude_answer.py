"""Answers of Anthropic's messages as chat completions, for OpenAI clients."""

from __future__ import annotations

from typing import Any

from stead.core.nouns import Usage
from stead.inference.apis import base, claude_request, usage
from stead.inference.apis.base import Json, chunk, other_id
from stead.inference.apis.errors import translated
from stead.inference.seam import Api
from stead.net.sse import Comment, Parser

ANTHROPIC_VERSION = "2023-06-01"

_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class ChatOnMessages(base.Translation):
    """An OpenAI client, and a model behind Anthropic's messages."""

    client = Api.CHAT
    backend = Api.MESSAGES
    headers = (("anthropic-version", ANTHROPIC_VERSION),)

    def __init__(self, now: int = 0) -> None:
        super().__init__(now)
        self._model = ""
        self._by_tool = False
        self._stream: _Stream | None = None
        self._tells_usage = False

    def request(self, body: bytes, model: str) -> bytes:
        given = base.load(body)
        made, self._by_tool = claude_request.to_messages(given, model)
        options = base.as_object(given.get("stream_options") or {}, "stream_options")
        self._tells_usage = bool(options.get("include_usage"))
        self._model = model
        return base.encode(made)

    def whole(self, body: bytes) -> bytes:
        answer = _object(base.parsed(body))
        if answer.get("type") == "error":
            raise ValueError(_error(answer)[0])
        content = answer.get("content")
        if answer.get("type") != "message" or not isinstance(content, list):
            raise ValueError("that is no Anthropic message")
        message, json_text = _said(content, self._by_tool)
        tokens = usage.of_messages(answer.get("usage"))
        self.usage = tokens
        reason = _reason(answer.get("stop_reason"), by_tool=self._by_tool)
        if self._by_tool:
            message["content"] = json_text if json_text is not None else message["content"]
        if reason == "content_filter":
            message["refusal"] = _refusal(answer.get("stop_details"))
        made: Json = {
            "id": other_id("chatcmpl-", _text(answer.get("id")), body),
            "object": "chat.completion",
            "created": self.now,
            "model": _text(answer.get("model")) or self._model,
            "choices": [
                {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            ],
        }
        if tokens is not None:
            made["usage"] = usage.as_chat(tokens)
        return base.encode(made)

    def feed(self, piece: bytes) -> bytes:
        if self._stream is None:
            self._stream = _Stream(
                self._model, self._by_tool, tells_usage=self._tells_usage, now=self.now
            )
        out = self._stream.feed(piece)
        self._look()
        return out

    def end(self) -> bytes:
        if self._stream is None:
            raise ValueError("its stream ended before the answer began")
        out = self._stream.end()
        self._look()
        return out

    def _look(self) -> None:
        assert self._stream is not None
        self.failed = self._stream.failed
        if self._stream.tokens is not None:
            self.usage = self._stream.tokens


def _said(content: list[Any], by_tool: bool) -> tuple[Json, str | None]:
    """The message of a chat completion; and the JSON that came by way of the tool for it."""
    texts: list[str] = []
    thoughts: list[str] = []
    kept: list[Json] = []
    calls: list[Json] = []
    json_text: str | None = None
    for raw in content:
        block = _object(raw)
        kind = block.get("type")
        if kind == "text":
            texts.append(_text(block.get("text")))
        elif kind in ("thinking", "redacted_thinking"):
            kept.append(block)
            thoughts.append(_text(block.get("thinking")))
        elif kind == "tool_use":
            name, given = _text(block.get("name")), base.arguments_text(block.get("input", {}))
            if by_tool and name == claude_request.JSON_TOOL:
                json_text = given
                continue
            function = {"name": name, "arguments": given}
            calls.append({"id": _text(block.get("id")), "type": "function", "function": function})
    message: Json = {"role": "assistant", "content": "".join(texts) or None, "refusal": None}
    if not calls and json_text is None:
        message["content"] = message["content"] or ""
    if any(thoughts):
        message["reasoning_content"] = "\n\n".join(filter(None, thoughts))
    if kept:
        message["thinking_blocks"] = kept
    if calls:
        message["tool_calls"] = calls
    return message, json_text


class _Stream:
    """Anthropic's events as chat chunks."""

    def __init__(self, model: str, by_tool: bool, *, tells_usage: bool, now: int) -> None:
        self.failed = ""
        self.tokens: Usage | None = None
        self._parser = Parser()
        self._out: list[bytes] = []
        self._base: Json = {"id": "", "object": "chat.completion.chunk", "created": now}
        self._base["model"] = model
        self._by_tool = by_tool
        self._tells_usage = tells_usage
        self._begun = False
        self._ended = False
        self._usage: Json = {}
        self._blocks: dict[int, Json] = {}
        """Those that are open, as they began, with what must be kept of them."""
        self._calls = 0
        self._finish = ""
        self._details: Any = None

    def feed(self, piece: bytes) -> bytes:
        for event in base.events(self._parser, piece):
            if self._ended:
                break
            if isinstance(event, Comment):
                self._out.append(base.comment(event.text))
            elif event.data.strip():
                self._take(_object(base.parsed(event.data)))
        return self._told()

    def end(self) -> bytes:
        out = [self._told()]
        if not self._ended:
            base.last_event(self._parser, lambda piece: out.append(self.feed(piece)))
        if not self._ended:
            raise ValueError("its stream ended before the answer did")
        return b"".join([*out, self._told()])

    def _told(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _take(self, event: Json) -> None:
        kind = event.get("type")
        if kind == "ping":
            self._out.append(base.comment("ping"))
        elif kind == "error":
            self._ended = True
            self.failed, code = _error(event)
            body = base.encode({"error": {"message": self.failed, "type": code}})
            status = {"rate_limit_error": 429}.get(code, 500)
            self._out.append(b"data: %b\n\n" % translated(Api.CHAT, status, body))
        elif kind == "message_start":
            self._start(_object(event.get("message")))
        elif not self._begun:
            raise ValueError(f"its stream began with {kind!r}")
        elif kind == "content_block_start":
            self._block(_index(event), dict(_object(event.get("content_block"))))
        elif kind == "content_block_delta":
            self._delta(_index(event), _object(event.get("delta")))
        elif kind == "content_block_stop":
            self._close(_index(event))
        elif kind == "message_delta":
            delta = _object(event.get("delta"))
            self._finish = _text(delta.get("stop_reason")) or self._finish
            self._details = delta.get("stop_details") or self._details
            self._count(event.get("usage"))
        elif kind == "message_stop":
            self._stop()

    def _start(self, message: Json) -> None:
        if self._begun:
            raise ValueError("its stream began twice")
        self._begun = True
        seed = base.encode(message)
        self._base["id"] = other_id("chatcmpl-", _text(message.get("id")), seed)
        self._base["model"] = _text(message.get("model")) or self._base["model"]
        self._count(message.get("usage"))
        self._say({"role": "assistant", "content": "", "refusal": None})

    def _count(self, told: Any) -> None:
        """Later numbers are of the whole answer so far: they take the place of earlier ones."""
        if isinstance(told, dict):
            self._usage |= {name: value for name, value in told.items() if value is not None}
            self.tokens = usage.of_messages(self._usage)

    def _block(self, index: int, block: Json) -> None:
        kind = block.get("type")
        self._blocks[index] = block
        if kind == "text" and block.get("text"):
            self._say({"content": _text(block["text"])})
        elif kind == "thinking" and block.get("thinking"):
            self._say({"reasoning_content": _text(block["thinking"])})
        elif kind == "tool_use":
            block["said"] = False
            block["call"] = self._calls
            if self._is_json(block):
                return
            self._calls += 1
            function = {"name": _text(block.get("name")), "arguments": ""}
            head = {"index": block["call"], "id": _text(block.get("id")), "type": "function"}
            self._say({"tool_calls": [head | {"function": function}]})

    def _delta(self, index: int, delta: Json) -> None:
        block = self._blocks.get(index)
        if block is None:
            raise ValueError(f"its stream goes on with a block {index} that is not open")
        kind = delta.get("type")
        if kind == "text_delta":
            self._say({"content": _text(delta.get("text"))})
        elif kind == "thinking_delta":
            piece = _text(delta.get("thinking"))
            block["thinking"] = _text(block.get("thinking")) + piece
            self._say({"reasoning_content": piece})
        elif kind == "signature_delta":
            block["signature"] = _text(delta.get("signature"))
        elif kind == "input_json_delta" and block.get("type") == "tool_use":
            piece = _text(delta.get("partial_json"))
            if piece:
                block["said"] = True
                self._arguments(block, piece)

    def _arguments(self, block: Json, piece: str) -> None:
        if self._is_json(block):
            self._say({"content": piece})
            return
        self._say({"tool_calls": [{"index": block["call"], "function": {"arguments": piece}}]})

    def _is_json(self, block: Json) -> bool:
        return self._by_tool and block.get("name") == claude_request.JSON_TOOL

    def _close(self, index: int) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            raise ValueError(f"its stream closes a block {index} that is not open")
        kind = block.get("type")
        if kind in ("thinking", "redacted_thinking"):
            self._say({"thinking_blocks": [block]})
        elif kind == "tool_use" and not block["said"]:
            # All of it came with the start of the block, or there are no arguments.
            self._arguments(block, base.arguments_text(block.get("input") or {}))

    def _stop(self) -> None:
        if not self._finish:
            raise ValueError("its stream ended without a reason to stop")
        self._ended = True
        reason = _reason(self._finish, by_tool=self._by_tool)
        last = {"refusal": _refusal(self._details)} if reason == "content_filter" else {}
        self._say(last, reason)
        if self._tells_usage and self.tokens is not None:
            self._out.append(
                chunk({**self._base, "choices": [], "usage": usage.as_chat(self.tokens)})
            )
        self._out.append(b"data: [DONE]\n\n")

    def _say(self, delta: Json, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        self._out.append(chunk({**self._base, "choices": [choice]}))


def _reason(given: Any, *, by_tool: bool) -> str:
    if by_tool and given == "tool_use":
        return "stop"
    return _REASONS.get(given, "stop") if isinstance(given, str) else "stop"


def _refusal(details: Any) -> str:
    said = details.get("explanation") if isinstance(details, dict) else None
    return said if isinstance(said, str) and said else "The model refused to answer that."


def _error(answer: Json) -> tuple[str, str]:
    inner = answer.get("error")
    if not isinstance(inner, dict):
        return "it gave no reason", ""
    return _text(inner.get("message")) or "it gave no reason", _text(inner.get("type"))


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ValueError("an object of an Anthropic answer is missing")
    return value


def _index(event: Json) -> int:
    value = event.get("index")
    if not isinstance(value, int):
        raise ValueError("a block of an Anthropic answer has no index")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
