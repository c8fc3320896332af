"""Blacks out of bodies what the owner wants nowhere on a disk, before they are kept.

The looking is done by the detector of the house's rules, in a process of its own. What cannot be
looked at is not kept: a body that may hold a secret is worth less than the secret.
"""

from __future__ import annotations

import logging

import msgspec

from stead.core.errors import NoGuard, SteadError
from stead.inference.audit.words import words
from stead.inference.policy.guard import Guard
from stead.inference.policy.rules import Rule, Then

log = logging.getLogger(__name__)

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


class _Words(msgspec.Struct):
    text: str


class Redactor:
    """``finds``: kinds that a detector looks for; ``lists`` and ``patterns``: the owner's own."""

    def __init__(
        self, finds: tuple[str, ...], lists: tuple[str, ...] = (), patterns: tuple[str, ...] = ()
    ) -> None:
        self._rule = Rule("audit", Then.REDACT, finds=finds, words=lists, patterns=patterns)
        self._guard = Guard([self._rule])
        self.trouble = ""
        """Why nothing can be looked at, in words; empty when all is well."""

    async def __call__(self, body: bytes, type_: str) -> tuple[bytes, str] | None:
        """As :data:`~stead.inference.audit.bodies.Redact` has it. Of a stream of events only the
        words are given back: what is secret may lie over several events."""
        try:
            if type_.startswith("text/event-stream"):
                return await self._text(words(body, type_))
            if "json" in type_ or not type_:
                return await self._looked(body, _JSON), type_
            if type_.startswith("text/"):
                return await self._text(body.decode("utf-8", "replace"))
            return await self._looked(body, type_), type_
        except NoGuard:
            self._say(
                "the detector of secrets is not installed: `pip install 'stead[guard]'`, or say"
                " redact = false under [audit] in stead.toml"
            )
        except SteadError as error:
            self._say(error.message)
        return None

    async def _looked(self, body: bytes, type_: str) -> bytes:
        found = await self._guard.look(body, type_, [self._rule])
        self._say("")
        return body if found.body is None else found.body

    async def _text(self, text: str) -> tuple[bytes, str]:
        clean = await self._looked(msgspec.json.encode(_Words(text)), _JSON)
        return msgspec.json.decode(clean, type=_Words).text.encode(), _TEXT

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.warning("bodies are not kept: %s", trouble)
        self.trouble = trouble

    async def aclose(self) -> None:
        """End the process that looks."""
        await self._guard.aclose()
