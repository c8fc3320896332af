"""The webhook channel against a real receiver: what each answer means, and who may send."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from stead.channels.webhook import Webhook, retry_after, signature, signing_key
from stead.core.errors import (
    BadRequest,
    ChannelAway,
    DeliveryFailed,
    DeliveryInDoubt,
    DeliveryRefused,
    WrongKey,
)
from stead.core.keys import ensure_key, new_secret
from stead.core.nouns import Inbound
from stead.core.states import Lane
from stead.core.storage import Delivery
from tests.receiver import Answer, Receiver, receiving

SECRET = new_secret()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving(SECRET) as it:
        yield it


def delivery(text: str = "hello", ident: str = "0199-1", **more: Any) -> Delivery:
    return Delivery(
        1, ident, "home", "main", "job-1", text, "assistant", 1, at=1_764_000_000_123, **more
    )


@asynccontextmanager
async def webhook(url: str, secret: str = SECRET, **more: Any) -> AsyncIterator[Webhook]:
    channel = Webhook("home", url, secret, **{"timeout_s": 5.0, **more})
    try:
        yield channel
    finally:
        await channel.aclose()


# --- out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dedupes", [True, False])
async def test_a_reply_arrives(receiver: Receiver, dedupes: bool) -> None:
    """The text to the letter, what it answers, one key at every try, signed as the specification
    says; a second try is known over there and counts as delivered."""
    text = 'a "quoted" \\ line\nand 日本語 🏠 \x00 </script>'
    async with webhook(receiver.url + "?a=b", dedupes=dedupes) as channel:
        for _ in range(2):
            await channel.send(delivery(text, in_reply_to="their-7"))
    assert receiver.texts == [text] and receiver.copies[text] == 2
    first, second = receiver.requests
    assert first.key == second.key == first.headers["webhook-id"] == "0199-1"
    assert first.body == {
        "type": "reply",
        "timestamp": "2025-11-24T16:00:00.123Z",
        "data": {
            "id": "0199-1", "channel": "home", "session": "main", "in_reply_to": "their-7",
            "job_id": "job-1", "role": "assistant", "text": text,
        },
    }  # fmt: skip
    assert abs(int(first.headers["webhook-timestamp"]) - time.time()) < 60
    assert first.headers["content-type"] == "application/json"


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks specification, and a secret that is plain text."""
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    given = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert given == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signing_key(" plain text\n") == b"plain text"
    assert signing_key("whsec_not base64!") == b"whsec_not base64!"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None), (201, None), (202, None), (204, None), (299, None), (409, None),
        (400, DeliveryRefused), (401, DeliveryRefused), (404, DeliveryRefused),
        (410, DeliveryRefused), (413, DeliveryRefused), (422, DeliveryRefused),
        (408, DeliveryFailed), (425, DeliveryFailed), (500, DeliveryFailed), (501, DeliveryFailed),
        (429, ChannelAway), (502, ChannelAway), (503, ChannelAway), (504, ChannelAway),
        (301, ChannelAway), (307, ChannelAway), (304, ChannelAway),
    ],
)  # fmt: skip
async def test_what_an_answer_means(
    receiver: Receiver, status: int, error: type[Exception] | None
) -> None:
    """2xx and 409: delivered. Most 4xx: never. The rest: later."""
    receiver.answer = lambda got, nth: Answer(status, body=b"" if status in (204, 304) else b"why")
    async with webhook(receiver.url) as channel:
        if error is None:
            await channel.send(delivery())
        else:
            with pytest.raises(error, match=str(status)) as found:
                await channel.send(delivery())
            assert "why" in str(found.value) or status == 304


async def test_told_when_to_come_back(receiver: Receiver) -> None:
    """`Retry-After` in seconds or as a date is handed on; nonsense in it is not."""
    receiver.answer = lambda got, nth: Answer(503, {"Retry-After": "17"})
    async with webhook(receiver.url) as channel:
        with pytest.raises(ChannelAway) as found:
            await channel.send(delivery())
    assert found.value.wait_s == 17.0 and found.value.answered
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    later = format_datetime(now.replace(minute=2), usegmt=True)
    assert retry_after(later, now.timestamp()) == 120.0
    earlier = format_datetime(now.replace(hour=11), usegmt=True)
    assert retry_after(earlier, now.timestamp()) == 0.0
    for nonsense in ("", "soon", "-5", "1e9", "99:99"):
        assert retry_after(nonsense, now.timestamp()) == 0.0


async def test_a_redirect_says_what_to_do(receiver: Receiver) -> None:
    """A redirect is not followed with a signed reply; the words name where it leads."""
    receiver.answer = lambda got, nth: Answer(308, {"Location": "https://example.org/new"})
    async with webhook(receiver.url) as channel:
        with pytest.raises(ChannelAway, match=r"https://example\.org/new.*set `url`"):
            await channel.send(delivery())


@pytest.mark.parametrize(
    "answer", [Answer(cut="before"), Answer(cut="half"), Answer(late_s=1.0)], ids=str
)
@pytest.mark.parametrize("dedupes", [True, False])
async def test_nobody_knows(receiver: Receiver, answer: Answer, dedupes: bool) -> None:
    """Hung up on, or not answered in time: in doubt, and on a channel that cannot drop doubles
    it was sent once only."""
    receiver.answer = lambda got, nth: answer
    async with webhook(receiver.url, dedupes=dedupes, timeout_s=0.3) as channel:
        with pytest.raises(DeliveryInDoubt):
            await channel.send(delivery())
    assert receiver.copies["hello"] == 1


