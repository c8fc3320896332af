"""What every call has the use of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stead.core.errors import SteadError
from stead.inference.plane.light import Light
from stead.inference.plane.local import Local
from stead.inference.plane.tokenizers import Tokenizers
from stead.inference.plane.upstreams import Upstreams
from stead.inference.seam import Api, Asked, Book, Policy, Record, Routing, Translator

#: Makes the translator for a request whose backend is asked in another shape.
Translators = Callable[[Asked, Api], Translator]


class Running(Protocol):
    """A call that is being answered by a task."""

    record: Record

    def cut(self, error: SteadError) -> None: ...


@dataclass(slots=True)
class Parts:
    """The parts of the door around the calls."""

    policy: Policy
    routing: Routing
    book: Book
    local: Local
    light: Light
    upstreams: Upstreams
    tokenizers: Tokenizers
    translator: Translators
    alive_s: float
    """After so much silence an empty comment shows a job that we live."""
    running: set[Running] = field(default_factory=set)
