"""Answers of chat/completions as the Responses API gives them.

Source: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

from typing import Any

from stead.core.errors import SteadError
from stead.core.nouns import Usage
from stead.inference.apis import base, responses_request
from stead.inference.apis.base import Json, other_id, sse
from stead.inference.apis.chatreader import Answer, Finish, Head, Reader, whole
from stead.inference.apis.usage import as_responses
from stead.inference.seam import Api

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: Fields of the request that a response repeats, and what stands there otherwise.
_ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


class ResponsesOnChat(base.Translation):
    """A client of the Responses API, and a model behind chat/completions.

    ``claude``: behind that chat is a translation to Anthropic's messages.
    """

    client = Api.RESPONSES
    backend = Api.CHAT

    def __init__(self, now: int = 0, *, claude: bool = False) -> None:
        super().__init__(now)
        self._claude = claude
        self._model = ""
        self._echo: Json = {}
        self._writer = _Writer({}, seals=False)
        self._reader = Reader(self._writer, "")

    def request(self, body: bytes, model: str) -> bytes:
        given = base.load(body)
        made = responses_request.to_chat(given, model, claude=self._claude)
        self._model = model
        self._echo = _echo(given, self.now)
        self._writer = _Writer(self._echo, seals=responses_request.seals(given))
        self._reader = Reader(self._writer, model)
        return base.encode(made)

    def whole(self, body: bytes) -> bytes:
        answer = whole(body, self._model)
        writer = self._writer
        writer.begin(answer.head)
        _replay(answer, writer)
        self._told()
        assert writer.response is not None
        return base.encode(writer.response)

    def feed(self, piece: bytes) -> bytes:
        self._reader.feed(piece)
        return self._told()

    def end(self) -> bytes:
        self._reader.end()
        return self._told()

    def broken(self, error: SteadError) -> bytes:
        if self._writer.response is None:
            return super().broken(error)
        self._writer.error(error.message, error.code)
        return self._writer.take()

    def _told(self) -> bytes:
        self.failed = self._writer.failed
        if self._writer.tokens is not None:
            self.usage = self._writer.tokens
        return self._writer.take()


def _echo(given: Json, now: int) -> Json:
    echo = {
        name: given[name] if given.get(name) is not None else usual
        for name, usual in _ECHOED.items()
    }
    echo["tools"] = [{"strict": None, "parameters": None, **tool} for tool in echo["tools"]]
    echo["text"] = {**_ECHOED["text"], **echo["text"]}
    return echo | {
        "created_at": now,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "object": "response",
        "previous_response_id": None,
        "store": False,
        "service_tier": "default",
    }


def _replay(answer: Answer, writer: _Writer) -> None:
    if answer.thought:
        writer.thought(answer.thought)
    if answer.thinking_blocks:
        writer.thinking_blocks(answer.thinking_blocks)
    if answer.text:
        writer.text(answer.text)
    if answer.refusal:
        writer.refusal(answer.refusal)
    for call in answer.calls:
        writer.call(call.id, call.name)
        writer.arguments(call.arguments)
    writer.finish(answer.finish)


class _Writer:
    """Writes the events, numbered, and makes the response as it goes."""

    def __init__(self, echo: Json, *, seals: bool) -> None:
        self.failed = ""
        self.tokens: Usage | None = None
        self.response: Json | None = None
        """As far as it has come; None: it has not begun."""
        self._echo = echo
        self._seals = seals
        self._out: list[bytes] = []
        self._number = 0
        self._done: list[Json] = []
        self._item: Json | None = None
        """The one that grows."""
        self._said: list[str] = []
        self._part: Json | None = None
        self._blocks: list[Json] = []
        self._key = ""

    def take(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def begin(self, head: Head) -> None:
        self._key = other_id("", head.id, head.seed)
        self.response = {
            "id": f"resp_{self._key}",
            "model": head.model,
            "status": "in_progress",
            **self._echo,
            "output": [],
            "usage": None,
        }
        for kind in ("response.created", "response.in_progress"):
            self._say(kind, {"response": self.response})

    # --- what is told ---

    def text(self, piece: str) -> None:
        self._message({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
        self._said.append(piece)
        self._in_part("response.output_text.delta", {"delta": piece, "logprobs": []})

    def refusal(self, piece: str) -> None:
        self._message({"type": "refusal", "refusal": ""})
        self._said.append(piece)
        self._in_part("response.refusal.delta", {"delta": piece})

    def thought(self, piece: str) -> None:
        self._reasoning()
        self._open_part({"type": "reasoning_text", "text": ""})
        self._said.append(piece)
        self._in_part("response.reasoning_text.delta", {"delta": piece})

    def thinking_blocks(self, given: list[Json]) -> None:
        self._reasoning()
        self._blocks.extend(given)

    def call(self, call_id: str, name: str) -> None:
        self._close()
        self._open(
            {"type": "function_call", "call_id": call_id, "name": name, "arguments": ""}, "fc"
        )

    def arguments(self, piece: str) -> None:
        self._said.append(piece)
        self._in_item("response.function_call_arguments.delta", {"delta": piece})

    def comment(self, text: str) -> None:
        self._out.append(base.comment(text))

    def finish(self, finish: Finish) -> None:
        why = _INCOMPLETE.get(finish.reason)
        self._close("incomplete" if why else "completed")
        self.tokens = finish.tokens
        status = "incomplete" if why else "completed"
        details = {"reason": why} if why else None
        told = as_responses(finish.tokens) if finish.tokens else None
        self._end(status, {"incomplete_details": details, "usage": told})

    def error(self, message: str, code: str) -> None:
        self.failed = message
        if self.response is None:
            self.begin(Head(None, "", 0, message.encode()))
        known = "rate_limit_exceeded" if "rate_limit" in code else "server_error"
        self._end("failed", {"error": {"code": known, "message": message}})

    # --- items and their parts ---

    def _message(self, part: Json) -> None:
        if self._item is None or self._item["type"] != "message":
            self._close()
            self._open({"type": "message", "role": "assistant", "content": []}, "msg")
        self._open_part(part)

    def _reasoning(self) -> None:
        if self._item is None or self._item["type"] != "reasoning":
            self._close()
            self._open({"type": "reasoning", "summary": [], "content": []}, "rs")

    def _open(self, item: Json, prefix: str) -> None:
        item["id"] = f"{prefix}_{self._key}_{len(self._done)}"
        item["status"] = "in_progress"
        self._item = item
        fields = {"output_index": len(self._done), "item": item}
        self._say("response.output_item.added", fields)

    def _open_part(self, part: Json) -> None:
        if self._part is not None:
            if self._part["type"] == part["type"]:
                return
            self._close_part()
        self._part = part
        self._in_part("response.content_part.added", {"part": part})

    def _close_part(self) -> None:
        part, item = self._part, self._item
        if part is None or item is None:
            return
        text = "".join(self._said)
        self._said.clear()
        field = "refusal" if part["type"] == "refusal" else "text"
        done = part | {field: text}
        names = {"refusal": "refusal", "output_text": "output_text"}
        name = names.get(part["type"], "reasoning_text")
        logprobs: Json = {"logprobs": []} if name == "output_text" else {}
        self._in_part(f"response.{name}.done", {field: text, **logprobs})
        self._in_part("response.content_part.done", {"part": done})
        item["content"].append(done)
        self._part = None

    def _close(self, status: str = "completed") -> None:
        item = self._item
        if item is None:
            return
        if item["type"] == "function_call":
            item["arguments"] = "".join(self._said)
            self._said.clear()
            fields = {"arguments": item["arguments"], "name": item["name"]}
            self._in_item("response.function_call_arguments.done", fields)
        else:
            self._close_part()
        if item["type"] == "reasoning":
            if self._seals:
                thought = "\n\n".join(part["text"] for part in item["content"])
                item["encrypted_content"] = responses_request.seal(thought, self._blocks)
            self._blocks = []
        item["status"] = status
        fields = {"output_index": len(self._done), "item": item}
        self._say("response.output_item.done", fields)
        self._done.append(item)
        self._item = None

    def _end(self, status: str, fields: Json) -> None:
        assert self.response is not None
        output = list(self._done)
        if self._item is not None:  # it failed in the middle of that
            self._close("incomplete")
            output = list(self._done)
        self.response |= {"status": status, "output": output, **fields}
        if status == "completed":
            self.response["completed_at"] = self.response["created_at"]
        self._say(f"response.{status}", {"response": self.response})

    def _in_item(self, kind: str, fields: Json) -> None:
        assert self._item is not None
        self._say(kind, {"item_id": self._item["id"], "output_index": len(self._done), **fields})

    def _in_part(self, kind: str, fields: Json) -> None:
        assert self._item is not None
        self._in_item(kind, {"content_index": len(self._item["content"]), **fields})

    def _say(self, kind: str, fields: dict[str, Any]) -> None:
        self._out.append(sse(kind, {"type": kind, "sequence_number": self._number, **fields}))
        self._number += 1
