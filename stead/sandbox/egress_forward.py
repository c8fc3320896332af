"""Requests that the proxy reads itself: plain HTTP, and HTTPS with a credential put in."""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from stead.sandbox.egress_credentials import Dressed, dress, fitting
from stead.sandbox.egress_dial import Unreachable
from stead.sandbox.egress_gate import Gate, Record, abort
from stead.sandbox.egress_hosts import Refused, Target, allowing, read_target
from stead.sandbox.egress_messages import LAST_CHUNK, Headers, Malformed, Message, chunk, head_of
from stead.sandbox.mask import Masker, Stream
from stead.sandbox.secrets import Credential

_URL = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(#.*)?", re.IGNORECASE)
_METHODS = frozenset({
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "SEARCH",
    "PROPFIND", "PROPPATCH", "MKCOL", "MOVE", "COPY", "REPORT",
})  # fmt: skip
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class _Way:
    """Where a request goes, and how."""

    target: Target
    tls: bool
    path: str


async def forward(gate: Gate, record: Record, request: Message, client: StreamWriter) -> None:
    """Carry one request out and its answer back.

    Raises :class:`Refused`, :class:`Malformed`, ``Unreachable`` and ``SecretUnreadable`` while
    nothing of an answer was sent yet; whatever happens later cuts the connection.
    """
    if request.method not in _METHODS:
        raise Refused(f"the method {request.method} is not let out")
    if request.upgrades and request.sized:
        raise Malformed("a request with a body cannot ask for another protocol")
    way, credential = _way(gate, request)
    record.host, record.port = way.target.host, way.target.port
    host = allowing(gate.hosts, way.target)
    headers = _request_headers(way, request)
    dressed = Dressed(way.path, headers, ())
    if credential is not None:
        record.credential = credential.name
        value = await gate.values.get(credential)
        dressed = dress(credential, value, way.path, headers)
    reader, writer, address = await gate.dialler.dial(way.target, host, tls=way.tls)
    record.address = str(address)
    try:
        if request.get("expect"):
            client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(head_of(f"{request.method} {dressed.path} HTTP/1.1", dressed.headers))
        sending = asyncio.ensure_future(_send_body(gate, record, request, writer))
        try:
            answer = await _answer(gate, reader, request.method, sending)
            await _hand_back(gate, record, request, answer, client, dressed.secrets)
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            if not sending.cancelled():
                sending.exception()
    finally:
        abort(writer)


def _way(gate: Gate, request: Message) -> tuple[_Way, Credential | None]:
    found = _URL.fullmatch(request.target)
    if found is None:
        raise Malformed("this is a proxy: it takes whole URLs, http://..., and CONNECT")
    scheme, path = found[1].lower(), (found[3] or "/") + (found[4] or "")
    target = read_target(found[2], 443 if scheme == "https" else 80)
    _check_host_header(request, found[2], target)
    places = gate.credentials_of(target)
    secure = scheme == "https"
    if not places and scheme == "http" and target.port == 80:
        places = gate.credentials_of(Target(target.host, 443, target.address))
    if not places:
        return _Way(target, secure, path), None
    credential = fitting(places, request.method, path)
    if all(place.credential.plain for place in places) and not secure:
        return _Way(target, False, path), credential
    if target.port == 80:
        target = Target(target.host, 443, target.address)
    return _Way(target, True, path), credential


def _check_host_header(request: Message, authority: str, target: Target) -> None:
    said = request.get("host")
    if len(said) > 1:
        raise Malformed("it names its host twice")
    if said and said[0] != authority:
        named = read_target(said[0], target.port)
        if (named.host, named.port) != (target.host, target.port):
            raise Refused(f"its Host header says {said[0][:80]!r}, its URL {target.authority}")


def _request_headers(way: _Way, request: Message) -> Headers:
    usual = 443 if way.tls else 80
    host = way.target.shown if way.target.port == usual else way.target.authority
    headers = [("host", host)]
    headers += [(name, value) for name, value in request.passed_on() if name != "host"]
    if lengths := request.get("content-length"):
        headers.append(("content-length", lengths[0]))
    elif request.get("transfer-encoding"):
        headers.append(("transfer-encoding", "chunked"))
    headers.append(("connection", "close"))
    return headers


async def _send_body(gate: Gate, record: Record, request: Message, writer: StreamWriter) -> None:
    chunked = bool(request.get("transfer-encoding"))
    while piece := await request.piece():
        gate.count(record, up=len(piece))
        writer.write(chunk(piece) if chunked else piece)
        await writer.drain()
    if chunked:
        writer.write(LAST_CHUNK)
    await writer.drain()


async def _answer(
    gate: Gate, reader: StreamReader, method: str, sending: asyncio.Future[None]
) -> Message:
    """Its head. A server may answer before it has read the whole of a request."""
    answer = Message(
        reader, request=False, head_bytes=gate.limits.head_bytes, no_body=method == "HEAD"
    )
    heading = asyncio.ensure_future(_head(answer))
    try:
        await asyncio.wait({heading, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not heading.done() and sending.exception() is not None:
            # The server may have refused it with words, and closed.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.wait({heading})
        if not heading.done() and (error := sending.exception()) is not None:
            raise error
        await heading
        return answer
    finally:
        heading.cancel()


async def _head(answer: Message) -> None:
    try:
        there = await answer.head()
    except Malformed as error:
        raise Unreachable(f"the answer of the server cannot be read: {error}") from None
    if not there or answer.status == 101:
        raise Unreachable("the server ended the connection without an answer")


async def _hand_back(
    gate: Gate,
    record: Record,
    request: Message,
    answer: Message,
    client: StreamWriter,
    secrets: Sequence[str],
) -> None:
    masker = Masker([(record.credential, secret) for secret in secrets])
    headers = answer.passed_on()
    body: _Body | None = None
    if secrets:
        coding = ",".join(answer.get("content-encoding")).strip().lower()
        body = _Body(masker, coding)
        headers = [
            (masker.mask(name), masker.mask(value))
            for name, value in headers
            if name not in ("content-encoding", "content-md5", "digest", "etag")
        ]
    empty = request.method == "HEAD" or answer.status in _NO_BODY
    lengths = answer.get("content-length")
    chunked = not empty and (body is not None or not lengths) and request.version == "1.1"
    if chunked:
        headers.append(("transfer-encoding", "chunked"))
    elif lengths and (body is None or empty):
        headers.append(("content-length", lengths[0]))
    headers.append(("connection", "close"))
    record.status = answer.status
    client.write(head_of(f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", headers))
    if empty:
        await client.drain()
        return
    async for piece in _pieces(answer, body):
        gate.count(record, down=len(piece))
        client.write(chunk(piece) if chunked else piece)
        await client.drain()
    if chunked:
        client.write(LAST_CHUNK)
    await client.drain()


async def _pieces(answer: Message, body: _Body | None) -> AsyncIterator[bytes]:
    while piece := await answer.piece():
        for out in body.feed(piece) if body else (piece,):
            if out:
                yield out
    if body and (rest := body.end()):
        yield rest


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "-"


class _Body:
    """A body out of which what was put in is masked; packed ones are unpacked for it."""

    def __init__(self, masker: Masker, coding: str) -> None:
        self._stream: Stream = masker.stream()
        if coding in ("", "identity"):
            self._unpack = None
        elif coding in ("gzip", "x-gzip", "deflate"):
            self._unpack = zlib.decompressobj(47)
        else:
            # Asked for as it is, and sent in a way in which nothing could be found.
            raise Unreachable(
                f"the server packed its answer as {coding[:40]!r}, though it was asked not to"
            )

    def feed(self, piece: bytes) -> Iterator[bytes]:
        if self._unpack is None:
            yield self._stream.feed(piece)
            return
        while piece and not self._unpack.eof:
            try:
                yield self._stream.feed(self._unpack.decompress(piece, 1 << 20))
            except zlib.error:
                raise Malformed("the packed answer of the server cannot be unpacked") from None
            piece = self._unpack.unconsumed_tail

    def end(self) -> bytes:
        return self._stream.end()
