"""What the review is made of: read by the gateway when one is due or asked about, not before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stead.core.nouns import ModelProfile
from stead.core.ports import ModelClient
from stead.memory import uses
from stead.memory.files.masking import Masking
from stead.memory.files.read import entries_of
from stead.memory.review.facts import GraphFacts
from stead.memory.review.nouns import Tell, Terms
from stead.memory.review.service import Means, Review
from stead.memory.review.shelf import FileShelf


def make(
    home: Path, *, client: ModelClient, profile: Callable[[], ModelProfile],
    terms: Callable[[], Terms], at: Callable[[], str], ready: Callable[[], str], tell: Tell,
) -> Review:  # fmt: skip
    """The review of a home."""
    masking = Masking(home / "secrets")
    means = Means(
        client=client, profile=profile, terms=terms, at=at, entries=entries_of, tell=tell,
        ready=ready, mask=masking, facts=GraphFacts(home, masking),
        used=lambda: uses.read(home / uses.PATH),
    )  # fmt: skip
    return Review(home, lambda: FileShelf(home), means)
