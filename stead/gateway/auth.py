"""Who is at the door: the owner, a node, a program, or a job with its short-lived key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.core.errors import Forbidden, WrongKey
from stead.core.keys import PREFIX
from stead.core.people import OWNER, PersonStore
from stead.core.ports import Caller
from stead.core.scope import KeyRow, KeyScope, KeyStore
from stead.core.states import Lane
from stead.core.storage import NodeRow, NodeStore
from stead.gateway.http import Endpoint, Handler
from stead.gateway.openapi import DescribedRoute, Told
from stead.gateway.people import People, key_of, named_in, note
from stead.inference.seam import Who


def hash_key(key: str) -> str:
    """How a key is stored. Keys carry 256 random bits, so one SHA-256 is enough."""
    return hashlib.sha256(key.encode()).hexdigest()


def bearer(scope: Scope) -> str:
    """The key of a request: ``Authorization: Bearer`` or ``x-api-key``; empty if it has none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, key = value.decode("latin-1").partition(" ")
            return str(key.strip()) if kind.lower() == "bearer" else ""
        if name == b"x-api-key":
            return str(value.decode("latin-1").strip())
    return ""


_NO_KEY = "A key is needed: send `Authorization: Bearer KEY`. `stead key` prints yours."
_OWNER = Who("owner")


class _Rows(NodeStore, KeyStore, PersonStore, Protocol):
    """Where keys are kept."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A key that was right, and what it was held against."""

    who: Who
    keys: object
    """The keys of programs, as they were; others are another object."""
    expires_at: int
    """In milliseconds since 1970; 0: never."""


