"""Vectors of texts, by the light service ``embed`` (docs/inference.md)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stead.memory.wire import EmbedAt
from stead.net.failed import HttpFailed
from stead.net.http import Client

_MOST_CHARS = 8000
"""Of a text; what comes after adds little to what it means."""


class EmbedFailed(Exception):
    """No vectors, and why."""


class _One(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_One]


class Embedder:
    """Asks one service."""

    def __init__(self, at: EmbedAt) -> None:
        self.at = at
        self._client = Client(at.url)

    async def vectors(
        self, texts: Sequence[str], *, query: bool, within_s: float
    ) -> list[list[float]]:
        """One for each text, of length 1. Raises ``EmbedFailed``."""
        asked = {
            "model": self.at.model,
            "input": [text[:_MOST_CHARS] or " " for text in texts],
            "input_type": "query" if query else "passage",
        }
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.at.key}",
        }
        try:
            answer = await self._client.request(
                "POST", "/embeddings", body=msgspec.json.encode(asked), headers=headers,
                timeout=within_s,
            )  # fmt: skip
        except (HttpFailed, OSError) as error:
            raise EmbedFailed(str(error)) from error
        if answer.status != 200:
            raise EmbedFailed(f"the service answered {answer.status}")
        try:
            data = msgspec.json.decode(answer.body, type=_Answer).data
        except msgspec.DecodeError as error:
            raise EmbedFailed(str(error)) from error
        rows = [one.embedding for one in sorted(data, key=lambda one: one.index)]
        if len(rows) != len(texts) or len({len(row) for row in rows}) > 1 or not rows[0]:
            raise EmbedFailed("the service answered with other vectors than it was asked for")
        return rows

    async def aclose(self) -> None:
        await self._client.aclose()
