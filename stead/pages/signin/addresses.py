"""At which address a browser sees the page, and whether a request comes from the page itself.

What a browser says of itself (``Host``, ``Origin``, and Fetch Metadata:
https://www.w3.org/TR/fetch-metadata/) cannot be forged by a page of somebody else's. What a program
says does not matter: it has no cookie that it did not get from us.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from stead.core.errors import SteadError

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?(?::(\d{1,5}))?")
_DEFAULT = {"http": 80, "https": 443}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class ForeignHost(SteadError):
    """This stead is not known as {host}. If that is an address of yours, name it in stead.toml:
    `origins` of [page], such as origins = ["https://{host}"]."""

    status = 421
    kind = "invalid_request_error"
    code = "foreign_host"


class ForeignOrigin(SteadError):
    """This was not asked by a page of this stead but by {origin}, and was not done. If that is an
    address of yours, name it in stead.toml: `origins` of [page]."""

    status = 403
    kind = "permission_error"
    code = "foreign_origin"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the browser sees us."""

    scheme: str
    host: str
    """In lower case; an IPv6 address in brackets."""
    port: int

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}{self._suffix(':')}"

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def cookie(self) -> str:
        """The name of the cookie. Cookies of all ports of a host are one heap."""
        name = f"stead{self._suffix('-')}"
        return f"__Host-{name}" if self.secure else name

    @property
    def rp(self) -> str:
        """The RP ID of passkeys; empty where browsers have none: at an IP address, and without TLS
        (https://www.w3.org/TR/webauthn-3/#relying-party-identifier)."""
        local = self.host == "localhost" or self.host.endswith(".localhost")
        return self.host if (self.secure or local) and _ip(self.host) is None else ""

    def _suffix(self, sign: str) -> str:
        return "" if self.port == _DEFAULT[self.scheme] else f"{sign}{self.port}"


def parse_origin(text: str) -> Address:
    """``https://stead.example.org`` or ``http://10.0.0.2:7832``. Raises ``ValueError``."""
    scheme, found, rest = text.lower().partition("://")
    if not found or scheme not in _DEFAULT:
        raise ValueError("expected https://NAME or http://NAME:PORT")
    return _address(scheme, rest)


def _address(scheme: str, text: str) -> Address:
    found = _HOST.fullmatch(text)
    if found is None or int(found[2] or 1) not in range(1, 65536):
        raise ValueError("expected a name and perhaps a port, without a path")
    return Address(scheme, found[1], int(found[2] or _DEFAULT[scheme]))


class Addresses:
    """The addresses of this stead: those that are given, and those of the machine itself."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._ours = {address.origin: address for address in map(parse_origin, origins)}

    def of(self, request: Request) -> Address:
        """Where the browser sees us. Raises ``ForeignHost`` (a name of somebody else's may lead to
        this machine: DNS rebinding)."""
        named = request.headers.getlist("host")
        try:
            host = _address("http", named[0].lower()) if len(named) == 1 else None
        except ValueError:
            host = None
        if host is None:
            raise ForeignHost(host=", ".join(named)[:200] or "nothing")
        found = self._given(host, request) or (host if _own(host.host, request) else None)
        if found is None:
            raise ForeignHost(host=named[0][:200])
        # A proxy may have put its own name for us in the place of the one the browser knows.
        return self._ours.get(request.headers.get("origin", ""), found)

    def check(self, request: Request, address: Address) -> None:
        """Raises ``ForeignOrigin`` for what another page asks: to change something, or to show
        something inside of itself. To lead here by a link is free to all."""
        headers = request.headers
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if request.method in _SAFE:
            fine = site in (None, "same-origin", "none") or (
                headers.get("sec-fetch-mode") == "navigate"
                and headers.get("sec-fetch-dest", "document") == "document"
            )
        elif origin not in (None, "null"):
            fine = site in (None, "same-origin", "none") and (
                origin == address.origin or origin in self._ours
            )
        elif site is not None:
            fine = site == "same-origin" or (site == "none" and origin is None)
        else:  # no browser of this decade. A program shows a key; who has a cookie says no more
            fine = origin is None and not headers.get("cookie")
        if not fine:
            raise ForeignOrigin(origin=(origin or "another page")[:200])

    def _given(self, host: Address, request: Request) -> Address | None:
        """Of the addresses in stead.toml. Proxies leave the port out, or put their own."""
        same = [one for one in self._ours.values() if one.host == host.host]
        exact = [one for one in same if one.port == host.port]
        plain = [one for one in exact if not one.secure]
        return next(iter(plain or exact or same), None)


def _own(host: str, request: Request) -> bool:
    """Whether it can mean nothing but this machine: ``localhost``, or the very address that the
    connection came in at."""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    ip = _ip(host)
    if ip is None:
        return False
    if ip.is_loopback:
        return True
    server = request.scope.get("server") or ("",)
    return _ip(str(server[0])) == ip


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
