"""Speaking with stead: what was recorded as words, and words as sound, by the light services (or
whatever the lanes ``transcription`` and ``speech`` name)."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest, SteadError
from stead.core.people import OWNER
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, read_body
from stead.gateway.people import asker, key_of
from stead.inference.door import Door
from stead.inference.seam import Api, Who

_MOST_CHARS = 4000
"""Of what is read aloud in one go."""


class _Words(msgspec.Struct):
    text: str
    voice: str = ""


class Voice:
    """``/api/v1/voice``."""

    def __init__(self, door: Door, keys: Keys, *, max_body: int) -> None:
        self._door = door
        self._keys = keys
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/voice",
                self._get,
                "GET",
                about="Whether stead can be spoken to here, and whether it can speak",
                members=True,
            ),
            route(
                "/voice/words",
                self._words,
                "POST",
                about="The words of a recording: the body as it is (WAV, Ogg, MP3, ...)",
                members=True,
            ),
            route(
                "/voice/sound",
                self._sound,
                "POST",
                about="A text as it is spoken (WAV)",
                takes=_Words,
                members=True,
            ),
        ]

    async def _get(self, request: Request) -> Response:
        there = {str(one["id"]) for one in self._door.models()}
        return Json({"listens": "transcription" in there, "speaks": "speech" in there})

    async def _words(self, request: Request) -> Response:
        sound = await read_body(request.scope, request.receive, self._max_body)
        if not sound:
            raise BadRequest("The recording is empty.")
        mark = secrets.token_hex(16)
        body = b"".join((
            f"--{mark}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n".encode(),
            b"transcription\r\n",
            f"--{mark}\r\ncontent-disposition: form-data; name=\"file\";".encode(),
            b" filename=\"recording\"\r\ncontent-type: application/octet-stream\r\n\r\n",
            sound,
            f"\r\n--{mark}--\r\n".encode(),
        ))  # fmt: skip
        _, told = await self._ask(
            request, Api.TRANSCRIPTIONS, body, f"multipart/form-data; boundary={mark}"
        )
        words: Any = msgspec.json.decode(told)
        return Json({"text": str(words.get("text", "")).strip()})

    async def _sound(self, request: Request) -> Response:
        wanted = decode(await read_body(request.scope, request.receive, self._max_body), _Words)
        if not wanted.text.strip():
            raise BadRequest("There is nothing to be said.", param="text")
        body = {"model": "speech", "input": wanted.text[:_MOST_CHARS], "response_format": "wav"}
        asked = {**body, "voice": wanted.voice} if wanted.voice else body
        kind, sound = await self._ask(
            request, Api.SPEECH, msgspec.json.encode(asked), "application/json"
        )
        return Response(sound, media_type=kind, headers={"cache-control": "no-store"})

    async def _ask(self, request: Request, api: Api, body: bytes, kind: str) -> tuple[str, bytes]:
        """The answer, with its type. Raises ``SteadError``."""
        person = asker(request)
        who = Who("owner") if person == OWNER else Who(person, key_of(person))
        answer = await self._door.ask(api, who, body, kind)
        try:
            told = b"".join([piece async for piece in answer.body])
        finally:
            await answer.aclose()
        if answer.status != 200:
            error = SteadError(_why(told) or f"The service answered {answer.status}.")
            error.status = answer.status if answer.status >= 400 else 502
            raise error
        return dict(answer.headers).get("content-type", "application/octet-stream"), told


def _why(told: bytes) -> str:
    try:
        return str(msgspec.json.decode(told)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
