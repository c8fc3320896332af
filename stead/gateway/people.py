"""The people of the house as requests need them: in memory, as they were at the last look."""

from __future__ import annotations

import time
from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import Scope

from stead.core.errors import Forbidden, NotFound
from stead.core.people import OTHERS, OWNER, Person, outside, person_of
from stead.core.scope import KeyScope
from stead.core.storage import View

HEADER = b"x-stead-person"
"""With the owner's key: the id or the name of the person a request is made for."""

_FOUND = "stead.person"


def key_of(person: str) -> str:
    """What stands in the place of a program's key in the audit and the sums of money."""
    return f"{OTHERS}{person}"


def named_in(scope: Scope) -> str:
    """Whom a request is made for, as its header has it; empty: it has none."""
    for name, value in scope["headers"]:
        if name == HEADER:
            return str(value.decode("latin-1").strip())
    return ""


def asker(request: Request) -> str:
    """The id of who asks; the owner's where nobody else is named. For handlers of a route that
    lets others than the owner in."""
    return str(request.scope.get(_FOUND, OWNER))


def note(scope: Scope, person: str) -> None:
    """For :func:`asker`."""
    scope[_FOUND] = person


class People:
    """Who is there."""

    def __init__(self) -> None:
        self._by_id: dict[str, Person] = {}
        self._by_name: dict[str, Person] = {}
        self._gone: dict[str, str] = {}

    def hold(self, rows: Iterable[Person]) -> None:
        """Take them as they are now."""
        rows = tuple(rows)
        here = [row for row in rows if not row.removed_at]
        self._by_id = {row.id: row for row in here}
        self._by_name = {row.name: row for row in here}
        self._gone = {row.id: row.called for row in rows if row.removed_at}

    def of(self, ident: str) -> Person | None:
        """By id; None: there is nobody (any more)."""
        return self._by_id.get(ident)

    def named(self, ident: str) -> Person:
        """By id or name. Raises ``NotFound``; ``Forbidden`` where their time is up."""
        found = self._by_id.get(ident) or self._by_name.get(ident)
        if found is None:
            raise NotFound(what=f"person {ident[:80]!r}")
        until = found.scope.expires_at
        if until and time.time() * 1000 >= until:
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(until / 1000))
            raise Forbidden(
                why=f"{found.called} was let in until {day}. The owner can give more time:"
                f" `stead person change {found.name} --expires 30d`"
            )
        return found

    def called(self, ident: str) -> str:
        """As somebody is called, also who is not there any more."""
        found = self._by_id.get(ident)
        if found is not None:
            return found.called
        return self._gone.get(ident) or f"person {ident[-8:]}"

    def told(self, view: View, asker: str) -> View:
        """A job or message as it is told to who asks: with the name of whose it is, and its
        conversation called as that person calls it where it is their own."""
        session = view.get("session")
        person = person_of(session)
        known = self._by_id.get(person)
        name = known.name if known is not None else person
        mine = {"session": outside(session)} if session and person == asker else {}
        return {**view, **mine, "person": name}

    def scopes(self) -> dict[str, KeyScope]:
        """What the others than the owner may use, as keys have it."""
        return {key_of(row.id): row.scope for row in self._by_id.values() if not row.is_owner}

    def names(self) -> dict[str, str]:
        """Their names, by what stands in the place of a key."""
        return {key_of(row.id): row.name for row in self._by_id.values() if not row.is_owner}
