"""The agent as a model of ``/v1/chat/completions``, and ``/v1/models``, in OpenAI's shapes.

``model="stead"`` is the agent: one conversation with all other ways in. Other models are the
plane's (:mod:`stead.gateway.front`), which hands over here what is for the agent.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.blobs.handed import Handed
from stead.core.attached import MOST, Attached
from stead.core.errors import BadRequest, Forbidden, KeyRevoked, SteadError, UnknownModel
from stead.core.ids import uuid7
from stead.core.nouns import Inbound
from stead.core.people import OTHERS, OWNER
from stead.core.place import Retold
from stead.core.storage import Accepted
from stead.flow.flow import Flow
from stead.flow.live import Seen
from stead.gateway.auth import Keys
from stead.gateway.http import (
    Endpoint,
    Json,
    comment,
    decode,
    named,
    read_body,
    sse,
    stream,
    unless,
    until_gone,
)
from stead.gateway.openai_parts import Given, content_of
from stead.gateway.talk import End, Stopping, Talk
from stead.inference.door import Door
from stead.inference.routing.rules import hint
from stead.inference.seam import Api, Asked, Policy, Who

#: The agent's own name among the models.
AGENT = "stead"
STOPPING = "stead is being stopped. Nothing was done with this request; send it again."


class _Head(msgspec.Struct):
    """The part of a request that is looked at; the rest passes through."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    n: int | None = None
    tools: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class _Timeout(SteadError):
    """No answer within the time this request may wait; it is being worked on and will be in the
    conversation. See `stead why {job_id}`."""

    status = 504
    kind = "timeout"
    code = "answer_late"


