"""The gateway's API as the commands use it: JSON in and out, errors as ``SteadError``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from stead import __version__
from stead.cli.http import Exchange, ServerEvent, events, query, quote
from stead.config import Loaded
from stead.core.errors import GatewayAway, HomeUnusable, SteadError
from stead.core.keys import read_key

#: Longest silence of an event stream, in seconds; after it we connect anew and go on.
SILENCE_S = 60.0


class Refused(SteadError):
    """The gateway answered {status}."""

    def __init__(self, message: str, *, status: int, kind: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it came. Header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Api:
    """Calls to the gateway of ``loaded`` with the owner's key, or with another one."""

    def __init__(self, loaded: Loaded, *, url: str = "", key: str = "") -> None:
        self.url = url.rstrip("/") or loaded.gateway_url
        self._loaded = loaded
        self._key = key

    def get(self, path: str, **filters: object) -> Any:
        """GET ``path``; filters that are None or empty are left out."""
        return self._call("GET", path + query(filters))

    def post(self, path: str, data: object = None) -> Any:
        return self._call("POST", path, data)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def ask(self, path: str, body: bytes, type_: str, *, timeout: float) -> Answered:
        """POST a body as it is and return the whole answer, whatever its status. ``timeout``: the
        longest silence, in seconds."""
        headers = {**self._headers(), "Content-Type": type_}
        with Exchange(
            self.url, "POST", path, headers=headers, body=body, timeout=timeout
        ) as exchange:
            return Answered(exchange.status, exchange.headers, exchange.read())

    def job_events(self, job_id: str, last: str = "") -> Iterator[ServerEvent]:
        """The events of a job from after the event ``last`` on; ends when the stream does.

        Raises ``GatewayAway`` when the gateway cannot be reached, ``ConnectionBroke``
        when the stream is cut.
        """
        headers = {**self._headers(), "Accept": "text/event-stream"}
        if last:
            headers["Last-Event-ID"] = last
        path = f"/api/v1/jobs/{quote(job_id)}/events"
        with Exchange(self.url, "GET", path, headers=headers, timeout=SILENCE_S) as exchange:
            if exchange.status != 200:
                raise refusal(exchange.status, exchange.read())
            yield from events(iter(exchange))

    def _headers(self) -> dict[str, str]:
        if not self._key:
            file = self._loaded.owner_key_file
            if not file.exists() and not self._loaded.settings.node.gateway:
                home = self._loaded.home
                why = f"stead was never started with the home directory {home}; start it"
                if (home / "state.db").exists():
                    why = f"the owner's key is gone from {file}; a new one is made by a start"
                raise GatewayAway(url=self.url, why=f"{why} with `stead up`")
            try:
                self._key = read_key(file)
            except HomeUnusable as error:
                if self._loaded.settings.node.gateway:
                    more = "Copy the owner's key from the gateway's machine (`stead key`) to there"
                    raise HomeUnusable(f"{error.message}. {more}") from error
                raise
        return {"Authorization": f"Bearer {self._key}", "User-Agent": f"stead/{__version__}"}

    def _call(self, method: str, path: str, data: object = None) -> Any:
        headers = {**self._headers(), "Accept": "application/json"}
        body = b""
        if method == "POST":
            body = msgspec.json.encode({} if data is None else data)
            headers["Content-Type"] = "application/json"
        with Exchange(self.url, method, path, headers=headers, body=body) as exchange:
            answer = exchange.read()
        if exchange.status >= 400:
            raise refusal(exchange.status, answer)
        try:
            return msgspec.json.decode(answer) if answer else {}
        except msgspec.DecodeError as error:
            raise not_stead(self.url) from error


def refusal(status: int, body: bytes) -> SteadError:
    """The error that an answer in the OpenAI error shape stands for."""
    try:
        error = msgspec.json.decode(body)["error"]
        message, kind, code = error["message"], error.get("type"), error.get("code")
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        message, kind, code = "", "", ""
    return Refused(
        str(message or f"The gateway answered {status} and did not say why."),
        status=status,
        kind=str(kind or "server_error"),
        code=str(code or ""),
    )


def not_stead(url: str) -> SteadError:
    """Something else listens where the gateway should be."""
    return SteadError(f"What answers at {url} is not stead; see `listen` in stead.toml")
