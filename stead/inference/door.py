"""The model door for who is in the gateway's process: every model call goes through the plane.

(Programs and nodes come by HTTP: :mod:`stead.gateway.front`.)
"""

from __future__ import annotations

from typing import Protocol

from stead.core.nouns import ModelProfile
from stead.core.ports import Caller
from stead.inference.plane.outlet import DoorAnswer, Pipe
from stead.inference.plane.plane import Plane
from stead.inference.seam import Api, Who

__all__ = ["Door", "DoorAnswer"]


class Names(Protocol):
    """What there is to be asked, by name."""

    def entries(self) -> list[dict[str, object]]: ...

    def profile(self, name: str, /) -> ModelProfile: ...


class Door:
    """The door of one house."""

    def __init__(self, names: Names, plane: Plane) -> None:
        self.plane = plane
        self._names = names

    async def chat(self, body: bytes, caller: Caller) -> DoorAnswer:
        """Answer ``POST /v1/chat/completions``.

        Raises a :class:`~stead.core.errors.SteadError` before the first byte.
        The answer must be iterated to its end or closed with ``aclose()``: that
        cuts the call at the backend and books what it used.
        """
        who = Who(caller.name, "", caller.job_id, caller.lane)
        record = self.plane.read(Api.CHAT, who, body)
        return await (pipe := Pipe()).answer(self.plane.answer(record, pipe))

    async def ask(self, api: Api, who: Who, body: bytes, content_type: str) -> DoorAnswer:
        """Answer a request of any shape; as :meth:`chat`."""
        record = self.plane.read(api, who, body, content_type)
        return await (pipe := Pipe()).answer(self.plane.answer(record, pipe))

    def models(self) -> list[dict[str, object]]:
        """The entries of ``/v1/models``."""
        return self._names.entries()

    def profile(self, role_or_name: str) -> ModelProfile:
        """How to talk to the model that plays a role (``main``, ``light``) or has a name."""
        return self._names.profile(role_or_name)

    async def aclose(self) -> None:
        """Close the idle connections to all backends."""
        await self.plane.aclose()
