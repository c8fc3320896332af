"""Checking what is said of the way out of sandboxes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from stead.config.address import is_url
from stead.config.egress_settings import CredentialSection, EgressSection, SearchSection

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)(:[0-9]{1,5})?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NEEDS_FIELD = {"header": "the name of the header", "query": "the name of the parameter"}


def check_credentials(credentials: Sequence[CredentialSection]) -> Iterator[tuple[str, str]]:
    """Credentials that are for nothing, for anything, or that no request could hold."""
    names: set[str] = set()
    for index, one in enumerate(credentials):
        at = f"credential[{index}]"
        if not _NAME.fullmatch(one.name):
            yield f"{at}.name", f"{one.name!r} is not a name (small letters, digits, _ and -)"
        if one.name in names:
            yield f"{at}.name", f"there are two credentials named {one.name!r}"
        names.add(one.name)
        yield from _where(one, at)
        yield from _how(one, at)
        given = [name for name in ("secret", "systemd", "command") if getattr(one, name)]
        if len(given) > 1:
            yield f"{at}.{given[1]}", f"its value is said twice: by {' and by '.join(given)}"
        if one.secret and not _NAME.fullmatch(one.secret):
            yield (
                f"{at}.secret",
                f"{one.secret!r} is no name of a secret; its value is not put here",
            )


def _where(one: CredentialSection, at: str) -> Iterator[tuple[str, str]]:
    if not one.hosts:
        yield f"{at}.hosts", "is empty; name the hosts that may get it"
    for place, host in enumerate(one.hosts):
        if not _HOST.fullmatch(host):
            yield (
                f"{at}.hosts[{place}]",
                f"{host!r} is not a host: an exact name in small letters, without http:// and *",
            )
    if not one.paths:
        yield f"{at}.paths", 'is empty; "/" is for all paths'
    for place, path in enumerate(one.paths):
        if not re.fullmatch(r"/[!-~]*", path) or "?" in path or "%" in path or "/." in path:
            yield f"{at}.paths[{place}]", f"{path!r} is not the beginning of a path, such as /v1"
    if not one.tools:
        yield f"{at}.tools", "is empty; name the tools that may use it"
    for place, method in enumerate(one.methods):
        if not re.fullmatch(r"[A-Z]+", method):
            yield f"{at}.methods[{place}]", f"{method!r} is not a method, such as GET"


def _how(one: CredentialSection, at: str) -> Iterator[tuple[str, str]]:
    if one.how in _NEEDS_FIELD and not one.field:
        yield f"{at}.field", f"is missing: {_NEEDS_FIELD[one.how]}"
    elif one.field and one.how not in _NEEDS_FIELD:
        yield f"{at}.field", f"means nothing with how = {one.how!r}"
    elif one.how == "header" and not _TOKEN.fullmatch(one.field):
        yield f"{at}.field", f"{one.field!r} is not the name of a header"
    if one.user and one.how != "basic":
        yield f"{at}.user", 'means nothing without how = "basic"'
    if ":" in one.user or not one.user.isprintable():
        yield f"{at}.user", "has a character that no user can have"


def check_egress(egress: EgressSection) -> Iterator[tuple[str, str]]:
    """Exceptions that open more than was meant."""
    for place, text in enumerate(egress.private):
        if why := _private(text):
            yield f"egress.private[{place}]", f"{text!r}: {why}"


def _private(text: str) -> str:
    if "/" in text:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            return "is not a network, such as 192.168.1.0/24"
        loopback = ipaddress.ip_network("::1/128" if network.version == 6 else "127.0.0.0/8")
        return "holds this machine itself; name its ports" if network.overlaps(loopback) else ""
    found = _HOST.fullmatch(text)
    if not found or not 0 < int((found[2] or ":80")[1:]) < 65536:
        return "is not a host, an address or a network"
    try:
        address = ipaddress.ip_address(found[1].strip("[]"))
    except ValueError:
        return "" if not re.search(r"(^|\.)(\d+|0x[0-9a-f]*)$", found[1]) else "is an odd address"
    if address.is_loopback and not found[2]:
        return f"is this machine itself: say which port of it, as {text}:80"
    return ""


def check_search(
    search: SearchSection, credentials: Sequence[CredentialSection]
) -> Iterator[tuple[str, str]]:
    """A search that could not be asked."""
    if search.url and not is_url(search.url):
        yield "search.url", f"{search.url!r} is not a URL (http://... or https://...)"
    if search.kind == "searxng" and not search.url:
        yield "search.url", "is missing: the address of your SearXNG server"
    if search.kind in ("brave", "tavily") and not search.credential:
        yield "search.credential", f"is missing: the [[credential]] with the key of {search.kind}"
    if search.credential:
        named = [one for one in credentials if one.name == search.credential]
        if not named:
            yield "search.credential", f"there is no [[credential]] named {search.credential!r}"
        elif "web_search" not in named[0].tools:
            yield (
                "search.credential",
                f'{search.credential!r} is not for it: add "web_search" to its tools',
            )
