"""What a TLS client says in clear before anything else: whom it wants to talk to (RFC 8446, 6066).

Only the first message is looked at, only for the server's name.
"""

from __future__ import annotations

from stead.sandbox.egress_hosts import Refused

MOST = 65536
"""Bytes within which a ClientHello must be complete."""
_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0


def looks_like_tls(data: bytes) -> bool:
    """Whether these first bytes (one at least) begin a TLS record that holds a handshake."""
    return data[0] == _HANDSHAKE and (len(data) < 2 or data[1] == 3)


def server_name(data: bytes) -> str | None:
    """The name that a ClientHello asks for, in lower case; empty if it names none; None while it
    is not complete. Raises :class:`Refused` for what is no ClientHello."""
    hello = _handshake(data)
    if hello is None:
        if len(data) > MOST:
            raise Refused("the TLS handshake does not begin as one does")
        return None
    try:
        return _name(_Bytes(hello))
    except (IndexError, ValueError):
        raise Refused("the TLS handshake cannot be read") from None


def _handshake(data: bytes) -> bytes | None:
    """The body of the first handshake message, put together from its records."""
    message, at = b"", 0
    while len(data) >= at + 5:
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at] != _HANDSHAKE or data[at + 1] != 3 or not 0 < length <= 16640:
            raise Refused("the TLS handshake does not begin as one does")
        message += data[at + 5 : at + 5 + length]
        at += 5 + length
        if message[0:1] and message[0] != _CLIENT_HELLO:
            raise Refused("the TLS handshake does not begin as one does")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size > MOST:
                raise Refused("the TLS handshake does not begin as one does")
            if len(message) >= 4 + size:
                return message[4 : 4 + size]
    return None


class _Bytes:
    """Bytes that are taken from the front; raises ``IndexError`` where there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise IndexError(count)
        self._at += count
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def sized(self, width: int) -> _Bytes:
        return _Bytes(self.take(self.number(width)))

    @property
    def left(self) -> int:
        return len(self._data) - self._at


def _name(hello: _Bytes) -> str:
    hello.take(2 + 32)  # version, random
    hello.sized(1)  # session
    hello.sized(2)  # cipher suites
    hello.sized(1)  # compression
    if not hello.left:
        return ""
    extensions, found = hello.sized(2), ""
    seen = False
    while extensions.left:
        kind, body = extensions.number(2), extensions.sized(2)
        if kind != _SERVER_NAME:
            continue
        if seen:
            raise ValueError("two lists of names")
        seen = True
        names = body.sized(2)
        while names.left:
            if names.number(1) != _HOST_NAME or found:
                raise ValueError("more than one name")
            name = names.sized(2)
            found = name.take(name.left).decode("ascii").lower().removesuffix(".")
    return found
