"""URLs as models write them, made into the one form in which they are judged, shown and asked."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from stead.agent.tools.base import ToolError
from stead.sandbox.egress_hosts import Refused, Target, read_target

_PORTS = {"http": 80, "https": 443}
_SAFE = "/:@!$&'()*+,;=~%-._"
_LONGEST = 8000


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http or https URL without user, password and fragment."""

    scheme: str
    target: Target
    path: str
    """With the query."""

    @property
    def text(self) -> str:
        usual = self.target.port == _PORTS[self.scheme]
        place = self.target.shown if usual else self.target.authority
        return f"{self.scheme}://{place}{self.path}"

    @property
    def host(self) -> str:
        return self.target.host


def read_url(text: str) -> Url:
    """Raises ``ToolError`` in words for a model."""
    text = text.strip()
    if len(text) > _LONGEST:
        raise ToolError(f"this URL has {len(text)} characters; at most {_LONGEST} are taken")
    if any(ord(mark) < 0x20 or mark in "\\\x7f" for mark in text):
        raise ToolError("a URL has no line ends, backslashes or control characters")
    if "://" not in text and not text.startswith(("/", ".")):
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        name = parts.hostname or ""
        port = parts.port
    except ValueError as error:
        raise ToolError(f"{text[:200]!r} is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not name:
        raise ToolError(f"{text[:200]!r} is not an http:// or https:// URL")
    if "@" in parts.netloc:
        raise ToolError("user names and passwords in URLs are not taken; use a credential")
    try:
        if not name.isascii():
            name = name.encode("idna").decode("ascii")
        shown = f"[{name}]" if ":" in name else name
        target = read_target(f"{shown}:{port or _PORTS[scheme]}")
    except (Refused, UnicodeError) as error:
        raise ToolError(f"{text[:200]!r} names no host that can be reached: {error}") from None
    path = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE + "?")
    return Url(scheme, target, path)
