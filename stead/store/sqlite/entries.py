"""The part of the SQLite storage that keeps who may look at the page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw

from stead.core.signin import Device, NewDevice, Passkey
from stead.store.sqlite import signin
from stead.store.sqlite.writer import Op

T = TypeVar("T")


class Entries(ABC):
    """``stead.core.signin.SignInStore``, over the storage's own ways to write and read."""

    @abstractmethod
    async def write(self, op: Op[T]) -> T:
        """Run it in the thread that writes; returns when it is durable."""

    @abstractmethod
    async def read(self, look: Callable[[apsw.Connection], T]) -> T:
        """Run it on a connection that reads."""

    async def add_code(
        self, person: str, hashes: Sequence[str], *, recovery: bool = False, for_ms: int = 0
    ) -> int:
        return await self.write(lambda c: signin.add_code(c, person, hashes, recovery, for_ms))

    async def renew_recovery(self, person: str, hashes: Sequence[str]) -> None:
        await self.write(lambda c: signin.renew_recovery(c, person, hashes))

    async def recovery_left(self, person: str) -> int:
        return await self.read(lambda c: signin.recovery_left(c, person))

    async def enter_by_code(self, code_hash: str, device: NewDevice) -> Device | None:
        return await self.write(lambda c: signin.enter_by_code(c, code_hash, device))

    async def enter_by_passkey(self, ident: str, count: int, device: NewDevice) -> Device | None:
        return await self.write(lambda c: signin.enter_by_passkey(c, ident, count, device))

    async def device_by_token(self, token_hash: str) -> Device | None:
        return await self.read(lambda c: signin.by_token(c, token_hash))

    async def saw_device(self, ident: str) -> None:
        await self.write(lambda c: signin.saw(c, ident))

    async def devices(
        self, person: str = "", *, before: str = "", limit: int = 100
    ) -> list[Device]:
        return await self.read(lambda c: signin.devices(c, person, before, limit))

    async def revoke_devices(
        self, *, ident: str = "", person: str = "", but: str = "", idle_ms: int = 0
    ) -> list[str]:
        return await self.write(lambda c: signin.revoke(c, ident, person, but, idle_ms))

    async def ever_entered(self) -> bool:
        return await self.read(signin.ever_entered)

    async def add_passkey(
        self, person: str, credential: str, rp: str, public_key: bytes, count: int, name: str
    ) -> Passkey:
        return await self.write(
            lambda c: signin.add_passkey(c, person, credential, rp, public_key, count, name)
        )

    async def passkeys(self, person: str = "") -> list[Passkey]:
        return await self.read(lambda c: signin.passkeys(c, person))

    async def passkey_by_credential(self, credential: str) -> Passkey | None:
        return await self.read(lambda c: signin.passkey_by_credential(c, credential))

    async def remove_passkey(self, ident: str) -> Passkey:
        return await self.write(lambda c: signin.remove_passkey(c, ident))
