"""Passkeys: what browsers are asked for, and whether the answer is good.

WebAuthn level 3 (https://www.w3.org/TR/webauthn-3/); options and answers are in its JSON form
(section 5.1.8 and 5.1.9).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stead.core.errors import SteadError
from stead.core.signin import Passkey
from stead.gateway.signin import SignIns
from stead.pages.signin.addresses import Address

log = logging.getLogger(__name__)

#: ES256, EdDSA, RS256 (IANA COSE algorithms): what every authenticator has one of.
_ALGORITHMS = (-7, -8, -257)
_OPEN_S = 300.0
_MOST_OPEN = 1000
_CHECK_S = 60.0
_AT_ONCE = 2


class BadPasskey(SteadError):
    """This passkey does not sign in here: {why}"""

    status = 403
    kind = "authentication_error"
    code = "bad_passkey"


class NoPasskeysHere(SteadError):
    """There are no passkeys at this address: browsers have them at localhost and at names with
    https, not at IP addresses."""

    status = 400
    kind = "invalid_request_error"
    code = "no_passkeys_here"


@dataclass(frozen=True, slots=True)
class _Asked:
    person: str
    """Whose passkey it shall become; empty: to sign in."""
    rp: str
    origin: str
    until: float


class Passkeys:
    """Ceremonies that are under way. Each challenge is good for one answer, for five minutes."""

    def __init__(self, sign_ins: SignIns) -> None:
        self._sign_ins = sign_ins
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._checking = asyncio.Semaphore(_AT_ONCE)

    def to_sign_in(self, address: Address) -> dict[str, Any]:
        """``PublicKeyCredentialRequestOptions``. Raises ``NoPasskeysHere``."""
        return {
            "challenge": self._challenge("", address),
            "rpId": address.rp,
            "timeout": int(_OPEN_S * 1000),
            "userVerification": "required",
            # None is named: the browser shows those it has, and strangers learn of none.
            "allowCredentials": [],
        }

    async def to_add(self, person: str, called: str, address: Address) -> dict[str, Any]:
        """``PublicKeyCredentialCreationOptions``. Raises ``NoPasskeysHere``."""
        known = await self._sign_ins.store.passkeys(person)
        return {
            "challenge": self._challenge(person, address),
            "rp": {"id": address.rp, "name": "stead"},
            "user": {
                "id": _text(self._sign_ins.handle(person)),
                "name": called,
                "displayName": called,
            },
            "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in _ALGORITHMS],
            "timeout": int(_OPEN_S * 1000),
            "excludeCredentials": [
                {"type": "public-key", "id": key.credential}
                for key in known
                if key.rp == address.rp
            ],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        }

    async def added(self, answer: bytes, person: str, name: str) -> Passkey:
        """The new passkey of a person (``RegistrationResponseJSON``). Raises ``BadPasskey``."""
        credential = _credential(answer)
        challenge, asked = self._answered(credential)
        if asked.person != person:
            raise BadPasskey(why="it was asked for by somebody else. Try again.")
        told = await self._verdict(credential, challenge, asked)
        key = msgspec.convert(told, _Made)
        return await self._sign_ins.add_passkey(
            person, key.credential, asked.rp, _bytes(key.public_key), key.count, name
        )

    async def used(self, answer: bytes) -> tuple[Passkey, int]:
        """The passkey that signs in (``AuthenticationResponseJSON``), and its counter now. Raises
        ``BadPasskey``."""
        credential = _credential(answer)
        challenge, asked = self._answered(credential)
        key = await self._sign_ins.store.passkey_by_credential(str(credential.get("id")))
        if key is None or asked.person or key.rp != asked.rp:
            raise BadPasskey(why="it is not known here (any more). Sign in by another, or a code.")
        handle = credential["response"].get("userHandle")
        if handle is not None and handle != _text(self._sign_ins.handle(key.person)):
            raise BadPasskey(why="it is somebody else's.")
        told = await self._verdict(
            credential, challenge, asked, public_key=_text(key.public_key), count=key.count
        )
        return key, msgspec.convert(told, _Used).count

    def _challenge(self, person: str, address: Address) -> str:
        if not address.rp:
            raise NoPasskeysHere
        challenge, now = _text(os.urandom(32)), time.monotonic()
        self._asked[challenge] = _Asked(person, address.rp, address.origin, now + _OPEN_S)
        while len(self._asked) > _MOST_OPEN or next(iter(self._asked.values())).until < now:
            self._asked.popitem(last=False)
        return challenge

    def _answered(self, credential: dict[str, Any]) -> tuple[str, _Asked]:
        """What is answered, which is not waited for any more."""
        try:
            data = msgspec.json.decode(_bytes(credential["response"]["clientDataJSON"]))
            asked = self._asked.pop(data["challenge"], None)
        except (KeyError, TypeError, ValueError, msgspec.DecodeError):
            raise BadPasskey(why="the browser's answer cannot be read.") from None
        if asked is None or asked.until < time.monotonic():
            raise BadPasskey(why="it took too long, or stead was started anew. Try again.")
        return data["challenge"], asked

    async def _verdict(
        self, credential: dict[str, Any], challenge: str, asked: _Asked, **more: Any
    ) -> dict[str, Any]:
        order = {
            "credential": credential, "challenge": challenge, "rp": asked.rp,
            "origins": [asked.origin], **more,
        }  # fmt: skip
        async with self._checking:
            told = await _checked(msgspec.json.encode(order))
        if told is None:
            raise SteadError("The passkey could not be checked; `stead logs` says more.")
        if "wrong" in told:
            log.warning("a passkey was refused: %s", told["wrong"])
            raise BadPasskey(why=f"{told['wrong']}.")
        return told


class _Used(msgspec.Struct):
    count: int


class _Made(_Used):
    credential: str
    public_key: str


async def _checked(order: bytes) -> dict[str, Any] | None:
    """What :mod:`stead.pages.signin.verify` says; None if it said nothing of use."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "stead.pages.signin.verify",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_CHECK_S):
            out, errors = await process.communicate(order)
        told: Any = msgspec.json.decode(out)
    except (TimeoutError, msgspec.DecodeError) as error:
        log.error("checking a passkey failed: %s", error or "it took too long")
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if errors:
        log.info("checking a passkey: %s", errors.decode("utf-8", "replace")[-2000:])
    return told if isinstance(told, dict) else None


def _environment() -> dict[str, str]:
    """Made from nothing, so that no secret of the gateway's own can be in it (invariant 9)."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _credential(answer: bytes) -> dict[str, Any]:
    try:
        data: Any = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = None
    if not isinstance(data, dict) or not isinstance(data.get("response"), dict):
        raise BadPasskey(why="the browser's answer cannot be read.")
    return data


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def names(keys: Sequence[Passkey]) -> set[str]:
    """The names that somebody has passkeys for."""
    return {key.rp for key in keys}
