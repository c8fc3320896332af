"""Putting a credential into a request: when it may be, and where it goes.

The rules are strict where two readers of one URL might disagree: a path that a server could read as
another one (``..``, encoded slashes) never gets a credential.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from stead.sandbox.egress_gate import Place
from stead.sandbox.egress_hosts import Refused
from stead.sandbox.egress_messages import Headers
from stead.sandbox.secrets import Credential

_ODD = re.compile(r"%2f|%5c|%00|[\\\0]", re.IGNORECASE)
_DOTS = re.compile(r"(?:^|/)\.{1,2}(?:;[^/]*)?(?:/|$)")

#: An answer to these would show the request, or part of one, in pieces too small to be noticed.
_DROPPED = frozenset({"range", "if-range", "accept-encoding"})


@dataclass(frozen=True, slots=True)
class Dressed:
    """A request with its credential."""

    path: str
    headers: Headers
    secrets: tuple[str, ...]
    """What must not come back."""


def fitting(places: Sequence[Place], method: str, path: str) -> Credential | None:
    """The credential for a request, the one with the longest path first.

    Raises :class:`Refused` for a path that can be read in two ways, where this matters.
    """
    best: tuple[int, Credential] | None = None
    bare = path.partition("?")[0]
    odd = _is_odd(bare)
    for place in places:
        credential = place.credential
        if credential.methods and method not in credential.methods:
            continue
        for prefix in credential.paths:
            if odd and prefix != "/":
                continue
            if _below(bare, prefix) and (best is None or len(prefix) > best[0]):
                best = (len(prefix), credential)
    if odd and best is None:
        raise Refused("a path with '..' or encoded slashes gets no credential")
    return best[1] if best else None


def _is_odd(path: str) -> bool:
    """Whether some server might take it for another path, however often it decodes it."""
    for _ in range(6):
        if _ODD.search(path) or _DOTS.search(path):
            return True
        decoded = unquote(path)
        if decoded == path:
            return False
        path = decoded
    return True


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")


def dress(credential: Credential, value: str, path: str, headers: Headers) -> Dressed:
    """The request as it goes out: what the client had in the same place is replaced."""
    secrets: tuple[str, ...] = (value,)
    headers = [(name, text) for name, text in headers if name not in _DROPPED]
    headers.append(("accept-encoding", "identity"))
    if credential.how == "query":
        return Dressed(_with_query(path, credential.field, value), headers, secrets)
    name = (credential.field or "authorization").lower()
    if credential.how == "basic":
        pair = base64.b64encode(f"{credential.user}:{value}".encode()).decode()
        name, text, secrets = "authorization", f"Basic {pair}", (value, pair)
    elif credential.how == "bearer":
        text = f"Bearer {value}"
    else:
        text = value
    return Dressed(path, [*((n, t) for n, t in headers if n != name), (name, text)], secrets)


def _with_query(path: str, field: str, value: str) -> str:
    bare, _, query = path.partition("?")
    kept = [
        part
        for part in query.split("&")
        if part and unquote(part.partition("=")[0].replace("+", " ")) != field
    ]
    return bare + "?" + "&".join([*kept, f"{quote(field, safe='')}={quote(value, safe='')}"])
