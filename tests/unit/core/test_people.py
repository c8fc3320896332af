"""Whose a conversation is: said by its id alone."""

from __future__ import annotations

import pytest

from stead.core.ids import uuid7
from stead.core.people import OWNER, inside, is_person_name, outside, person_of
from stead.core.recall import OFF_THE_RECORD, is_off_the_record

_NAMES = ("main", "", "a:b", "person:x", "off-the-record:abc", "Ünïcode / %", "x" * 150)


@pytest.mark.parametrize("name", _NAMES)
def test_a_conversation_is_one_persons(name: str) -> None:
    """What a person calls so is no conversation of anybody else, is known to be theirs, and is
    called by them as before; being off the record stays what it is."""
    anna, bert = uuid7(), uuid7()
    kept = inside(anna, name)
    assert person_of(kept) == anna and outside(kept) == name
    assert is_off_the_record(kept) == name.startswith(OFF_THE_RECORD)
    assert len({kept, inside(bert, name), inside(OWNER, name)}) == 3
    assert inside(OWNER, name) == name == outside(name) or person_of(name) != OWNER


def test_no_conversation_and_the_owners_are_his() -> None:
    """A house with the owner alone never sees the names of others' conversations."""
    for session in (None, "", "main", "personal", f"{OFF_THE_RECORD}abc", "x:person:y"):
        assert person_of(session) == OWNER


def test_what_only_looks_like_a_persons_is_nobodys() -> None:
    """A made-up id in a conversation's name opens no door: it is not the owner's, and no person
    has such an id."""
    for session in ("person:", "person:owner:main", f"person:{'a' * 35}:x", f"person:{uuid7()}x:y"):
        assert person_of(session) == "nobody"


def test_names_that_commands_and_rules_can_hold() -> None:
    """Short, plain, and none that means something else."""
    assert all(map(is_person_name, ("anna", "anna-b", "a", "0x", "a.b_c", "a" * 63)))
    wrong = ("", "Anna", "owner", "jobs", "-a", "a b", "a*", "a" * 64, "ä", "a\n", "nobody")
    assert not any(map(is_person_name, wrong))
