"""Which places in the network a sandbox may reach: names, addresses, and what they are taken for.

A target is read once, strictly, and refused where two programs might read it differently: that is
how allow-lists are walked around (a NUL byte in a name, an address written as one number, digits
of another script). A name is resolved once, all of its addresses are judged, and one of these very
addresses is dialled, so that a name that leads elsewhere the second time changes nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stead.sandbox.box import Host

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What a :class:`Host` without a port stands for.
WEB_PORTS = (80, 443)

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes readers of URLs take the whole for an IPv4 address (WHATWG URL, 3.5)."""
_PORT = re.compile(r"[0-9]{1,5}")


class Refused(Exception):
    """A target that may not be reached; the text says why, for the model and the owner."""


class Kind(StrEnum):
    """What an address is, for who asks whether it may be dialled."""

    PUBLIC = "public"
    LOOPBACK = "an address of this machine"
    PRIVATE = "an address of a private network"
    NEVER = "no address that programs may be let to"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request wants to go: a name in lower case without a dot at its end, or an address."""

    host: str
    port: int
    address: Address | None = None
    """Where ``host`` is one."""

    @property
    def authority(self) -> str:
        """As it stands in a URL."""
        return f"{self.shown}:{self.port}"

    @property
    def shown(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def read_target(authority: str, default_port: int = 0) -> Target:
    """``host:port``, ``[IPv6]:port``, or without the port where there is a default.

    Raises :class:`Refused`.
    """
    if "@" in authority:
        raise Refused("user names and passwords in addresses are not taken")
    if authority.startswith("["):
        inner, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Refused(f"{authority[:80]!r} is not host:port")
        return _target(f"[{inner}]", rest[1:] if rest else None, default_port)
    host, colon, port = authority.partition(":")
    return _target(host, port if colon else None, default_port)


def _target(host: str, port: str | None, default: int) -> Target:
    if port is None:
        number = default
    elif _PORT.fullmatch(port):
        number = int(port)
    else:
        raise Refused(f"{port[:20]!r} is not a port")
    if not 0 < number < 65536:
        raise Refused("a port is needed, from 1 to 65535")
    name, address = read_host(host)
    return Target(name, number, address)


def read_host(text: str) -> tuple[str, Address | None]:
    """A host name or address in its one form. Raises :class:`Refused` for every odd one."""
    if text.startswith("[") and text.endswith("]"):
        inner = text[1:-1]
        try:
            if "%" in inner:
                raise ValueError("zone")
            six = ipaddress.IPv6Address(inner)
        except ValueError:
            raise Refused(f"{text[:80]!r} is not an IPv6 address") from None
        return str(six), six
    if not text.isascii():
        raise Refused(
            f"{text[:80]!r} has letters beyond ASCII; write the name as it stands in DNS (xn--...)"
        )
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused(f"{text[:80]!r} is not the name of a host")
    if not _NUMBER.fullmatch(labels[-1]):
        return name, None
    try:
        four = ipaddress.IPv4Address(name)
    except ValueError:
        raise Refused(
            f"{text[:80]!r} is an odd form of an address; write four decimal numbers"
        ) from None
    return str(four), four


# --- what an address is -----------------------------------------------------------------


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


#: Registries: IANA IPv4 and IPv6 Special-Purpose Address Space. Read here rather than from
#: ``ipaddress.is_global``, whose answers differ between the versions of Python.
_NEVER = _networks(
    "0.0.0.0/8",  # "this host": Linux takes it for loopback
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    # Where clouds tell a machine its secrets: AWS and most others, Azure, Alibaba, AWS over IPv6.
    "169.254.169.254/32", "169.254.170.2/32", "168.63.129.16/32", "100.100.100.200/32",
    "fd00:ec2::254/128", "fd20:ce::254/128",
)  # fmt: skip
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
_PRIVATE = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "fc00::/7", "fe80::/10",
)  # fmt: skip
_PUBLIC_SIX = _networks("2000::/3")
#: Within what is public: protocol assignments (Teredo, ORCHID), documentation, 6to4, segment ids.
_NOT_PUBLIC_SIX = _networks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for: mapped (::ffff:0:0/96), NAT64 (RFC 6052)."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def judge(address: Address) -> Kind:
    """What an address is. What is not known to be public is not public."""
    address = plain(address)
    for networks, kind in ((_NEVER, Kind.NEVER), (_LOOPBACK, Kind.LOOPBACK)):
        if _within(address, networks):
            return kind
    if _within(address, _PRIVATE):
        return Kind.PRIVATE
    if isinstance(address, ipaddress.IPv6Address) and (
        not _within(address, _PUBLIC_SIX) or _within(address, _NOT_PUBLIC_SIX)
    ):
        return Kind.NEVER
    return Kind.LOOPBACK if _is_ours(address) else Kind.PUBLIC


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _is_ours(address: Address) -> bool:
    """Whether this machine has this address: what listens here on all of them is no public place.
    Only an address of its own can be bound (ip(7), EADDRNOTAVAIL)."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


