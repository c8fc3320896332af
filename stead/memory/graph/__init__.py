"""What is known of people, projects, places, things: a journal of operations, and its state.

Importing it takes apsw and msgspec; the gateway does not, at start.
"""

from stead.memory.graph.entries import entries
from stead.memory.graph.graph import Graph
from stead.memory.graph.nouns import (
    AmbiguousName,
    BadOperation,
    Done,
    Edge,
    Entity,
    Fact,
    JournalUnusable,
    Match,
    Operation,
    Pair,
    UnknownName,
    Version,
)

__all__ = [
    "AmbiguousName",
    "BadOperation",
    "Done",
    "Edge",
    "Entity",
    "Fact",
    "Graph",
    "JournalUnusable",
    "Match",
    "Operation",
    "Pair",
    "UnknownName",
    "Version",
    "entries",
]
