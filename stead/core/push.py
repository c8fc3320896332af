"""Web push: the browsers that want to be told, and what they are told of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Subscription:
    """A browser that wants to be told, as https://www.w3.org/TR/push-api/ has it."""

    id: str
    person: str
    device: str
    """The signed-in browser's id; empty where a key was shown."""
    endpoint: str
    """The address at the browser's push service: who knows it can bother its owner."""
    p256dh: str
    """The browser's public key (an uncompressed point on P-256), base64url."""
    auth: str
    """16 bytes that the browser shares with us, base64url."""
    created_at: int
    told_at: int = 0
    """When its service last took something (ms); 0: never."""


@dataclass(frozen=True, slots=True)
class Word:
    """Something that was said by stead: an answer, or a notice."""

    seq: int
    session: str
    role: str
    channel: str
    text: str
    """Its beginning."""
    at: int
    question: bool
    """Whether a job waits for the owner's word on it."""


class PushStore(Protocol):
    """Browsers that want to be told."""

    async def subscribe(
        self, person: str, device: str, endpoint: str, p256dh: str, auth: str
    ) -> Subscription:
        """Keep a browser's subscription. The same endpoint anew takes the place of the old one:
        a browser gives out one at a time, whoever is signed in there."""
        ...

    async def subscriptions(self) -> list[Subscription]:
        """All of people who are there, oldest first."""
        ...

    async def unsubscribe(self, person: str, ident: str) -> None:
        """Raises ``NotFound`` if the person has no such subscription."""
        ...

    async def subscription_told(self, ident: str, *, gone: bool) -> None:
        """Its service took something; ``gone``: it says that the subscription is no more, and so
        it is forgotten. One that is not known any more is no error."""
        ...

    async def last_word(self) -> int:
        """The number of the newest message; 0 if there is none."""
        ...

    async def words_after(self, seq: int, most: int) -> list[Word]:
        """What stead said after a message, oldest first, but for ends that the owner wished."""
        ...
