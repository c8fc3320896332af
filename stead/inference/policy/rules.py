"""The rules of the house: which requests one is about, and what it does to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from stead.core.hours import Hours
from stead.inference.policy.rates import Rate
from stead.inference.seam import Asked, Who


class Then(StrEnum):
    """What a rule does."""

    BLOCK = "block"
    """Refuse it."""
    REDACT = "redact"
    """Black out what was found."""
    LOCAL = "local"
    """It never leaves the house."""
    LIMIT = "limit"
    """Nothing beyond its limits on size and rate."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Every condition that is given must hold; of those that hold all apply."""

    name: str
    then: Then
    keys: frozenset[str] = frozenset()
    """Whose: names of keys, ``owner``, ``jobs``; empty: everybody's."""
    unless_keys: frozenset[str] = frozenset()
    lanes: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    """As the client names them."""
    endpoints: frozenset[str] = frozenset()
    hours: Hours | None = None
    images: bool = False
    """Only what has images."""
    finds: tuple[str, ...] = ()
    """Kinds that a detector looks for: ``secrets``, ``personal``, or single ones."""
    words: tuple[str, ...] = ()
    """The owner's own list; found as whole words, whatever their case."""
    patterns: tuple[str, ...] = ()
    """Regular expressions of his."""
    rate: Rate = field(default_factory=Rate)
    """For all that it is about together."""
    max_body_kb: int = 0
    keep_bodies: bool = True
    why: str = ""
    """Told to who is refused."""

    @property
    def looks(self) -> bool:
        """Whether it depends on what is said."""
        return bool(self.finds or self.words or self.patterns)

    def names(self, model: str) -> bool:
        """Whether the lane that was named is one of its own (or it is about all of them)."""
        return not self.lanes or model in self.lanes

    def about(self, who: Who, asked: Asked) -> bool:
        """Whether all holds that can be told before it is known what is said, and in which lane
        it will go."""
        name = "jobs" if who.job_id is not None else who.name
        return (
            (not self.keys or name in self.keys)
            and name not in self.unless_keys
            and (not self.models or asked.model in self.models)
            and (not self.endpoints or asked.api.value in self.endpoints)
            and (not self.images or asked.images)
        )
