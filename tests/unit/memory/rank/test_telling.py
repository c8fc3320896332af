"""When words alone are enough."""

from __future__ import annotations

from stead.memory.nouns import Entry, Hit, Layer
from stead.memory.rank import telling


def _hit(share: float) -> Hit:
    entry = Entry("k", Layer.CARD, "memory/cards/a.md", (1, 1), "a text")
    return Hit(entry, 1.0, {"share": share})


def test_words_are_enough_where_one_entry_has_most_of_them() -> None:
    """One entry that has nearly all of a question's words; not many that have some of them."""
    assert telling([_hit(0.2), _hit(0.9)])
    assert not telling([_hit(0.5), _hit(0.6), _hit(0.5)])
    assert not telling([])
