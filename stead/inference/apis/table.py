"""Which shape can be answered by which, and by what translator."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from stead.core.errors import BadRequest, SteadError
from stead.inference.apis.base import UNSIGNED, Json, Translation, encode, load
from stead.inference.apis.claude_answer import ANTHROPIC_VERSION, ChatOnMessages
from stead.inference.apis.completions import CompletionsOnChat
from stead.inference.apis.messages_answer import MessagesOnChat
from stead.inference.apis.responses_answer import ResponsesOnChat
from stead.inference.seam import Api, Asked

#: For a client's shape those of a backend that will do, the best first.
_WAYS: dict[Api, tuple[Api, ...]] = {
    Api.CHAT: (Api.CHAT, Api.MESSAGES),
    Api.MESSAGES: (Api.MESSAGES, Api.CHAT),
    Api.RESPONSES: (Api.RESPONSES, Api.CHAT, Api.MESSAGES),
    Api.COMPLETIONS: (Api.COMPLETIONS, Api.CHAT, Api.MESSAGES),
}


class _Chain(Translation):
    """Two translations, one after the other."""

    def __init__(self, outer: Translation, inner: Translation) -> None:
        super().__init__(outer.now)
        self.client, self.backend = outer.client, inner.backend
        self.headers = inner.headers
        self._outer, self._inner = outer, inner

    def request(self, body: bytes, model: str) -> bytes:
        return self._inner.request(self._outer.request(body, model), model)

    def whole(self, body: bytes) -> bytes:
        made = self._outer.whole(self._inner.whole(body))
        self._look()
        return made

    def feed(self, piece: bytes) -> bytes:
        made = self._outer.feed(self._inner.feed(piece))
        self._look()
        return made

    def end(self) -> bytes:
        made = self._outer.feed(self._inner.end()) + self._outer.end()
        self._look()
        return made

    def broken(self, error: SteadError) -> bytes:
        return self._outer.broken(error)

    def _look(self) -> None:
        self.usage, self.failed = self._inner.usage, self._inner.failed


_MAKERS: dict[tuple[Api, Api], Callable[[int], Translation]] = {
    (Api.CHAT, Api.MESSAGES): ChatOnMessages,
    (Api.MESSAGES, Api.CHAT): MessagesOnChat,
    (Api.RESPONSES, Api.CHAT): ResponsesOnChat,
    (Api.COMPLETIONS, Api.CHAT): CompletionsOnChat,
    (Api.RESPONSES, Api.MESSAGES): lambda now: _Chain(
        ResponsesOnChat(now, claude=True), ChatOnMessages(now)
    ),
    (Api.COMPLETIONS, Api.MESSAGES): lambda now: _Chain(
        CompletionsOnChat(now), ChatOnMessages(now)
    ),
}


def best(client: Api, offered: Collection[Api]) -> Api | None:
    """What to ask a backend for that offers these; None if none of them will do.

    A shape that has no translation is answered by itself alone.
    """
    return next((api for api in _WAYS.get(client, (client,)) if api in offered), None)


def translator(client: Api, backend: Api, *, now: int = 0) -> Translation:
    """For one attempt. ``now``: seconds since 1970. Raises ``KeyError`` if there is none."""
    return _MAKERS[client, backend](now)


def for_asked(asked: Asked, spoken: Api) -> Translation:
    """For one attempt at a request. Raises ``BadRequest`` if its shape has no translation."""
    try:
        return translator(asked.api, spoken, now=int(time.time()))
    except KeyError:
        raise BadRequest(
            f"The model {asked.model!r} cannot be asked by /v1/{asked.api.value}; "
            f"its server knows /v1/{spoken.value}."
        ) from None


def headers(backend: Api) -> tuple[tuple[str, str], ...]:
    """What that API wants where the client has not said it."""
    if backend in (Api.MESSAGES, Api.COUNT_TOKENS):
        return (("anthropic-version", ANTHROPIC_VERSION),)
    return ()


def without_unsigned(body: bytes) -> bytes:
    """A request to Anthropic's messages that goes to Anthropic: the very bytes that came.

    Only thinking of another model is taken out, which bears our mark instead of a signature:
    Anthropic would refuse the whole conversation for it.
    """
    if UNSIGNED.encode() not in body:
        return body
    request = load(body)
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            message["content"] = [block for block in content if not _unsigned(block)]
    return encode(request)


def _unsigned(block: Json | str) -> bool:
    return (
        isinstance(block, dict)
        and block.get("type") == "thinking"
        and block.get("signature") == UNSIGNED
    )
