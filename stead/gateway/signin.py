"""Signing in to the page: who is let in, by what, and until when."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from stead.core.errors import BadRequest, NotFound, SteadError
from stead.core.people import PersonStore
from stead.core.signin import (
    CODE,
    RECOVERY,
    Device,
    NewDevice,
    Passkey,
    SignInStore,
    hashed,
    in_groups,
    new_code,
    typed,
)
from stead.gateway.tries import Tries

log = logging.getLogger(__name__)

#: How many recovery codes a sheet has.
SHEET = 10
#: A browser that was looked up is not looked up again for so long. Whoever is sent away by this
#: gateway is so at once; this is for what was changed behind its back.
_TRUST_S = 5.0
_SEEN_MS = 600_000
_YEAR_MS = 365 * 86_400_000
_KNOWN = 1000
_MOST_PASSKEYS = 50


class WrongCode(SteadError):
    """That code is not known here: it may be mistyped, used already, or too old. `stead login` on
    the machine prints a new one."""

    status = 403
    kind = "authentication_error"
    code = "wrong_code"


class TooManyTries(SteadError):
    """Too many wrong codes. Wait {wait:.0f} s and try again; the link that `stead login` prints, a
    recovery code and a passkey work meanwhile."""

    status = 429
    kind = "authentication_error"
    code = "too_many_tries"


@dataclass(frozen=True, slots=True)
class Code:
    """A code that signs in once, in both its spellings."""

    code: str
    """To be typed."""
    secret: str
    """Of a link: to stand behind its ``#``, where no server and no proxy sees it."""
    ends_at: int


@dataclass(frozen=True, slots=True)
class Comer:
    """A browser that wants to come in."""

    name: str
    """What it is, in words."""
    address: str
    """The IP address it comes from."""
    instead: str = ""
    """The device it is signed in as, if it is."""


class _Store(SignInStore, PersonStore, Protocol):
    """Where it is kept."""


