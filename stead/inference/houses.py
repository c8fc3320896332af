"""Whether an address lies in the house, told from the address alone: no name is looked up."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

#: Endings of names that no public server has (RFC 6762, RFC 8375, RFC 9476, and what routers do).
_ENDINGS = (
    ".localhost", ".local", ".lan", ".home", ".home.arpa", ".internal", ".intranet",
    ".localdomain", ".fritz.box", ".alt",
)  # fmt: skip
#: This machine, this link, and what RFC 1918 and RFC 4193 keep for private use. (Python's own
#: ``is_private`` has more: addresses of documentation and of networks that carriers share.)
_HERE = tuple(
    ipaddress.ip_network(net)
    for net in (
        "127.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
        "169.254.0.0/16", "::1/128", "::/128", "fc00::/7", "fe80::/10",
    )
)  # fmt: skip


def in_house(url: str) -> bool:
    """Whether a server at that URL is in the house: a loopback, link-local or private address, a
    name without a dot, or one of the endings that are only used at home. What cannot be told is
    taken for a server out there."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    host = host.rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower()
        return bool(name) and not _numeric(name) and ("." not in name or name.endswith(_ENDINGS))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in net for net in _HERE if net.version == address.version)


def _numeric(name: str) -> bool:
    """Whether a name may be an address in an odd dress (``2130706433``, ``0x08080808``)."""
    return all(part.isdigit() or part.startswith("0x") for part in name.split("."))
