"""The graph of a home, with what it needs of other rooms."""

from __future__ import annotations

from pathlib import Path

from stead.core.home import prepare
from stead.memory.files.masking import Masking
from stead.memory.graph import Fact, Graph

__all__ = ["Fact", "Graph", "graph_of"]


def graph_of(home: Path, by: str = "owner") -> Graph:
    """The graph of a home; secrets are masked before anything is written into it."""
    prepare(home)
    return Graph(home, mask=Masking(home / "secrets"), by=by)
