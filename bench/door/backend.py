"""A model server that answers at once with constants, or streams at a steady pace.

It speaks ``/v1/chat/completions`` as far as the benches ask for it. Prints its port and runs
until it is killed.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import cast

import uvloop

_ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"bench",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"Forty-two, as ever."},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":21,"completion_tokens":6,'
    b'"total_tokens":27}}'
)
_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_ANSWER),
    _ANSWER,
)
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"bench","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}'
    b"\n\n"
)
_LAST = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"bench","choices":[],"usage":{"prompt_tokens":21,"completion_tokens":100,'
    b'"total_tokens":121}}\n\n'
    b"data: [DONE]\n\n"
)

#: A stream: so many chunks, so far apart, in seconds, the first as long after the request.
CHUNKS, GAP_S = 100, 0.02


def _chunked(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


_FIRST, _PIECE, _END = _HEAD + _chunked(_EVENT), _chunked(_EVENT), _chunked(_LAST) + b"0\r\n\r\n"


class Server(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._data = b""
        self._left = 0
        self._at = 0.0
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + size:
                return
            body, self._data = self._data[end + 4 : end + 4 + size], self._data[end + 4 + size :]
            if b'"stream":true' in body:
                self._left, self._at = CHUNKS, self._loop.time() + GAP_S
                self._loop.call_at(self._at, self._stream)
            else:
                self._transport.write(_WHOLE)

    def _stream(self) -> None:
        if self._transport.is_closing():
            return
        first = self._left == CHUNKS
        self._left -= 1
        if self._left < 0:
            self._transport.write(_END)
            return
        self._transport.write(_FIRST if first else _PIECE)
        self._at += GAP_S
        self._loop.call_at(self._at, self._stream)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind(("127.0.0.1", 0))
        server = await loop.create_server(Server, sock=sock, backlog=1024)
        sys.stdout.write(f"{sock.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
