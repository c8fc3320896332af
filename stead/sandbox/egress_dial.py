"""Connections to the outside: a name is resolved once, its addresses are judged, one is dialled."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence

from stead.sandbox.box import Host
from stead.sandbox.egress_hosts import (
    Address,
    Kind,
    Private,
    Refused,
    Target,
    check_addresses,
    judge,
)

_RESOLVE_S = 15.0
_CONNECT_S = 15.0
_EACH_S = 6.0
"""For one address of several."""


class Unreachable(Exception):
    """An allowed place that does not answer; in words."""


class Dialler:
    """Opens connections to what may be reached."""

    def __init__(
        self, private: Sequence[Private], *, offline: bool = False, ca_file: str = ""
    ) -> None:
        self._private = private
        self._offline = offline
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None

    async def dial(
        self, target: Target, host: Host, *, tls: bool, limit: int = 2**17
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Address]:
        """Raises :class:`Refused` and :class:`Unreachable`."""
        addresses = await self._resolve(target)
        check_addresses(target, host, addresses, self._private)
        if self._offline and any(judge(one) is not Kind.LOOPBACK for one in addresses):
            raise Refused("offline is set in stead.toml: nothing beyond this machine is reached")
        context = self._context() if tls else None
        why = f"{target.authority} could not be reached"
        try:
            async with asyncio.timeout(_CONNECT_S):
                for address in addresses:
                    dialled = getattr(address, "ipv4_mapped", None) or address
                    try:
                        async with asyncio.timeout(_EACH_S):
                            reader, writer = await asyncio.open_connection(
                                str(dialled), target.port, limit=limit, ssl=context,
                                server_hostname=target.host if context else None,
                            )  # fmt: skip
                    except ssl.SSLCertVerificationError as error:
                        raise Unreachable(
                            f"the certificate of {target.authority} is not trusted: "
                            f"{error.verify_message}"
                        ) from None
                    except (OSError, TimeoutError) as error:
                        why = _why(target, error)
                    else:
                        return reader, writer, dialled
        except TimeoutError:
            pass
        raise Unreachable(why)

    async def _resolve(self, target: Target) -> list[Address]:
        if target.address is not None:
            return [target.address]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_RESOLVE_S):
                found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise Unreachable(f"the name {target.host} was not resolved in time") from None
        except (OSError, UnicodeError):
            raise Unreachable(f"the name {target.host} could not be resolved") from None
        addresses = []
        for family, _, _, _, place in found:
            if family in (socket.AF_INET, socket.AF_INET6):
                # What a resolver says of scopes and the like is left out: it is judged as it is.
                addresses.append(ipaddress.ip_address(str(place[0]).partition("%")[0]))
        return list(dict.fromkeys(addresses))

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            if self._ca_file:
                context = self._tls
                self._tls = None
                try:
                    context.load_verify_locations(self._ca_file)
                except (OSError, ssl.SSLError) as error:
                    raise Unreachable(
                        f"the certificates in [egress] ca_file, {self._ca_file}, cannot be read: "
                        f"{error.strerror or error}"
                    ) from None
                self._tls = context
        return self._tls


def _why(target: Target, error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on {target.authority} (connection refused)"
    if isinstance(error, TimeoutError):
        return f"{target.authority} did not answer in time"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection to {target.authority}: {error.reason or error}"
    strerror = error.strerror if isinstance(error, OSError) else ""
    return f"no connection to {target.authority}: {strerror or type(error).__name__}"
