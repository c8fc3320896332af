"""Legacy completions, for models that are asked in chat/completions.

Source: https://platform.openai.com/docs/api-reference/completions. The prompt goes as the
user's message, so a model that was made to talk answers it rather than going on with it.
"""

from __future__ import annotations

from typing import Any

from stead.inference.apis import base, messages_request, usage
from stead.inference.apis.base import Json, as_flag, as_text, chunk, other_id, refuse
from stead.inference.apis.errors import translated
from stead.inference.seam import Api
from stead.net.sse import Comment, Parser

_KNOWN = base.names(
    "model prompt max_tokens echo best_of logprobs suffix stream_options"
)  # fmt: skip
_REFUSED = {
    "suffix": "a chat model cannot fill in the middle",
    "logprobs": "their shape differs and is not translated; ask in chat/completions",
}
#: What the API has where the request says nothing.
_MOST = 16


class CompletionsOnChat(base.Translation):
    """A client of legacy completions, and a model behind chat/completions."""

    client = Api.COMPLETIONS
    backend = Api.CHAT

    def __init__(self, now: int = 0) -> None:
        super().__init__(now)
        self._model = ""
        self._echo = ""
        self._tells_usage = False
        self._parser = Parser()
        self._out: list[bytes] = []
        self._finished = False
        self._ended = False
        self._begun: set[int] = set()
        """The choices that have begun."""
        self._id = ""

    def request(self, body: bytes, model: str) -> bytes:
        given = base.load(body)
        for name, why in _REFUSED.items():
            if given.get(name) not in (None, "", False):
                raise refuse(name, why)
        if (given.get("best_of") or 1) > (given.get("n") or 1):
            raise refuse("best_of", "a chat model does not say which answer it holds for best")
        prompt = _prompt(given.get("prompt"))
        self._echo = prompt if as_flag(given.get("echo"), "echo") else ""
        self._model = model
        made: Json = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        most = given.get("max_tokens")
        most = _MOST if most is None else base.as_count(most, "max_tokens")
        made[messages_request.limit_name(model)] = most
        options = base.as_object(given.get("stream_options") or {}, "stream_options")
        self._tells_usage = bool(options.get("include_usage"))
        if as_flag(given.get("stream"), "stream"):
            made["stream_options"] = {**options, "include_usage": True}
        base.pass_unknown(given, _KNOWN, made)
        return base.encode(made)

    def whole(self, body: bytes) -> bytes:
        answer = base.parsed(body)
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not isinstance(choices, list) or not choices:
            raise ValueError(_error(answer) or "the answer holds no choices")
        made = self._base(answer, body)
        made["choices"] = []
        for n, choice in enumerate(choices):
            message = choice.get("message") if isinstance(choice, dict) else None
            if not isinstance(message, dict):
                raise ValueError("the answer holds no message")
            text = self._echo + _text(message)
            made["choices"].append(_choice(n, text, choice.get("finish_reason") or "stop"))
        tokens = usage.of_chat(answer.get("usage"))
        if tokens is not None:
            self.usage = tokens
            made["usage"] = usage.as_chat(tokens)
        return base.encode(made)

    def feed(self, piece: bytes) -> bytes:
        for event in base.events(self._parser, piece):
            if self._ended:
                break
            if isinstance(event, Comment):
                self._out.append(base.comment(event.text))
            elif event.data.strip() == "[DONE]":
                self._ended = True
                self._out.append(b"data: [DONE]\n\n")
            elif event.data.strip():
                self._take(event.data)
        return self._told()

    def end(self) -> bytes:
        out = [self._told()]
        if not self._ended:
            base.last_event(self._parser, lambda piece: out.append(self.feed(piece)))
        if not self._ended:
            if not self._finished:
                raise ValueError("its stream ended before the answer did")
            self._ended = True
            self._out.append(b"data: [DONE]\n\n")
        return b"".join([*out, self._told()])

    def _told(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _take(self, data: str) -> None:
        answer = base.parsed(data)
        if not isinstance(answer, dict):
            raise ValueError("an event of its stream is no object")
        if answer.get("error"):
            self._ended = True
            self.failed = _error(answer)
            self._out.append(b"data: %b\n\n" % translated(Api.COMPLETIONS, 500, data.encode()))
            return
        made = self._base(answer, data.encode())
        told = usage.of_chat(answer.get("usage"))
        if told is not None:
            self.usage = told
        choices = answer.get("choices") or []
        for choice in choices if isinstance(choices, list) else []:
            self._piece(choice, made)
        if told is not None and self._tells_usage:
            self._out.append(chunk({**made, "choices": [], "usage": usage.as_chat(told)}))

    def _piece(self, choice: Any, made: Json) -> None:
        if not isinstance(choice, dict):
            raise ValueError("a choice of its stream is no object")
        delta, index = choice.get("delta"), choice.get("index") or 0
        text = _text(delta) if isinstance(delta, dict) else ""
        if index not in self._begun:
            self._begun.add(index)
            text = self._echo + text
        finish = choice.get("finish_reason")
        if finish:
            self._finished = True
        if text or finish:
            self._out.append(chunk({**made, "choices": [_choice(index, text, finish)]}))

    def _base(self, answer: Json, seed: bytes) -> Json:
        given, created = answer.get("id"), answer.get("created")
        self._id = self._id or other_id("cmpl-", given if isinstance(given, str) else None, seed)
        return {
            "id": self._id,
            "object": "text_completion",
            "created": created if isinstance(created, int) else self.now,
            "model": answer.get("model") or self._model,
        }


def _prompt(given: Any) -> str:
    if isinstance(given, list):
        if given and all(isinstance(token, int | list) for token in given):
            raise refuse("prompt", "tokens mean nothing to another model: send text")
        if len(given) != 1:
            raise refuse("prompt", "one prompt at a time can be translated")
        return as_text(given[0], "prompt[0]")
    return as_text(given, "prompt")


def _text(message: Json) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


def _choice(index: int, text: str, finish: Any) -> Json:
    if finish is not None and finish not in ("stop", "length", "content_filter"):
        finish = "stop"
    return {"index": index, "text": text, "finish_reason": finish, "logprobs": None}


def _error(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        return str(error.get("message") or "it gave no reason")
    return str(error or "")
