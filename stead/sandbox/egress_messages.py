"""HTTP/1.1 messages on either side of the proxy, read by llhttp (``httptools``) in its strict way.

What is read is written anew, word by word: nothing that the two sides might read differently
(doubled lengths, odd spaces) is handed through.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import httptools

from stead.sandbox.egress_gate import PIECE

Headers = list[tuple[str, str]]

#: Of one connection, never handed on (RFC 9110, 7.6.1), with what proxies and clients add to them.
HOP = frozenset({
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
    "proxy-authentication-info", "te", "trailer", "transfer-encoding", "upgrade", "expect",
    "content-length", "x-stead-egress",
})  # fmt: skip


#: Header of the proxy's own answers: ``refused`` or ``failed``. No server can say it.
OWN = "x-stead-egress"


class Malformed(Exception):
    """A message that cannot be read; in words."""


class Message:
    """A request or an answer as it arrives. Further messages on the connection are not read."""

    def __init__(
        self, reader: asyncio.StreamReader, *, request: bool, head_bytes: int, no_body: bool = False
    ) -> None:
        self._reader = reader
        self._request = request
        self._head_bytes = head_bytes
        self._no_body = no_body
        self._parser: Any = (
            httptools.HttpRequestParser(self) if request else httptools.HttpResponseParser(self)
        )
        self._pieces: deque[bytes] = deque()
        self._raw: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._reason = b""
        self._headed = False
        self._whole = False
        self._ended = False
        self._again = False
        self.upgrades = False
        """It asks to go on in another protocol; its body, if it has one, was not read."""
        self.rest = b""
        """What came behind the head of such a one, as CONNECT is."""
        self.method = ""
        self.target = ""
        self.status = 0
        self.version = "1.1"
        self.headers: Headers = []

    # --- what the parser tells -------------------------------------------------------

    def on_message_begin(self) -> None:
        self._again = self._headed

    def on_url(self, url: bytes) -> None:
        if not self._again:
            self._url += url

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:
            self._raw.append((name, value))

    def on_headers_complete(self) -> None:
        if self._again:
            return
        if not self._request:
            status = self._parser.get_status_code()
            if 100 <= status < 200 and status != 101:  # interim: the answer itself comes yet
                self._raw, self._reason = [], b""
                return
            self.status = status
        else:
            self.method = self._parser.get_method().decode("ascii")
        self.version = self._parser.get_http_version()
        self._headed = True

    def on_body(self, piece: bytes) -> None:
        if not self._again:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._headed:
            self._whole = True

    # --- for who reads it ------------------------------------------------------------

    async def head(self) -> bool:
        """Read up to the body; False if the connection ended before a first byte.

        Raises :class:`Malformed`.
        """
        came = 0
        while not self._headed:
            data = await self._reader.read(PIECE)
            if not data:
                if came == 0:
                    return False
                raise Malformed("the connection ended in the middle of a head")
            came += len(data)
            self._feed(data)
            if not self._headed and came > self._head_bytes:
                raise Malformed("its head is too long")
        if sum(len(name) + len(value) for name, value in self._raw) > self._head_bytes:
            raise Malformed("its head is too long")
        if self._request:
            self.target = _text(self._url, "ascii")
        self.headers = [
            (_text(name, "ascii").lower(), _text(value, "latin-1").strip(" \t"))
            for name, value in self._raw
        ]
        return True

    async def piece(self) -> bytes:
        """The next of the body, empty at its end. Raises :class:`Malformed` if it breaks off."""
        while True:
            if self._pieces:
                return self._pieces.popleft()
            if self._whole or self._no_body or self._ended:
                return b""
            data = await self._reader.read(PIECE)
            if data:
                self._feed(data)
                continue
            if self._request or self.sized:
                raise Malformed("the connection ended in the middle of a body")
            self._ended = True  # an answer without a length ends with its connection

    def get(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def sized(self) -> bool:
        """Whether the body tells its own end."""
        return bool(self.get("content-length") or self.get("transfer-encoding"))

    def passed_on(self) -> Headers:
        """The headers without those of this connection."""
        named = {
            name.strip().lower() for value in self.get("connection") for name in value.split(",")
        }
        return [(name, value) for name, value in self.headers if name not in HOP | named]

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
            self.upgrades = self._whole = True
        except httptools.HttpParserError as error:
            raise Malformed(f"it is not HTTP/1.1: {str(error).lower()}") from None


def _text(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise Malformed("it has letters where HTTP allows none") from None


def head_of(first: str, headers: Headers) -> bytes:
    """The bytes of a head. Raises :class:`Malformed` for what could add a line to it."""
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    if any(mark in line for line in lines for mark in ("\r", "\n", "\0")):
        raise Malformed("it has line ends where HTTP allows none")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """As one piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