class OpenAI:
    """The OpenAI-compatible API."""

    def __init__(
        self, flow: Flow, talk: Talk, door: Door, keys: Keys, policy: Policy, handed: Handed, *,
        max_body: int, wait_s: float,
    ) -> None:  # fmt: skip
        self._handed = handed
        self._flow = flow
        self._talk = talk
        self._door = door
        self._keys = keys
        self._policy = policy
        self._max_body = max_body
        self._wait_s = wait_s
        self._held: dict[str, set[asyncio.Future[None]]] = {}
        keys.when_revoked.append(self._revoked)
        self.stopping = False
        """New requests are refused; those of jobs go on."""

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", Endpoint(self._chat), methods=["POST"]),
            Route("/v1/models", Endpoint(self._models), methods=["GET"]),
            Route("/v1/models/{name:path}", Endpoint(self._model), methods=["GET"]),
        ]

    # --- models ------------------------------------------------------------------------

    def _models_for(self, who: Who) -> list[dict[str, object]]:
        agent = {"id": AGENT, "object": "model", "created": 0, "owned_by": "stead"}
        models = [agent, *self._door.models()]
        return [model for model in models if self._policy.sees(who, str(model["id"]))]

    async def _models(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._keys.asks(scope)
        models = self._models_for(who)
        theirs = any(name == b"anthropic-version" for name, _ in scope["headers"])
        listed = _as_anthropic(models) if theirs else {"object": "list", "data": models}
        await Json(listed)(scope, receive, send)

    async def _model(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._keys.asks(scope)
        name = scope["path_params"]["name"]
        theirs = any(key == b"anthropic-version" for key, _ in scope["headers"])
        for model in self._models_for(who):
            if model["id"] == name:
                shown = _as_anthropic([model])["data"][0] if theirs else model
                await Json(shown)(scope, receive, send)
                return
        raise self.unknown(name, who)

    def unknown(self, name: str, who: Who, api: Api = Api.CHAT) -> UnknownModel:
        """The error for a name that no model has, with those that there are for who asks."""
        known = ", ".join(str(model["id"]) for model in self._models_for(who))
        more = "" if name == AGENT else hint(name, api)
        return UnknownModel(model=name, known=known or "none", hint=more, param="model")

    # --- chat --------------------------------------------------------------------------

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._keys.asks(scope)
        body = await read_body(scope, receive, self._max_body)
        head = decode(body, _Head)
        if who.job_id is not None or head.model != AGENT:
            raise self.unknown(head.model, who)
        if self.stopping:  # before it is recorded: its client tries again, at the next start
            raise Stopping(STOPPING)
        # What it says is looked at where it would leave the house: with the agent's own calls.
        verdict = self._policy.check(who, Asked(Api.CHAT, body, "application/json", AGENT))
        try:
            with self._while_held(who) as held:
                inbound, files = _inbound(head, body, scope, _person_of(who))
                inbound = replace(inbound, files=await self._given(files, who))
                await self._agent(head, inbound, held, scope, receive, send)
        finally:
            self._policy.ended(verdict, 0)

    @contextmanager
    def _while_held(self, who: Who) -> Iterator[asyncio.Future[None] | None]:
        """A future that fails when the key of who asks is taken back; None: it cannot be."""
        if not who.key_id:
            yield None
            return
        held = asyncio.get_running_loop().create_future()
        mine = self._held.setdefault(who.key_id, set())
        mine.add(held)
        try:
            yield held
        finally:
            held.cancel()
            mine.discard(held)
            if not mine:
                self._held.pop(who.key_id, None)

    def _revoked(self, key_id: str) -> None:
        """What the agent was asked goes on, as it was accepted; who asked hears no more of it."""
        for held in self._held.pop(key_id, ()):
            held.set_exception(KeyRevoked())

    async def _given(self, files: list[Given], who: Who) -> tuple[Attached, ...]:
        """The files of a message, handed in. Raises ``BadRequest``, ``NotFound``, ``NoRoom``."""
        if len(files) > MOST:
            raise BadRequest(f"A message may have at most {MOST} files.", param=files[MOST].param)
        taken: list[Attached] = []
        person = _person_of(who)
        for one in files:
            if one.ident and who.key_id and person == OWNER:
                raise Forbidden(why="files by their ids are the owner's; send the content itself")
            if one.ident:
                taken += await self._handed.given([one.ident], person)
            else:
                taken.append(await self._handed.take_bytes(one.data, one.name, person))
        return tuple(taken)

    async def _agent(
        self, head: _Head, inbound: Inbound, held: asyncio.Future[None] | None,
        scope: Scope, receive: Receive, send: Send,
    ) -> None:  # fmt: skip
        accepted = await self._flow.accept(inbound)
        began = int(time.time())
        if head.stream:
            usage = bool((head.stream_options or {}).get("include_usage"))
            pieces = _told(self._chunks(accepted, began, usage), held)
            await stream(receive, send, pieces)
            return
        work = self._wait(accepted)
        end = await until_gone(receive, unless(held, work) if held is not None else work)
        if end is None:
            return
        if not end.answered and end.state != "waiting":
            raise _job_failed(end)
        await Json(_completion(end, began))(scope, receive, send)
        await self._talk.read(end)

    async def _wait(self, accepted: Accepted) -> End:
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._talk.end(accepted.job_id, fresh=not accepted.duplicate)
        except TimeoutError:
            raise _Timeout(job_id=accepted.job_id[-8:]) from None

    async def _chunks(
        self, accepted: Accepted, began: int, with_usage: bool
    ) -> AsyncGenerator[bytes, None]:
        """The answer as chat.completion.chunk events; what the agent does goes as comments."""
        base = {
            "id": f"chatcmpl-{accepted.job_id}", "object": "chat.completion.chunk",
            "created": began, "model": AGENT,
        }  # fmt: skip

        def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
            return sse({**base, "choices": [choice]})

        yield chunk({"role": "assistant", "content": ""})
        told, why = Retold(), ""
        fresh = not accepted.duplicate
        async for seen in self._talk.follow(accepted.job_id, fresh=fresh):
            if seen is None:
                yield comment("still working")
            elif not isinstance(seen, Seen):
                if not seen.answered and seen.state != "waiting":
                    raise _job_failed(seen)
                # A question to the owner follows what was said; an answer is here already.
                rest = _apart(*told.end(seen.text), why)
                if rest:
                    yield chunk({"content": rest})
                yield chunk({}, "stop")
                if with_usage:
                    yield sse({**base, "choices": [], "usage": _usage(seen)})
                yield b"data: [DONE]\n\n"
                await self._talk.read(seen)
            elif seen.type == "token":
                text = _apart(*told.more(seen.text), why)
                if text:
                    yield chunk({"content": text})
            else:
                if seen.type == "reset":
                    told.anew()
                    why = seen.text
                yield comment(f"{seen.type}: {seen.text}")


def _as_anthropic(models: list[dict[str, object]]) -> dict[str, Any]:
    """The list of models as Anthropic's clients know it; all on one page."""
    names = [str(model["id"]) for model in models]
    begun = "1970-01-01T00:00:00Z"
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": begun,
         "lifecycle": "active"} for name in names
    ]  # fmt: skip
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {}
    return {"data": data, "has_more": False, "first_id": None, "last_id": None} | ends


