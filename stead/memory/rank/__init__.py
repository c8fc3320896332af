"""How what is remembered is found: terms of entries, the reading of a question, the order.

Pure functions: nothing here reads a file, a clock (but for a question that brings no time) or a
model. The index stores what :func:`columns` says, looks for what :func:`plan` says, and asks
:func:`order` for the order of what it found. It needs no embedding model and uses one where the
candidates bring likenesses.
"""

from __future__ import annotations

from collections.abc import Iterable

from stead.memory.nouns import Hit
from stead.memory.rank.asking import meant, plan
from stead.memory.rank.entries import COLUMNS, columns, passage
from stead.memory.rank.weigh import order

VERSION = "rank-1"
"""Raised with every change of the columns or of what is embedded: an index that was made with
another one is made anew."""

FITS_COSINE = 0.87
"""With E5-small and :func:`meant`, a likeness above this speaks for an answer by itself: the
nearest line of conversations that have nothing to do with a question reaches it once in fifty."""

TELLING = 0.8
"""An entry that has so much of what a question's words are worth (``share``) is most likely about
it: such questions are answered hardly better with meanings (decision 36)."""


def telling(hits: Iterable[Hit]) -> bool:
    """Whether words alone have found what a question is about."""
    return any(hit.signals.get("share", 0.0) >= TELLING for hit in hits)


__all__ = [
    "COLUMNS", "FITS_COSINE", "TELLING", "VERSION", "columns", "meant", "order", "passage", "plan",
    "telling",
]  # fmt: skip
