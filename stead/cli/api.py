"""The gateway's API as the commands use it: JSON in and out, errors as ``SteadError``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stead import __version__
from stead.cli.http import Exchange, Pieces, ServerEvent, events, query, quote
from stead.config import Address
from stead.core.errors import GatewayAway, HomeUnusable, SteadError
from stead.core.keys import read_key

#: Longest silence of an event stream, in seconds; after it we connect anew and go on.
SILENCE_S = 60.0
UPLOAD_S = 120.0
"""How long a gateway that was handed a large file may take to put it on its disk."""


class Refused(SteadError):
    """The gateway answered {status}."""

    def __init__(self, message: str, *, status: int, kind: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code


class Answered(NamedTuple):
    """An answer as it came. Header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Api:
    """Calls to the gateway at ``address`` with the owner's key, or with another one.

    ``check`` is called once it turns out that no gateway is there: what may be wrong with the
    configuration is told then (by a ``ConfigError``), and costs nothing where one answers.
    ``most_s``: how long an answer is waited for.
    """

    def __init__(
        self,
        address: Address,
        *,
        url: str = "",
        key: str = "",
        check: Callable[[], object] = lambda: None,
        most_s: float = 30.0,
    ) -> None:
        self.url = url.rstrip("/") or address.url
        self._address = address
        self._key = key
        self._check = check
        self._most_s = most_s

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
        with self._open("POST", path, {"Content-Type": type_}, body, timeout) as exchange:
            return Answered(exchange.status, exchange.headers, exchange.read())

    def upload(self, name: str, pieces: Iterator[bytes], size: int) -> Any:
        """POST a file of ``size`` bytes to ``/api/v1/files``, piece by piece; what is known of it
        then."""
        headers = {"Accept": "application/json", "Content-Type": "application/octet-stream"}
        path = f"/api/v1/files{query({'name': name})}"
        with self._open("POST", path, headers, Pieces(pieces, size), UPLOAD_S) as exchange:
            answer = exchange.read()
        if exchange.status >= 400:
            raise refusal(exchange.status, answer)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise not_stead(self.url) from error

    def job_events(self, job_id: str, last: str = "") -> Iterator[ServerEvent]:
        """The events of a job from after the event ``last`` on; ends when the stream does.

        Raises ``GatewayAway`` when the gateway cannot be reached, ``ConnectionBroke``
        when the stream is cut.
        """
        with self.stream(f"/api/v1/jobs/{quote(job_id)}/events", last) as exchange:
            yield from events(iter(exchange))

    def stream(self, path: str, last: str = "") -> Exchange:
        """A stream of events from after ``last`` on, to be read by ``events`` and closed."""
        headers = {"Accept": "text/event-stream"}
        if last:
            headers["Last-Event-ID"] = last
        exchange = self._open("GET", path, headers, timeout=SILENCE_S)
        if exchange.status != 200:
            with exchange:
                raise refusal(exchange.status, exchange.read())
        return exchange

    def _open(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | Pieces = b"",
        timeout: float = 0.0,
    ) -> Exchange:
        try:
            opened = Exchange(
                self.url, method, path, headers={**self._headers(), **headers}, body=body,
                connect_timeout=min(3.0, self._most_s), timeout=timeout or self._most_s,
            )  # fmt: skip
        except GatewayAway:
            self._check()
            raise
        self._check = lambda: None  # it was there: should it go, that is not for lack of sense
        return opened

    def _headers(self) -> dict[str, str]:
        if not self._key:
            file, home = self._address.key_file, self._address.home
            if not self._address.elsewhere and not file.exists():
                why = f"stead was never started with the home directory {home}; start it"
                if (home / "state.db").exists():
                    why = f"the owner's key is gone from {file}; a new one is made by a start"
                raise GatewayAway(url=self.url, why=f"{why} with `stead up`")
            try:
                self._key = read_key(file)
            except HomeUnusable as error:
                if self._address.elsewhere:
                    more = "Copy the owner's key from the gateway's machine (`stead key`) to there"
                    raise HomeUnusable(f"{error.message}. {more}") from error
                raise
        return {"Authorization": f"Bearer {self._key}", "User-Agent": f"stead/{__version__}"}

    def _call(self, method: str, path: str, data: object = None) -> Any:
        headers = {"Accept": "application/json"}
        body = b""
        if method == "POST":
            body = json.dumps({} if data is None else data).encode()
            headers["Content-Type"] = "application/json"
        with self._open(method, path, headers, body) as exchange:
            answer = exchange.read()
        if exchange.status >= 400:
            raise refusal(exchange.status, answer)
        try:
            return json.loads(answer) if answer else {}
        except (ValueError, RecursionError) as error:
            raise not_stead(self.url) from error


def refusal(status: int, body: bytes) -> SteadError:
    """The error that an answer in the OpenAI error shape stands for."""
    try:
        error = json.loads(body)["error"]
        message, kind, code = error["message"], error.get("type"), error.get("code")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
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
