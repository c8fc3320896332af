"""How many tokens a request would have, told by the server of its model where that can tell."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TypeVar

from stead.core.errors import BackendFailed
from stead.inference.apis import count
from stead.inference.backends import Backend, BackendModel
from stead.inference.plane.upstreams import Upstreams
from stead.net.http import HttpFailed

log = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT_S = 10.0
#: A server that cannot say is not asked again for so long, in seconds.
_NOT_AGAIN_S = 600.0
#: As a server says that it has no such path. LM Studio says 200, and it is no count that follows.
_NO_PATH = frozenset({200, 404, 405, 501})


class _Untold(Exception):
    """It did not tell."""


class Tokenizers:
    """Asks them; only those in the house, where what is said would go anyway and costs nothing."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._cannot: dict[tuple[str, str], float] = {}

    async def count(self, backend: Backend | None, model: BackendModel, body: bytes) -> bytes:
        """The answer of ``/v1/messages/count_tokens``; ``backend`` None: it is not there now.

        Raises ``BadRequest`` for a request that could not be sent to such a model either.
        """
        chat = count.request(body, model.name)
        if backend is not None and backend.kind == "openai" and backend.keeps(model):
            with contextlib.suppress(_Untold):
                prompt = await self._told(backend, "/apply-template", chat, count.prompt)
                return count.answer(await self._tokens(backend, model, prompt))
            with contextlib.suppress(_Untold):
                text, around = count.text(body)
                tokens = await self._tokens(backend, model, text) + around
                return count.answer(tokens, "its tokens, without its template")
        return count.answer(count.estimate(body), "its letters")

    async def _tokens(self, backend: Backend, model: BackendModel, text: str) -> int:
        asked = count.question(text, model.name)
        return await self._told(backend, "/tokenize", asked, count.told)

    async def _told(
        self, backend: Backend, path: str, body: bytes, read: Callable[[bytes], T]
    ) -> T:
        """What ``read`` finds in the answer. Raises ``_Untold``."""
        place = (backend.place, path)
        if monotonic() < self._cannot.get(place, 0.0):
            raise _Untold
        # These are no part of OpenAI's API, so they stand beside it.
        root = replace(backend, url=backend.url.removesuffix("/v1"))
        status = 0
        try:
            answer = await self._upstreams.client(root).request(
                "POST", path, body=body, timeout=_TIMEOUT_S,
                headers={"content-type": "application/json", **root.auth()},
            )  # fmt: skip
            status = answer.status
            if status == 200:
                return read(answer.body)
        except (BackendFailed, HttpFailed, ValueError) as error:
            log.info("%s did not count tokens: %s", backend.name, error)
        if status in _NO_PATH:
            self._cannot[place] = monotonic() + _NOT_AGAIN_S
        raise _Untold
