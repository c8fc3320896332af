"""Where an HTTP/1.1 message ends (RFC 9112), for a proxy that changes nothing in it."""

from __future__ import annotations

from collections.abc import Iterator

MAX_HEAD = 1 << 20


class NotHttp(ValueError):
    """These bytes are no HTTP/1.1 message."""


class Frames:
    """Cuts a stream of bytes into messages; the bytes themselves go through unchanged.

    ``answers``: of a server's answers; then ``without_body`` is to be set before the answer to a
    HEAD comes.
    """

    def __init__(self, *, answers: bool) -> None:
        self.without_body = False
        self.head = b""
        """The head of the message that is coming or came last, with its empty line."""
        self._answers = answers
        self._buffer = b""
        self._left = 0
        self._state = "head"

    @property
    def between(self) -> bool:
        """Whether no message has begun."""
        return self._state == "head" and not self._buffer

    def ends(self) -> bool:
        """The stream is over: whether that is a good end for what came last."""
        return self.between or self._state == "all"

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Pieces of messages as they come, each with whether it is a message's last."""
        self._buffer += data
        while self._buffer:
            step = getattr(self, f"_{self._state}")
            taken, done = step()
            if not taken:
                return
            piece, self._buffer = self._buffer[:taken], self._buffer[taken:]
            if done:
                self._state, self.without_body = "head", False
            yield piece, done

    # Each state says how many bytes of the buffer it takes, and whether the message ends there.

    def _head(self) -> tuple[int, bool]:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise NotHttp("the head of a message has no end")
            return 0, False
        self.head = self._buffer[: end + 4]
        if self.head.partition(b"\r\n")[0].count(b" ") < 2 - self._answers:
            raise NotHttp("the first line of a message is none")
        self._state = self._body()
        informal = self._answers and self.head[9:10] == b"1"
        if informal:  # "100 Continue": the answer itself is still to come
            self._state = "head"
            return end + 4, False
        return end + 4, self._state == "none"

    def _body(self) -> str:
        """What follows the head."""
        fields = header_fields(self.head)
        status = self.head[9:12] if self._answers else b""
        if self._answers and (self.without_body or status in (b"204", b"304")):
            return "none"
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            return "size"
        if b"content-length" in fields:
            try:
                self._left = int(fields[b"content-length"])
            except ValueError as error:
                raise NotHttp("a content-length is no number") from error
            return "fixed" if self._left else "none"
        return "all" if self._answers else "none"

    def _fixed(self) -> tuple[int, bool]:
        taken = min(self._left, len(self._buffer))
        self._left -= taken
        return taken, self._left == 0

    def _size(self) -> tuple[int, bool]:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return 0, False
        try:
            size = int(self._buffer[:end].partition(b";")[0], 16)
        except ValueError as error:
            raise NotHttp("the size of a chunk is no number") from error
        self._left = size + 2
        self._state = "chunk" if size else "trailer"
        return end + 2, False

    def _chunk(self) -> tuple[int, bool]:
        taken = min(self._left, len(self._buffer))
        self._left -= taken
        if self._left == 0:
            self._state = "size"
        return taken, False

    def _trailer(self) -> tuple[int, bool]:
        end = self._buffer.find(b"\r\n")
        return (0, False) if end < 0 else (end + 2, end == 0)

    def _all(self) -> tuple[int, bool]:
        return len(self._buffer), False


def header_fields(head: bytes) -> dict[bytes, bytes]:
    """The fields of a head, names in lower case; of a repeated one the last."""
    fields = {}
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            fields[name.strip().lower()] = value.strip()
    return fields