class SignIns:
    """``secret``: of the house; ``stay_ms``: a browser not used for so long is sent away."""

    def __init__(self, store: _Store, secret: bytes, stay_ms: int) -> None:
        self.store = store
        self._secret = secret
        self._stay_ms = stay_ms
        self._tries = Tries()
        self._known: OrderedDict[str, tuple[Device, float]] = OrderedDict()
        self._revocations = 0
        self.when_revoked: list[Callable[[Sequence[str]], None]] = []
        """Told the ids of the devices that are let in no more."""

    # --- ways in -----------------------------------------------------------------------

    async def new_code(self, person: str, for_s: float) -> Code:
        """A code that lets in as a person (id or name) once. Raises ``NotFound``."""
        who = await self.store.person(person)
        code, secret = new_code(CODE), _token()
        hashes = hashed(code), hashed(secret)
        ends_at = await self.store.add_code(who.id, hashes, for_ms=int(for_s * 1000))
        return Code(in_groups(code), secret, ends_at)

    async def new_recovery(self, person: str) -> list[str]:
        """A new sheet of recovery codes; those of the one before are void."""
        codes = [new_code(RECOVERY) for _ in range(SHEET)]
        await self.store.renew_recovery(person, [hashed(code) for code in codes])
        return [in_groups(code, 4) for code in codes]

    async def enter_by_code(self, text: str, comer: Comer) -> tuple[str, Device]:
        """What the browser is to show from now on, and who it is. Raises ``WrongCode``,
        ``TooManyTries``."""
        code = typed(text)
        # Nobody guesses one of 80 bits or more, and whoever has one need not wait for those who
        # guess at short ones.
        wait = self._tries.wait_s(comer.address)
        if wait > 0 and len(code) < RECOVERY:
            raise TooManyTries(wait=wait + 0.5).after(wait)
        token = _token()
        device = None
        if code:
            device = await self.store.enter_by_code(hashed(code), _new(token, comer))
        if device is None:
            self._tries.was_wrong(comer.address)
            log.warning("a wrong code was given to sign in, from %s", comer.address)
            raise WrongCode if wait <= 0 else TooManyTries(wait=wait + 0.5).after(wait)
        self._tries.was_right(comer.address)
        return await self._let_in(token, device, comer)

    async def enter_by_passkey(
        self, key: Passkey, count: int, comer: Comer
    ) -> tuple[str, Device] | None:
        """As :meth:`enter_by_code`, after the passkey was checked. None: it holds no more, or its
        counter has not gone on."""
        token = _token()
        device = await self.store.enter_by_passkey(key.id, count, _new(token, comer))
        return None if device is None else await self._let_in(token, device, comer)

    async def _let_in(self, token: str, device: Device, comer: Comer) -> tuple[str, Device]:
        if comer.instead not in ("", device.id):  # somebody else was signed in on this browser
            self._revoked([comer.instead])
        # The browser's token before this one holds no more.
        for known, (other, _) in list(self._known.items()):
            if other.id == device.id:
                del self._known[known]
        self._revoked(await self.store.revoke_devices(idle_ms=self._stay_ms + _YEAR_MS))
        log.info(
            "%s signed in by %s", device.person, device.how,
            extra={"fields": {"device": device.id, "browser": device.name}},
        )  # fmt: skip
        return token, device

    # --- who is in ---------------------------------------------------------------------

    async def device(self, token: str) -> Device | None:
        """The browser that shows this; None: it is not let in (any more)."""
        token_hash = hashed(token)
        known = self._known.get(token_hash)
        if known is not None and time.monotonic() - known[1] < _TRUST_S:
            return known[0]
        while True:
            asked = self._revocations
            device = await self.store.device_by_token(token_hash)
            if asked == self._revocations:  # else it may be what was before
                break
        if device is None or self.left(device):
            self._known.pop(token_hash, None)
            return None
        if abs(_now_ms() - device.seen_at) > _SEEN_MS:
            with contextlib.suppress(SteadError):  # a full disk keeps nobody from looking
                await self.store.saw_device(device.id)
                device = replace(device, seen_at=_now_ms())
            if asked != self._revocations:
                return await self.device(token)
        self._known[token_hash] = device, time.monotonic()
        self._known.move_to_end(token_hash)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return device

    async def find(self, ident: str, person: str = "") -> Device | None:
        """A browser that is in, by its id. ``person``: only if it is that one's."""
        # Ids are in the order of their making: the newest not after that one.
        for device in await self.store.devices(person, before=f"{ident}~", limit=1):
            if device.id == ident and not self.left(device):
                return device
        return None

    async def revoke(self, ident: str, person: str = "") -> None:
        """Send a browser away, at once. ``person``: only if it is that one's. Raises
        ``NotFound``."""
        if person and await self.find(ident, person) is None:
            raise NotFound(what=f"device {ident[:80]!r}")
        if not self._revoked(await self.store.revoke_devices(ident=ident)):
            raise NotFound(what=f"device {ident[:80]!r}")

    async def revoke_all(self, person: str, but: str = "") -> int:
        """Send all browsers of a person away, but that one; how many they were."""
        return len(self._revoked(await self.store.revoke_devices(person=person, but=but)))

    def person_gone(self, person: str) -> None:
        """Somebody was removed, and is let in no more: at once, also who watches something now."""
        self._revoked([device.id for device, _ in self._known.values() if device.person == person])

    def _revoked(self, idents: list[str]) -> list[str]:
        self._revocations += 1
        gone = set(idents)
        for token_hash, (device, _) in list(self._known.items()):
            if device.id in gone:
                del self._known[token_hash]
        if idents:
            log.info("%d devices were signed out", len(idents))
            for tell in self.when_revoked:
                tell(idents)
        return idents

    def left(self, device: Device) -> bool:
        """Whether it was away for too long. Nothing is written for that: a clock that is wrong for
        an hour signs nobody out for good."""
        return _now_ms() - device.seen_at > self._stay_ms

    # --- passkeys ----------------------------------------------------------------------

    def handle(self, person: str) -> bytes:
        """What authenticators know a person by. Another in each house: of two steads on
        ``localhost`` the one's passkey must not take the place of the other's."""
        return hmac.new(self._secret, b"passkeys of " + person.encode(), hashlib.sha256).digest()

    async def add_passkey(
        self, person: str, credential: str, rp: str, public_key: bytes, count: int, name: str
    ) -> Passkey:
        """Raises ``BadRequest``."""
        if len(await self.store.passkeys(person)) >= _MOST_PASSKEYS:
            raise BadRequest(f"There are {_MOST_PASSKEYS} passkeys already; remove one first.")
        key = await self.store.add_passkey(person, credential, rp, public_key, count, name)
        log.info("%s has a new passkey for %s", person, rp)
        return key

    async def remove_passkey(self, ident: str, person: str = "") -> None:
        """``person``: only if it is that one's. Raises ``NotFound``."""
        if person and all(key.id != ident for key in await self.store.passkeys(person)):
            raise NotFound(what=f"passkey {ident[:80]!r}")
        key = await self.store.remove_passkey(ident)
        log.info("a passkey of %s for %s was removed", key.person, key.rp)


def _new(token: str, comer: Comer) -> NewDevice:
    return NewDevice(hashed(token), comer.name, comer.instead)


def _token() -> str:
    """256 random bits in base64url, 43 characters."""
    return base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


def _now_ms() -> int:
    return int(time.time() * 1000)