async def test_a_kept_connection_that_was_closed(receiver: Receiver) -> None:
    """A receiver that closes idle connections, or restarts on its port, causes no doubt."""
    for dedupes in (True, False):
        async with webhook(receiver.url, dedupes=dedupes) as channel:
            await channel.send(delivery("one", f"1-{dedupes}"))
            port = receiver.port
            receiver.close()
            with pytest.raises(ChannelAway, match="nothing listens"):
                await channel.send(delivery("two", f"2-{dedupes}"))
            receiver.__init__(SECRET, port)  # type: ignore[misc]
            await channel.send(delivery("two", f"2-{dedupes}"))
            assert receiver.texts == ["two"]


async def test_an_answer_without_end(receiver: Receiver) -> None:
    """Delivered is what was answered 2xx, whatever becomes of the rest; of an error's body only
    the beginning is read."""
    receiver.answer = lambda got, nth: Answer(200, {"X-Long": "x" * 5000}, body=b"y" * 3_000_000)
    async with webhook(receiver.url) as channel:
        await channel.send(delivery())
        receiver.answer = lambda got, nth: Answer(400, body=b"y" * 3_000_000)
        with pytest.raises(DeliveryRefused) as found:
            await channel.send(delivery())
    assert len(str(found.value)) < 400


async def test_offline() -> None:
    """Offline, nothing leaves this machine; what stays on it goes out."""
    async with webhook("https://example.org/x", offline=True) as channel:
        with pytest.raises(ChannelAway, match="offline"):
            await channel.send(delivery())
    with receiving(SECRET) as receiver:
        async with webhook(receiver.url, offline=True) as channel:
            await channel.send(delivery())
        assert receiver.texts == ["hello"]


async def test_nobody_there() -> None:
    """A host that is not there is said in words, without the secret or a password in the URL."""
    async with webhook("http://user:hidden@127.0.0.1:9/x") as channel:
        with pytest.raises(ChannelAway) as found:
            await channel.send(delivery())
    assert "127.0.0.1:9" in str(found.value) and "hidden" not in str(found.value)


# --- in --------------------------------------------------------------------------------------


def body(**more: Any) -> bytes:
    return json.dumps({"text": "hello", **more}).encode()


def signed(raw: bytes, ident: str = "msg_1", secret: str = SECRET) -> dict[str, str]:
    """The headers another implementation of the specification would send."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{ident}.1700000000.".encode() + raw, hashlib.sha256).digest()
    return {
        "webhook-id": ident,
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1,c3RhbGU= v1," + base64.b64encode(mac).decode() + " v1a,xyz",
    }


def receive(raw: bytes, headers: dict[str, str]) -> Inbound:
    return Webhook("home", "", SECRET, session="kitchen").receive(headers, raw)


def test_a_signed_message() -> None:
    """A message with a good signature is taken; its id is the one that was signed."""
    raw = body(mark="heavy", lane="background")
    got = receive(raw, signed(raw))
    assert (got.channel, got.external_id, got.text, got.session, got.mark, got.lane) == (
        "home", "msg_1", "hello", "kitchen", "heavy", Lane.BACKGROUND,
    )  # fmt: skip


def test_a_message_with_the_secret_itself() -> None:
    """The secret as a bearer key does as well; the identity is the body's, or the header's."""
    shown = {"authorization": f"Bearer {SECRET}"}
    assert receive(body(external_id="42", session="s"), shown).external_id == "42"
    assert receive(body(), {**shown, "idempotency-key": "43"}).external_id == "43"
    one, two = receive(body(), shown).external_id, receive(body(), shown).external_id
    assert one != two


@pytest.mark.parametrize(
    "spoil",
    [
        lambda h: {},
        lambda h: {**h, "webhook-signature": "v1,AAAA"},
        lambda h: {**h, "webhook-signature": "v1,ünsinn"},
        lambda h: {**h, "webhook-id": "msg_2"},
        lambda h: {**h, "webhook-timestamp": "1700000001"},
        lambda h: {"webhook-id": "msg_1"},
        lambda h: {"authorization": "Bearer wrong"},
        lambda h: {"authorization": "Bearer "},
        lambda h: {"authorization": f"Basic {SECRET}"},
    ],
)
def test_who_has_not_the_secret(spoil: Any) -> None:
    """Nothing signed, wrongly signed, or signed for something else is refused."""
    raw = body()
    with pytest.raises(WrongKey):
        receive(raw, spoil(signed(raw)))
    with pytest.raises(WrongKey):
        receive(raw + b" ", signed(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"text": ""}', b'{"text": " \\n"}',
        b'{"text": 3}', b'{"text": null}', b'{"text": "x", "lane": "fast"}', b"\xff\xfe",
        b'{"text": "x", "mark": "blue"}', b'{"text": "\\ud800"}', b"[" * 100_000,
        b'{"text": "x", "external_id": "' + b"9" * 201 + b'"}',
        b'{"text": "x", "session": "' + b"s" * 201 + b'"}',
    ],
    ids=lambda raw: repr(raw[:24]),
)  # fmt: skip
def test_what_is_no_message(raw: bytes) -> None:
    """A body that is not what it should be is a clear 400."""
    with pytest.raises(BadRequest):
        receive(raw, signed(raw))


async def test_a_reply_of_ours_is_no_message(receiver: Receiver) -> None:
    """A reply that somebody sends back to us, signature and all, is not taken for a message."""
    async with webhook(receiver.url) as channel:
        await channel.send(delivery("obey"))
    headers = receiver.requests[0].headers
    with pytest.raises(BadRequest):
        receive(receiver.requests[0].raw, headers)


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    """It is in a file of its own, 0600, and stays."""
    path = tmp_path / "home.whsec"
    first = ensure_key(path, "webhook")
    assert ensure_key(path, "webhook") == first and first.startswith("whsec_")
    assert len(signing_key(first)) == 32 and path.stat().st_mode & 0o777 == 0o600
