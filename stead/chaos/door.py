"""A plain HTTP client for the harness: the standard library's, so that nothing of stead's own
client can hide a fault of stead."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: What a call may end with when the other side is away or broken.
AWAY = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class Door:
    """The gateway's API at a port of this machine, with the owner's key."""

    port: int
    key: str

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> tuple[int, Any]:
        """One request: status and decoded answer. Raises one of ``AWAY``."""
        with self.open(method, path, body, headers=headers, timeout=timeout) as answer:
            raw = answer.read()
            return answer.status, json.loads(raw) if raw else None

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Iterator[http.client.HTTPResponse]:
        """One request with its answer still arriving; ``timeout`` is the longest silence."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            sent = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
            connection.request(method, path, data, {**sent, **(headers or {})})
            yield connection.getresponse()
        finally:
            connection.close()


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str, str]]:
    """The events of a stream as (name, id, data); comments are passed over.

    A stream that ends in the middle of an event just ends: whoever reads it knows what the
    last event has to be.
    """
    name, ident = "message", ""
    data: list[str] = []
    while line := answer.readline():
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not line.endswith(b"\n"):
            return
        if not text:
            if data:
                yield name, ident, "\n".join(data)
            name, data = "message", []
        elif not text.startswith(":"):
            field, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "id":
                ident = value
            elif field == "data":
                data.append(value)
