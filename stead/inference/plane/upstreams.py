"""The connections to the backends: a pool for each instance."""

from __future__ import annotations

from stead.core.errors import BackendFailed
from stead.core.states import Failure
from stead.inference.backends import Backend
from stead.inference.plane.shapes import ANTHROPIC
from stead.inference.seam import Api, Asked
from stead.net.http import Client

_CONNECT_S = 10.0
#: Headers of the client's that mean something to a backend.
_FORWARDED = tuple(
    (name.encode(), name) for name in ("anthropic-version", "anthropic-beta", "openai-beta")
)
_JSON = "application/json"
_PATHS = {api: "/" + api.value for api in Api}
_VERSION = "2023-06-01"


class Upstreams:
    """Clients by the place of the backend's instance."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

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

    async def aclose(self) -> None:
        """Close the idle connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()


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
