"""How what is remembered is found: terms of entries, the reading of a question, the order.

Pure functions: nothing here reads a file, a clock (but for a question that brings no time) or a
model. The index stores what :func:`columns` says, looks for what :func:`plan` says, and asks
:func:`order` for the order of what it found. It needs no embedding model and uses one where the
candidates bring likenesses.
"""

from __future__ import annotations

from stead.memory.rank.asking import meant, plan
from stead.memory.rank.entries import COLUMNS, columns, passage
from stead.memory.rank.weigh import order

VERSION = "rank-1"
"""Raised with every change of the columns or of what is embedded: an index that was made with
another one is made anew."""

FITS_COSINE = 0.87
"""With E5-small and :func:`meant`, a likeness above this speaks for an answer by itself: the
nearest line of conversations that have nothing to do with a question reaches it once in fifty."""

__all__ = ["COLUMNS", "FITS_COSINE", "VERSION", "columns", "meant", "order", "passage", "plan"]