class Keys:
    """Checks keys in constant time. A wrong key learns nothing but that it is wrong.

    A key that is looked up is found by its hash, so how long that takes tells nothing of the keys
    there are. Those of programs are held in memory, as they were at the last :meth:`refresh`.
    """

    def __init__(
        self,
        owner_key: str,
        secret: bytes,
        rows: _Rows,
        lives: Callable[[str, int], bool],
    ) -> None:
        self._owner = hash_key(owner_key)
        self._secret = secret
        self._rows = rows
        self._lives = lives
        self._known: dict[str, NodeRow] = {}
        self._programs: dict[str, tuple[KeyRow, Who]] = {}
        self._scopes: dict[str, KeyScope] = {}
        self.people = People()
        """As they were at the last :meth:`refresh`, too."""
        self._refreshing = asyncio.Lock()
        self.when_revoked: list[Callable[[str], None]] = []
        """Told the id of each key of a program that holds no more."""

    def owner(self, scope: Scope) -> None:
        """Raises ``WrongKey`` unless the owner's key was shown, and ``Forbidden`` where it is
        shown for somebody else: what does not say otherwise is the owner's alone."""
        if self.asker(scope) != OWNER:
            raise Forbidden(why="this is for the owner of the house alone")

    def asker(self, scope: Scope) -> str:
        """The id of the person that a request with the owner's key is made for: his own, where
        nobody else is named (``X-Stead-Person``). Raises ``WrongKey``, ``NotFound``, ``Forbidden``.
        """
        key = bearer(scope)
        if not key:
            raise WrongKey(_NO_KEY)
        if not hmac.compare_digest(hash_key(key), self._owner):
            raise WrongKey
        named = named_in(scope)
        return self.people.named(named).id if named else OWNER

    def owner_route(
        self,
        path: str,
        work: Handler,
        method: str,
        *,
        about: str,
        takes: type | None = None,
        asks: Mapping[str, type] | None = None,
        members: bool = False,
    ) -> Route:
        """``/api/v1...`` for the owner: nothing is read before the key is right. ``members``: also
        for other people of the house, each for what is theirs (:func:`stead.gateway.people.asker`
        tells the handler who it is).

        ``about``, ``takes`` (the body) and ``asks`` (the query) are what the OpenAPI document
        says of it.
        """

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if members:
                note(scope, self.asker(scope))
            else:
                self.owner(scope)
            response = await work(Request(scope, receive))
            await response(scope, receive, send)

        told = Told(about, takes, asks or {})
        return DescribedRoute(f"/api/v1{path}", Endpoint(app), methods=[method], told=told)

    def known_node(self, scope: Scope) -> NodeRow | None:
        """The node whose key was shown, if it was shown before."""
        return self._known.get(hash_key(bearer(scope)))

    async def node(self, scope: Scope) -> NodeRow:
        """The node whose key was shown; raises ``WrongKey``."""
        hashed = hash_key(bearer(scope))
        known = self._known.get(hashed)
        if known is None:
            asked = self._known
            known = await self._rows.node_by_key(hashed)
            if known is None:
                raise WrongKey("That node key is not known here, or was revoked.")
            asked[hashed] = known  # lost if nodes were forgotten meanwhile: it may be revoked
        return known

    def forget_nodes(self) -> None:
        """After a node was added or revoked, look again."""
        self._known = {}

    def job_key(self, job_id: str, epoch: int, lane: str, person: str = OWNER) -> str:
        """A key that opens the model door while this epoch of the job lives. ``person``: the id of
        who asked for the job."""
        body = f"{job_id}_{epoch}_{lane}" + (f"_{person}" if person != OWNER else "")
        return f"{PREFIX['job']}{body}_{self._mac(body)}"

    async def refresh(self) -> None:
        """Take the keys of programs as the store has them now. What was revoked ends with it."""
        async with self._refreshing:  # one after the other, or an older look could come last
            held = [row for row in await self._rows.keys() if not row.revoked_at]
            self.people.hold(await self._rows.people())
            before = self._scopes
            self._programs = {row.key_hash: (row, _who(row)) for row in held}
            self._scopes = {row.id: row.scope for row in held} | self.people.scopes()
            for key_id in before.keys() - self._scopes.keys():
                for tell in self.when_revoked:
                    tell(key_id)

    def names(self) -> dict[str, str]:
        """The names of the keys of programs that hold, and of people, by id."""
        return {row.id: row.name for row, _ in self._programs.values()} | self.people.names()

    def scope(self, key_id: str) -> KeyScope | None:
        """What a program's key is for, or a person may; None: it does not hold (any more)."""
        return self._scopes.get(key_id)

    def who(self, key: str) -> Who:
        """Whose key that is, of those that open the model door.

        Raises ``WrongKey``; ``Forbidden`` for a job that is over.
        """
        if key.startswith(PREFIX["job"]):
            return self._job(key)
        if not key:
            raise WrongKey(_NO_KEY)
        hashed = hash_key(key)
        if hmac.compare_digest(hashed, self._owner):
            return _OWNER
        found = self._programs.get(hashed)
        if found is None:
            raise WrongKey
        row, who = found
        expires_at = row.scope.expires_at
        if expires_at and time.time() * 1000 >= expires_at:
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(expires_at / 1000))
            raise WrongKey(
                f"The key {row.name} was for use until {day}. Its owner can give it more time:"
                f" `stead key set {row.name} --expires 30d`."
            )
        return who

    def asks(self, scope: Scope) -> Who:
        """Whose request that is: by its key (raises as :meth:`who`) and, with the owner's, by the
        person it is made for."""
        who = self.who(bearer(scope))
        named = named_in(scope)
        if not named:
            return who
        if who is not _OWNER:
            raise Forbidden(why="only with the owner's key a request can be made for somebody else")
        person = self.people.named(named)
        return who if person.is_owner else Who(person.name, key_of(person.id))

    def shown(self, scope: Scope) -> Shown | None:
        """A request's key that is right (raises as :meth:`asks`), so that it need not be looked up
        again; None for a job's, which may be over at any time."""
        who = self.asks(scope)
        if who.job_id is not None:
            return None
        found = self._scopes.get(who.key_id)
        return Shown(who, self._programs, found.expires_at if found is not None else 0)

    def holds(self, shown: Shown) -> bool:
        """Whether that key is right still: no key was changed or taken back, its time is not up."""
        if shown.keys is not self._programs:
            return False
        return not shown.expires_at or time.time() * 1000 < shown.expires_at

    def caller(self, scope: Scope) -> Caller:
        """The owner or a job. Raises ``WrongKey``; ``Forbidden`` for a job that is over."""
        key = bearer(scope)
        if not key.startswith(PREFIX["job"]):
            self.owner(scope)
            return Caller("owner")
        who = self._job(key)
        return Caller(who.name, who.job_id, who.lane)

    def _job(self, key: str) -> Who:
        body, _, mac = key[len(PREFIX["job"]) :].rpartition("_")
        # As bytes: of text that is not ASCII compare_digest will not hear.
        if not hmac.compare_digest(self._mac(body).encode(), mac.encode()):
            raise WrongKey
        job_id, epoch, lane, *person = body.split("_")
        if not self._lives(job_id, int(epoch)):
            raise Forbidden(why="the job it belongs to is over, or has another owner by now")
        if not person:
            return Who("job", job_id=job_id, lane=lane)
        known = self.people.of(person[0])
        name = known.name if known is not None else "nobody"
        return Who(name, key_of(person[0]), job_id=job_id, lane=lane)

    def _mac(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), hashlib.sha256).hexdigest()[:40]


def _who(row: KeyRow) -> Who:
    lane = Lane.CHAT if row.scope.chat else Lane.BACKGROUND
    return Who(row.name, row.id, lane=lane.value)
