"""The index over what is remembered: disposable, made anew from the files whenever it is missing.

What an index is to whoever uses one is :class:`Index`; :mod:`stead.memory.index.sqlite` is the one
of a home directory, a file that SQLite keeps. Another one (PostgreSQL) has to stand the same tests
(``tests/contract/test_memory_index.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stead.memory.nouns import Entry, Found, Question

Progress = Callable[[int, int], None]
"""Entries done so far, and about how many there will be (0: nobody knows)."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a look at the files has changed in the index."""

    files: int = 0
    """How many were read, because they had changed or were new."""
    added: int = 0
    removed: int = 0
    total: int = 0
    """Entries that the index now holds."""
    rebuilt: bool = False
    stale: str = ""
    """Why the index may not have all that the files have, in words; empty: it has."""
    took_ms: float = 0.0


class Index(Protocol):
    """Finds what is remembered. May be used from several threads.

    Nothing here raises because of a file that cannot be read, a full disk or a damaged index: what
    there is goes on being found, and ``stale`` says what is the matter.
    """

    def meant(self, question: Question) -> str:
        """What of a question is to be compared in meaning."""
        ...

    def search(self, question: Question, vector: Sequence[float] | None = None) -> Found:
        """What fits a question, best first. ``vector``: its meaning, where that is known."""
        ...

    def entries(self, keys: Sequence[str]) -> list[Entry]:
        """Those of these keys that there still are, in this order."""
        ...

    def refresh(self) -> Report:
        """Look at the files, and take in what has changed. Waits for another that does so."""
        ...

    def rebuild(self, progress: Progress = lambda done, total: None) -> Report:
        """Make the whole index anew beside the old one, and put it in its place when it is whole.
        Nothing of the old file is left."""
        ...

    def stats(self) -> dict[str, Any]:
        """How it is: ``entries``, ``by_layer``, ``files``, ``bytes``, ``stale``, ``troubles``..."""
        ...

    def model(self) -> str:
        """The name of the model whose vectors it holds; empty: it holds none."""
        ...

    def use_model(self, name: str) -> None:
        """Vectors come from this model from now on; those of another are thrown away."""
        ...

    def without_meaning(self, limit: int) -> list[tuple[int, str]]:
        """Texts that have no vector yet, each with its number."""
        ...

    def add_meanings(self, model: str, rows: Sequence[tuple[int, Sequence[float]]]) -> None:
        """Vectors of texts by their numbers, by the model in use; another's are passed over."""
        ...

    def close(self) -> None: ...