# --- what is allowed ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Private:
    """Places that are not public and may be reached all the same: an entry of ``[egress] private``,
    such as ``nas.home``, ``192.168.1.0/24``, ``127.0.0.1:8080`` or ``[fd00::5]:443``."""

    name: str = ""
    network: Network | None = None
    port: int = 0
    """0: any; for this machine itself a port must be given."""

    @classmethod
    def read(cls, text: str) -> Private:
        """Raises ``ValueError`` in words."""
        try:
            if "/" in text:
                one = cls(network=ipaddress.ip_network(text))
            else:
                target = read_target(text, default_port=65535)
                port = 0 if target.port == 65535 else target.port
                if target.address is None:
                    one = cls(name=target.host, port=port)
                else:
                    one = cls(network=ipaddress.ip_network(target.address), port=port)
        except (Refused, ValueError) as error:
            raise ValueError(f"{text!r} is no host, address or network: {error}") from None
        if one.network is not None and not one.port and _overlaps(one.network, _LOOPBACK):
            raise ValueError(f"{text!r} is this machine itself: say which port of it, as {text}:80")
        return one

    def holds(self, target: Target, address: Address) -> bool:
        if self.port and self.port != target.port:
            return False
        if self.name:
            # A name without a port opens a device in the house, never what runs on this machine.
            return self.name == target.host and bool(self.port or judge(address) is Kind.PRIVATE)
        address = plain(address)
        return self.network is not None and _within(address, (self.network,))


def _overlaps(network: Network, others: Iterable[Network]) -> bool:
    return any(network.version == other.version and network.overlaps(other) for other in others)


def allowing(hosts: Sequence[Host], target: Target) -> Host:
    """The first entry by which a target may be reached. Raises :class:`Refused`."""
    named = [host for host in hosts if _matches(host.name, target)]
    named.sort(key=lambda host: host.name.startswith("*"))  # what is named in full goes first
    if not named:
        raise Refused(f"{target.shown} is not among the hosts that this may reach{_list(hosts)}")
    for host in named:
        if target.port in ((host.port,) if host.port else WEB_PORTS):
            return host
    raise Refused(f"port {target.port} of {target.shown} may not be reached")


def _matches(pattern: str, target: Target) -> bool:
    pattern = pattern.lower().removesuffix(".")
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return target.address is None and target.host.endswith(pattern[1:])
    if target.address is not None:
        pattern = pattern.strip("[]")
        try:
            return ipaddress.ip_address(pattern) == target.address
        except ValueError:
            return False
    return pattern == target.host


def _list(hosts: Sequence[Host]) -> str:
    names = sorted({host.name for host in hosts})
    if not names:
        return " (none)"
    return f" ({', '.join(names[:8])}{', ...' if len(names) > 8 else ''})"


def check_addresses(
    target: Target, host: Host, addresses: Sequence[Address], private: Sequence[Private]
) -> None:
    """Raise :class:`Refused` unless every address that the target has may be dialled for it."""
    if not addresses:
        raise Refused(f"{target.shown} has no address")
    for address in addresses:
        kind = judge(address)
        if kind is Kind.PUBLIC:
            continue
        where = target.shown if target.address is not None else f"{target.shown} is at {address}:"
        if kind is Kind.NEVER:
            raise Refused(f"{where} {kind}")
        if host.private or any(one.holds(target, address) for one in private):
            continue
        raise Refused(
            f"{where} {kind}. If programs of the agent's shall reach it, "
            f"the owner can name it under [egress] private in stead.toml"
        )
