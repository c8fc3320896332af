"""Who may talk with this stead: the owner, and people besides him (family, a guest).

Whose a conversation is stands in its id, so that no look into the record can mix two people's:
the owner's are called as he calls them (``main``), those of another person are kept under
``person:ID:`` and are called without that wherever the person sees them. Nothing else marks a
message or a job, so a house with an owner alone works and costs as if there were no people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from stead.core.recall import OFF_THE_RECORD
from stead.core.scope import KeyScope

OWNER = "owner"
"""The id and the name of the owner, who is always there."""

OTHERS = "person:"
"""So begins the id of each conversation that is not the owner's (behind ``off-the-record:``, where
that is so)."""

MEMBER_TOOLS = ("clock", "web_search", "web_fetch", "read_output")
"""What the job of somebody else than the owner may use where nothing else was said: tools that
read nothing of the owner's, and change nothing."""

RESERVED = frozenset({OWNER, "job", "jobs", "all", "any", "none", "nobody", "stead"})
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_ID = re.compile(r"[0-9a-f-]{36}")


def is_person_name(text: str) -> bool:
    """Whether somebody besides the owner can be named so in commands and rules."""
    return _NAME.fullmatch(text) is not None and text not in RESERVED


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may talk with this stead."""

    id: str
    """``owner``, or a UUIDv7."""
    name: str
    """By which commands and rules know the person; of those who are there each has another."""
    called: str
    """As the person is addressed and shown, in any words."""
    scope: KeyScope
    """What models the person's jobs and requests may use, how fast, for how much, until when. Its
    ``chat``: the chat reserve, which is the owner's, may be used."""
    tools: tuple[str, ...]
    """Names of tools (with ``*``) that the person's jobs may use; empty: those of which nothing
    of the owner's can be read or changed."""
    created_at: int
    removed_at: int = 0
    """0: is there."""

    @property
    def is_owner(self) -> bool:
        return self.id == OWNER


class PersonStore(Protocol):
    """People. The owner is one from the beginning, with the id ``owner``; who was removed stays
    known by the id, and the name may be given again (to another id)."""

    async def add_person(
        self, name: str, called: str, scope: KeyScope, tools: tuple[str, ...] = ()
    ) -> Person:
        """Raises ``BadRequest`` if somebody who is there has that name."""
        ...

    async def people(self) -> list[Person]:
        """All of them: the owner, the others by name, and last who was removed."""
        ...

    async def person(self, ident: str) -> Person:
        """By id or by name, of those who are there. Raises ``NotFound``."""
        ...

    async def set_person(
        self, ident: str, *, name: str | None = None, called: str | None = None,
        scope: KeyScope | None = None, tools: tuple[str, ...] | None = None,
    ) -> Person:  # fmt: skip
        """Change what is given, of one who is there. Raises ``NotFound``; ``BadRequest`` for a
        name that another has, and for anything but ``called`` of the owner."""
        ...

    async def remove_person(self, ident: str) -> Person:
        """Raises ``NotFound``, and ``BadRequest`` for the owner."""
        ...


# --- whose a conversation is ---------------------------------------------------------------


def person_of(session: str | None) -> str:
    """The id of the person whose conversation it is; no conversation is the owner's."""
    if session is None:
        return OWNER
    at = session.removeprefix(OFF_THE_RECORD)
    if not at.startswith(OTHERS):
        return OWNER
    ident = at[len(OTHERS) :].partition(":")[0]
    return ident if _ID.fullmatch(ident) else "nobody"


def inside(person: str, session: str) -> str:
    """The id of the conversation that a person calls so. Of the owner's it is the same."""
    if person == OWNER:
        return session
    if session.startswith(OFF_THE_RECORD):
        return f"{OFF_THE_RECORD}{OTHERS}{person}:{session[len(OFF_THE_RECORD) :]}"
    return f"{OTHERS}{person}:{session}"


def outside(session: str) -> str:
    """As the person whose conversation it is calls it: :func:`inside` undone."""
    if person_of(session) == OWNER:
        return session
    off = OFF_THE_RECORD if session.startswith(OFF_THE_RECORD) else ""
    return off + session[len(off) + len(OTHERS) :].partition(":")[2]
