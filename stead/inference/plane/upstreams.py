"""The connections to the backends: a pool for each instance."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from stead.core.errors import BackendFailed
from stead.core.states import Failure
from stead.inference.backends import Backend, FileKey
from stead.inference.plane.shapes import ANTHROPIC
from stead.inference.seam import Api, Asked
from stead.net.http import Client

_CONNECT_S = 10.0
#: How long a key is believed, in seconds, and how many heads are kept.
_KEY_S, _MOST_LINES = 1.0, 256
#: Headers of the client's that mean something to a backend.
_FORWARDED = tuple(
    (name.encode(), name) for name in ("anthropic-version", "anthropic-beta", "openai-beta")
)
#: Headers of a client's that are looked at.
WANTED = frozenset({b"content-type", *(name for name, _ in _FORWARDED)})
_JSON = "application/json"
_PATHS = {api: "/" + api.value for api in Api}
_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Line:
    """How a backend is asked in one shape: the connections to it, and the head of a request."""

    backend: Backend
    client: Client
    head: bytes
    """Up to its length."""
    key: str
    """That the head shows; to be kept out of what is passed on."""
    until: float
    """On ``time.monotonic()``: its key is read anew then."""


class Upstreams:
    """Clients by the place of the backend's instance."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._lines: dict[tuple[str, Api], Line] = {}

    def line(self, backend: Backend, asked: Asked, spoken: Api) -> Line:
        """Raises ``BackendFailed`` for an address that is none, or a key that is none."""
        plain = not asked.headers and not asked.query and asked.content_type == _JSON
        if plain:
            kept = self._lines.get((backend.place, spoken))
            if kept is not None and kept.backend is backend and monotonic() < kept.until:
                return kept
        own = backend.auth()
        client = self.client(backend)
        try:
            head = client.prepare(path_for(asked, spoken), head_for(asked, spoken, own))
        except ValueError:
            raise key_unusable(backend) from None
        key = own.get("x-api-key") or own.get("authorization", "").removeprefix("Bearer ")
        line = Line(backend, client, head, key, monotonic() + _KEY_S)
        if plain and isinstance(backend.key, str | FileKey):  # others are asked each time
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            self._lines[backend.place, spoken] = line
        return line

    def client(self, backend: Backend) -> Client:
        """Raises ``BackendFailed`` for an address that is none."""
        client = self._clients.get(backend.place)
        if client is None:
            try:
                client = Client(backend.url, connect_timeout=_CONNECT_S, max_idle=64)
            except ValueError as error:
                raise BackendFailed(backend=backend.name, why=str(error)) from None
            self._clients[backend.place] = client
        return client

    def forget(self, backend: Backend) -> None:
        """That instance is gone for good."""
        self._clients.pop(backend.place, None)
        self._lines.clear()

    async def aclose(self) -> None:
        """Close the idle connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
        self._lines.clear()


def head_for(asked: Asked, spoken: Api, own: dict[str, str]) -> dict[str, str]:
    """The headers of the request to a backend that is asked in the shape ``spoken``.

    ``own``: those of the backend itself, with its key.
    """
    kind, same = asked.content_type, asked.api is spoken
    if kind != _JSON and not (same and kind[:10].lower() == "multipart/"):
        kind = _JSON
    headers = {"content-type": kind}
    if spoken in ANTHROPIC:
        headers["anthropic-version"] = _VERSION
    if same and asked.headers:
        for name, text in _FORWARDED:
            if name in asked.headers:
                headers[text] = asked.headers[name].decode("latin-1")
    headers.update(own)
    return headers


def path_for(asked: Asked, spoken: Api) -> str:
    """Below the backend's URL."""
    path = _PATHS[spoken]
    return f"{path}?{asked.query}" if asked.query and asked.api is spoken else path


def key_unusable(backend: Backend) -> BackendFailed:
    """A key with characters that HTTP does not allow."""
    failed = BackendFailed(
        f"The key of the model server {backend.name} has characters that no key has. "
        f"See key_file of that backend in stead.toml."
    )
    failed.failure = Failure.AUTH
    failed.code = "backend_key"
    return failed
