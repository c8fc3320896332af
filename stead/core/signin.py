"""Signing in to the page: browsers that are let in, passkeys, and codes that are good for once.

What opens a door is kept as SHA-256 alone (:func:`hashed`): secrets here have 50 random bits and a
life of minutes behind a limit of tries, or 80 bits and more.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

#: How somebody came in.
How = Literal["code", "recovery", "passkey"]

#: Crockford's base 32: no I, L, O, U, so that nothing is misread from paper.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0"})
CODE = 10
"""Characters of a code that is typed: 50 bits."""
RECOVERY = 16
"""Characters of a recovery code: 80 bits."""


def hashed(secret: str) -> str:
    """How a secret is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_code(letters: int) -> str:
    """Random letters that are easy to read and to type."""
    return "".join(_LETTERS[byte & 31] for byte in os.urandom(letters))


def in_groups(code: str, size: int = 5) -> str:
    """As it is printed: ``ABCDE-FGHJK``."""
    return "-".join(code[at : at + size] for at in range(0, len(code), size))


def typed(text: str) -> str:
    """A code as it was meant: without spaces and dashes of any kind, in capitals, misread letters
    put right. What cannot be a code comes back empty; a secret of a link as it is."""
    text = text.strip()
    if len(text) == 43:  # of a link, in base64url
        return text
    plain = "".join(one for one in text.upper() if unicodedata.category(one)[0] not in "CPZ")
    plain = plain.translate(_MISREAD)
    return plain if plain and all(letter in _LETTERS for letter in plain) else ""


@dataclass(frozen=True, slots=True)
class Device:
    """A browser that somebody is signed in with."""

    id: str
    """A UUIDv7; the same for as long as that browser signs in as that person again."""
    person: str
    """The id of the person."""
    called: str
    """As the person is addressed."""
    name: str
    """What it is, in words."""
    how: How
    made_at: int
    """When somebody signed in with it first; like all times here in milliseconds since 1970."""
    proved_at: int
    """When the person showed a passkey or a code on it last."""
    seen_at: int
    """When it was used last, to some minutes."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential (https://www.w3.org/TR/webauthn-3/) of a person."""

    id: str
    credential: str
    """The credential's own id, in base64url."""
    person: str
    rp: str
    """The name it is good for (RP ID): ``localhost``, or the host of an address of the page."""
    public_key: bytes
    """COSE."""
    count: int
    """The authenticator's signature counter; 0 where it keeps none."""
    name: str
    made_at: int
    used_at: int
    """0: never."""


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A browser on its way in."""

    token_hash: str
    """Of what it will show from now on."""
    name: str
    instead: str = ""
    """The device it was until now; it stays the same one if it is the same person's."""


class SignInStore(Protocol):
    """Who may look at the page. Nothing here lets a person in who was removed."""

    async def add_code(
        self, person: str, hashes: Sequence[str], *, recovery: bool = False, for_ms: int = 0
    ) -> int:
        """One code that is good for once, in several spellings; ``for_ms`` 0: until it is used.
        Returns until when, in milliseconds since 1970, 0: for ever. Raises ``NotFound`` for a
        person who is not there."""
        ...

    async def renew_recovery(self, person: str, hashes: Sequence[str]) -> None:
        """These recovery codes, a spelling each, instead of those there were."""
        ...

    async def recovery_left(self, person: str) -> int:
        """How many recovery codes there are still."""
        ...

    async def enter_by_code(self, code_hash: str, device: NewDevice) -> Device | None:
        """Use up a code and let the browser in, both or neither. None: there is no such code (any
        more)."""
        ...

    async def enter_by_passkey(self, ident: str, count: int, device: NewDevice) -> Device | None:
        """Let the browser in, and keep the counter. None: the passkey is gone, or the counter has
        not gone on (somebody has a copy of it)."""
        ...

    async def device_by_token(self, token_hash: str) -> Device | None:
        """The browser that shows that token; None: it is not let in (any more)."""
        ...

    async def saw_device(self, ident: str) -> None:
        """It was used now."""
        ...

    async def devices(
        self, person: str = "", *, before: str = "", limit: int = 100
    ) -> list[Device]:
        """Those that are let in, newest first; ``person`` empty: of everybody; ``before``: only
        those made before that one."""
        ...

    async def revoke_devices(
        self, *, ident: str = "", person: str = "", but: str = "", idle_ms: int = 0
    ) -> list[str]:
        """Let them in no more: one, or all of a person (``but`` one), or those not used for so
        long. Returns the ids of those that were let in until now."""
        ...

    async def ever_entered(self) -> bool:
        """Whether anybody has ever signed in here."""
        ...

    async def add_passkey(
        self, person: str, credential: str, rp: str, public_key: bytes, count: int, name: str
    ) -> Passkey:
        """Raises ``BadRequest`` for one that is known, ``NotFound`` for a person who is not
        there."""
        ...

    async def passkeys(self, person: str = "") -> list[Passkey]:
        """Oldest first; ``person`` empty: of everybody who is there."""
        ...

    async def passkey_by_credential(self, credential: str) -> Passkey | None: ...

    async def remove_passkey(self, ident: str) -> Passkey:
        """Raises ``NotFound``."""
        ...
