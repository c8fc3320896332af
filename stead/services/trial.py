"""Asks a service for something whose answer is known: ``stead services test``."""

from __future__ import annotations

import math
from array import array
from collections.abc import Awaitable, Callable

import msgspec

from stead.core.errors import ServiceUnavailable, SteadError
from stead.net.http import Client, HttpFailed, Response
from stead.services.audio import RATE, wav_head

_WAIT_S = 60.0
_BOUNDARY = "stead-trial"
_FORM = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}


class TrialFailed(SteadError):
    """The service {name} answers, but not as it should: {why}"""

    status = 502
    code = "trial_failed"


async def trial(name: str, url: str, key: str) -> str:
    """What it did, in words. Raises ``TrialFailed``, or ``ServiceUnavailable`` if it is gone."""
    async with Client(url, headers={"authorization": f"Bearer {key}"}) as client:
        try:
            return await _TRIALS[name](client)
        except HttpFailed as error:
            raise ServiceUnavailable(name=name, why=str(error)) from error


async def _embed(client: Client) -> str:
    texts = ["How do I feed a cat?", "Was frisst eine Katze?", "The share price fell on Friday."]
    answer = await _ask(client, "embed", "/embeddings", msgspec.json.encode({"input": texts}), {})
    one, other, third = (
        entry["embedding"] for entry in msgspec.json.decode(answer.body, type=dict)["data"]
    )
    near, far = _likeness(one, other), _likeness(one, third)
    if near <= far:
        raise TrialFailed(name="embed", why=f"a likeness of {near:.2f} should be above {far:.2f}")
    return f"{len(one)} dimensions; like texts {near:.2f}, unlike ones {far:.2f}"


async def _speech(client: Client) -> str:
    body = msgspec.json.encode({"input": "Hello there.", "response_format": "pcm"})
    answer = await _ask(client, "speech", "/audio/speech", body, {})
    seconds = len(answer.body) / 2 / 24_000
    if seconds < 0.2:
        raise TrialFailed(name="speech", why=f"two words took {seconds:.2f} s")
    return f"said two words in {seconds:.1f} s"


async def _transcription(client: Client) -> str:
    await _ask(client, "transcription", "/audio/transcriptions", _form(_tone()), _FORM)
    return "listened to a second of sound"


async def _activity(client: Client) -> str:
    answer = await _ask(client, "vad", "/audio/activity", _form(_tone()), _FORM)
    found = msgspec.json.decode(answer.body, type=dict)
    if found["duration"] != 1.0:
        raise TrialFailed(name="vad", why=f"a second of sound took {found['duration']} s")
    return f"found {found['speech_s']} s of speech in a second of a plain tone"


async def _ocr(client: Client) -> str:
    answer = await _ask(client, "ocr", "/ocr", _form(_picture("STEAD")), _FORM)
    text = str(msgspec.json.decode(answer.body, type=dict)["text"]).strip()
    if text.upper() != "STEAD":
        raise TrialFailed(name="ocr", why=f"it read {text!r} in a picture of the word STEAD")
    return "read a word in a picture"


_TRIALS: dict[str, Callable[[Client], Awaitable[str]]] = {
    "embed": _embed,
    "speech": _speech,
    "transcription": _transcription,
    "ocr": _ocr,
    "vad": _activity,
}


async def _ask(
    client: Client, name: str, path: str, body: bytes, headers: dict[str, str]
) -> Response:
    answer = await client.request("POST", path, body=body, headers=headers, timeout=_WAIT_S)
    if answer.status != 200:
        raise TrialFailed(name=name, why=f"{answer.status} {answer.body.decode()[:500]}")
    return answer


def _form(data: bytes) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="it"\r\n\r\n'
    return head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _tone() -> bytes:
    """A second of a plain tone, as a WAV file."""
    samples = array("h", (int(6000 * math.sin(at * 0.1)) for at in range(RATE)))
    return wav_head(RATE, 2 * RATE) + samples.tobytes()


def _likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


#: Five columns of seven points a letter, the lowest bit on top.
_LETTERS = {
    "S": (0x26, 0x49, 0x49, 0x49, 0x32),
    "T": (0x01, 0x01, 0x7F, 0x01, 0x01),
    "E": (0x7F, 0x49, 0x49, 0x49, 0x41),
    "A": (0x7E, 0x09, 0x09, 0x09, 0x7E),
    "D": (0x7F, 0x41, 0x41, 0x22, 0x1C),
}
_SIZE = 6
"""Pixels of a point."""


def _picture(word: str) -> bytes:
    """A word in large letters, as a portable grey map."""
    columns = [0] * 4
    for letter in word:
        columns += [*_LETTERS[letter], 0, 0]
    columns += [0] * 4
    rows = [0] * 4 + [1 << row for row in range(7)] + [0] * 4
    lines = [
        b"".join((b"\0" if column & row else b"\xff") * _SIZE for column in columns) * _SIZE
        for row in rows
    ]
    return b"P5 %d %d 255\n" % (len(columns) * _SIZE, len(rows) * _SIZE) + b"".join(lines)