async def _told(
    pieces: AsyncGenerator[bytes, None], held: asyncio.Future[None] | None
) -> AsyncGenerator[bytes, None]:
    """The head of a stream is out, so an error can only be told as an event (with no [DONE])."""
    async with aclosing(pieces):
        try:
            if held is None:
                async for piece in pieces:
                    yield piece
                return
            while piece := await unless(held, anext(pieces, b"")):
                yield piece
        except SteadError as error:
            yield sse(error.as_dict())


def _apart(text: str, other: bool, why: str) -> str:
    """What was sent cannot be taken back, so another text is set apart from it."""
    if not other:
        return text
    return f"\n\n[{why}]\n\n{text}" if why else f"\n\n{text}"


def _usage(end: End) -> dict[str, Any]:
    used = end.usage
    return {
        "prompt_tokens": used["prompt_tokens"],
        "completion_tokens": used["completion_tokens"],
        "total_tokens": used["prompt_tokens"] + used["completion_tokens"],
        "prompt_tokens_details": {"cached_tokens": used["cached_tokens"]},
    }


def _completion(end: End, began: int) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{end.job_id}",
        "object": "chat.completion",
        "created": began,
        "model": AGENT,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": end.text, "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": _usage(end),
        "stead": {
            "job_id": end.job_id,
            "waited_ms": end.waited_ms,
            "worked_ms": end.worked_ms,
            "cost_micro": end.usage["cost_micro"],
        },
    }


def _job_failed(end: End) -> SteadError:
    error = SteadError(end.error or f"The job {end.job_id} was {end.state}.")
    error.status = 502
    error.code = f"job_{end.state}"
    return error


def _person_of(who: Who) -> str:
    """The id of who talks; what programs say is said for the owner."""
    return who.key_id.removeprefix(OTHERS) if who.key_id.startswith(OTHERS) else OWNER


def _inbound(
    head: _Head, body: bytes, scope: Scope, person: str = OWNER
) -> tuple[Inbound, list[Given]]:
    """The last message of the owner in the request, with the client's system text for this turn;
    and the files in it."""
    if head.n not in (None, 1):
        raise BadRequest("The agent gives one answer: n must be 1.", param="n")
    if head.tools:
        raise BadRequest(
            "The agent has its own tools; send `tools` to a plain model name instead.",
            param="tools",
        )
    if (head.response_format or {}).get("type", "text") != "text":
        raise BadRequest(
            "The agent answers in words; send `response_format` to a plain model name instead.",
            param="response_format",
        )
    roles = [str(message.get("role")) for message in head.messages]
    last = len(roles) - 1 - roles[::-1].index("user") if "user" in roles else -1
    read = [content_of(one, n, last=n == last) for n, one in enumerate(head.messages)]
    texts = [text for text, _ in read]
    if last < 0:
        raise BadRequest("There is no message with the role `user`.", param="messages")
    files = read[last][1]
    if not texts[last].strip() and not files:
        raise BadRequest("The message is empty.", param=f"messages[{last}].content")
    system = "\n\n".join(
        text for role, text in zip(roles, texts, strict=True) if role in ("system", "developer")
    )
    mark = _extra(head, "mark")
    if mark not in ("", "light", "heavy"):
        raise BadRequest("mark must be light, heavy or empty.", param="metadata.mark")
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    key = headers.get(b"idempotency-key", "")
    for param in ("max_completion_tokens", "max_tokens"):
        if (given := getattr(head, param)) is not None and given < 1:
            raise BadRequest(f"{param} must be at least 1.", param=param)
    if not 0 <= (head.temperature or 0) <= 2:
        raise BadRequest("temperature must be from 0 to 2.", param="temperature")
    most = head.max_completion_tokens or head.max_tokens
    overrides = {"max_tokens": most, "temperature": head.temperature}
    whose = "" if person == OWNER else f"{person}:"  # what one's client makes up is not another's
    message = Inbound(
        channel="api",
        external_id=f"idem:{whose}{key}" if key else f"auto:{uuid7()}",
        text=texts[last],
        session=named(_extra(head, "session"), 200, "metadata.session", "main"),
        mark=mark,
        instructions=system,
        body_hash=hashlib.sha256(whose.encode() + body).hexdigest(),
        is_retry=headers.get(b"x-stainless-retry-count", "0") not in ("", "0"),
        overrides={name: value for name, value in overrides.items() if value is not None},
        person=person,
    )
    return message, files


def _extra(head: _Head, name: str) -> str:
    """A text in ``metadata``, where stead's own wishes stand in an OpenAI request."""
    value = (head.metadata or {}).get(name) or ""
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be text.", param=f"metadata.{name}")
    return value
