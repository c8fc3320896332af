"""The webhook channel: messages come in by POST, replies go out by POST, both signed.

Signatures are those of the Standard Webhooks specification (standardwebhooks.com, 1.0.0)::

    webhook-id: 0199f3...          the delivery's id, the same at every try
    webhook-timestamp: 1764000000  seconds, when this try was made
    webhook-signature: v1,BASE64(HMAC-SHA256(secret, "{id}.{timestamp}.{body}"))

What the receiver answers decides what follows (``core.ports.Channel``)::

    2xx, 409                      it has it (409: it had it before)
    408, 425, 500, 501, 505...    tried again, the conversation waits
    429, 502, 503, 504, 3xx       nothing is sent for a while (Retry-After is heeded)
    any other 4xx                 refused for good
    no connection                 nothing is sent for a while; nothing was sent
    no answer, or half a head     in doubt
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from stead.core.errors import (
    BadRequest,
    ChannelAway,
    DeliveryFailed,
    DeliveryInDoubt,
    DeliveryRefused,
    SteadError,
    WrongKey,
)
from stead.core.ids import uuid7
from stead.core.nouns import Inbound
from stead.core.states import Lane
from stead.core.storage import Delivery
from stead.net.http import Client, ConnectFailed, HttpFailed

_LATER = frozenset({408, 425})
_BUSY = frozenset({429, 502, 503, 504})
_NOTE_BYTES = 2000
"""So much of an answer is read, for the words of an error."""
_LOOPBACK = ("127.", "localhost", "::1")


class _Message(msgspec.Struct):
    """The body of an inbound message."""

    text: str
    session: str = ""
    external_id: str = ""
    mark: str = ""
    lane: Lane = Lane.CHAT


class Webhook:
    """One receiver and sender of messages. ``url`` empty: replies wait to be read.

    ``dedupes``: whether the receiver drops a delivery whose ``Idempotency-Key`` it has had.
    ``offline``: replies go to this machine only.
    """

    def __init__(
        self,
        name: str,
        url: str,
        secret: str,
        *,
        dedupes: bool = False,
        session: str = "main",
        timeout_s: float = 30.0,
        offline: bool = False,
        foreign: bool = False,
    ) -> None:
        self.name = name
        self._foreign = foreign
        self.dedupes = dedupes
        self._secret = secret
        self._key = signing_key(secret)
        self._session = session
        self._timeout_s = timeout_s
        self._path, self._client = "", None
        if url:
            parts = urlsplit(url)
            self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            base = parts._replace(path="", query="", fragment="").geturl()
            # Where doubles do harm each reply gets a connection of its own: one that was kept
            # might be closed from afar just as it is used, and that would leave a doubt.
            self._client = Client(
                base, connect_timeout=min(5.0, timeout_s), max_idle=4 if dedupes else 0
            )
            host = parts.hostname or ""
            self._barred = offline and not host.startswith(_LOOPBACK)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    # --- out ---------------------------------------------------------------------------

    async def send(self, delivery: Delivery) -> None:
        """Post one reply; see the table above."""
        if self._client is None:
            raise ChannelAway(channel=self.name, why="it has no url that replies could go to")
        if self._barred:
            raise ChannelAway(channel=self.name, why="stead is offline (`offline` in stead.toml)")
        body = msgspec.json.encode(_body(delivery))
        headers = {
            "content-type": "application/json",
            "user-agent": "stead-webhook/1",
            "idempotency-key": delivery.message_id,
            **signed(self._key, delivery.message_id, int(time.time()), body),
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._client.stream(
                    "POST", self._path, body=body, headers=headers, timeout=None,
                    retry=self.dedupes,
                )  # fmt: skip
        except ConnectFailed as error:
            raise ChannelAway(channel=self.name, why=str(error)) from error
        except TimeoutError as error:
            why = f"{self._client.server} did not answer within {self._timeout_s:g} s"
            raise DeliveryInDoubt(channel=self.name, why=why) from error
        except HttpFailed as error:
            raise DeliveryInDoubt(channel=self.name, why=str(error)) from error
        async with answer:
            if 200 <= answer.status < 300 or answer.status == 409:
                return  # the status says it all; what else it has to say may take its time
            why = f"it answered {answer.status}"
            said = await _words(answer)
            raise self._trouble(answer.status, why + (f": {said}" if said else ""), answer.headers)

    async def seen(self, delivery: Delivery) -> bool | None:
        """A webhook cannot be asked what it has."""
        return None

    def _trouble(self, status: int, why: str, headers: Mapping[str, str]) -> SteadError:
        wait_s = retry_after(headers.get("retry-after", ""), time.time())
        if status < 400:
            moved = headers.get("location", "")
            why += f" (to {moved}); redirects are not followed, set `url` to its address"
        if status in _BUSY or status < 400:
            away = ChannelAway(channel=self.name, why=why)
            away.wait_s, away.answered = wait_s, True
            return away
        if status in _LATER or status >= 500:
            failed = DeliveryFailed(channel=self.name, why=why)
            failed.wait_s = wait_s
            return failed
        return DeliveryRefused(channel=self.name, why=why)

    # --- in ----------------------------------------------------------------------------

    def receive(self, headers: Mapping[str, str], body: bytes) -> Inbound:
        """The message in a request that is signed, or that shows the secret itself
        (``Authorization: Bearer``). Its identity is ``external_id`` of the body, else
        ``webhook-id``, else ``Idempotency-Key``; without one, each request is a new message.

        The timestamp is not judged: what was signed once and is sent again has the same
        identity, and the record knows it for ever.
        """
        self._check(headers, body)
        try:
            said = msgspec.json.decode(body, type=_Message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(why=f'{error}. The body is JSON: {{"text": "..."}}') from error
        if not said.text.strip():
            raise BadRequest("The message is empty.", param="text")
        if said.mark not in ("", "light", "heavy"):
            raise BadRequest("mark must be light, heavy or empty.", param="mark")
        ident = said.external_id or headers.get("webhook-id") or headers.get("idempotency-key")
        session = said.session or self._session
        for name, value in (("external_id", ident or ""), ("session", session)):
            if len(value) > 200:
                raise BadRequest(f"{name} may have at most 200 characters.", param=name)
        return Inbound(
            channel=self.name,
            external_id=ident or f"auto:{uuid7()}",
            text=said.text,
            session=session,
            mark=said.mark,
            lane=said.lane,
            foreign=self._foreign,
        )

    def _check(self, headers: Mapping[str, str], body: bytes) -> None:
        given = headers.get("webhook-signature", "")
        if given:
            ident, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
            right = signature(self._key, ident, at, body)
            for one in given.split():  # several, while a secret is being replaced
                if hmac.compare_digest(one.encode(), right.encode()):
                    return
            raise WrongKey(f"The signature does not fit the secret of the channel {self.name}.")
        kind, _, key = headers.get("authorization", "").partition(" ")
        shown = key.strip() if kind.lower() == "bearer" else ""
        if not hmac.compare_digest(shown.encode(), self._secret.encode()):
            raise WrongKey(
                f"The channel {self.name} wants a webhook-signature, or its secret as"
                " `Authorization: Bearer`."
            )


def signing_key(secret: str) -> bytes:
    """The bytes that a secret stands for: ``whsec_`` and base64, or any other text as it is."""
    text = secret.strip()
    if text.startswith("whsec_"):
        try:
            return base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            pass  # not what it looks like
    return text.encode()


def signature(key: bytes, ident: str, at: int | str, body: bytes) -> str:
    mac = hmac.new(key, f"{ident}.{at}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def signed(key: bytes, ident: str, at: int, body: bytes) -> dict[str, str]:
    """The three headers of the specification."""
    return {
        "webhook-id": ident,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(key, ident, at, body),
    }


def retry_after(text: str, now: float) -> float:
    """``Retry-After`` (RFC 9110, 10.2.3) in seconds from ``now``; 0 if there is none."""
    if text.strip().isdigit():
        return float(text)
    if not text:
        return 0.0
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return 0.0


def _body(delivery: Delivery) -> dict[str, Any]:
    at = datetime.fromtimestamp(delivery.at / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "type": "reply" if delivery.role == "assistant" else delivery.role,
        "timestamp": at.replace("+00:00", "Z"),
        "data": {
            "id": delivery.message_id,
            "channel": delivery.channel,
            "session": delivery.session,
            "in_reply_to": delivery.in_reply_to,
            "job_id": delivery.job_id,
            "role": delivery.role,
            "text": delivery.text,
        },
    }


async def _words(answer: Any) -> str:
    """The beginning of what it said, for people; never waits long for it."""
    said = b""
    try:
        async with asyncio.timeout(2.0):
            async for piece in answer:
                said += piece
                if len(said) >= _NOTE_BYTES:
                    break
    except (HttpFailed, TimeoutError):
        pass
    text = said[:_NOTE_BYTES].decode("utf-8", "replace")
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()[:200]
