"""Speech from text: ``/v1/audio/speech`` as the OpenAI API reference has it, streamed.

By ``hibari`` (English, a voice in its package) or, where that is not installed and for other
languages, by the program espeak-ng. ``voice`` may be a voice of hibari, a language (``de``,
``fr-FR``: espeak-ng), or one of OpenAI's names, which all mean the usual voice here.
"""

from __future__ import annotations

import base64
import re
import shutil
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from stead.core.errors import BadRequest
from stead.services import audio, programs
from stead.services.kinds import PATH
from stead.services.orders import Orders
from stead.services.web import Answer, Call, Teller, Worker, event

_MOST_CHARS = 100_000
_OPENAI = frozenset(
    {"alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
     "shimmer", "verse"}
)  # fmt: skip
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*\Z")
_RATE = 24_000
"""Samples a second, as OpenAI's ``pcm`` has them."""


class _Voice(msgspec.Struct):
    """The newer way of naming a voice."""

    id: str


class _Speech(msgspec.Struct):
    """Fields beyond these (``instructions``) are passed over."""

    input: str
    model: str = ""
    voice: str | _Voice | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: float | None = None
    stream_format: Literal["audio", "sse"] | None = None


class Speaker(Protocol):
    """What says a text."""

    def say(self, text: str, voice: str, speed: float, worker: Worker) -> AsyncIterator[bytes]:
        """16-bit samples at 24 kHz, sentence by sentence. Raises ``BadRequest``."""
        ...


class Speech:
    """The engine."""

    def __init__(self, speaker: Speaker, name: str) -> None:
        self._speaker = speaker
        self._name = name

    def paths(self) -> Mapping[str, Callable[[Call], Awaitable[Answer]]]:
        return {"audio/speech": self.speech}

    async def speech(self, call: Call) -> Answer:
        asked = call.json(_Speech)
        if not asked.input.strip():
            raise BadRequest(why="the text to say is empty", param="input")
        if len(asked.input) > _MOST_CHARS:
            raise BadRequest(why=f"more than {_MOST_CHARS} characters of text", param="input")
        speed = 1.0 if asked.speed is None else asked.speed
        if not 0.25 <= speed <= 4.0:
            raise BadRequest(why="speed may be from 0.25 to 4", param="speed")
        voice = asked.voice.id if isinstance(asked.voice, _Voice) else asked.voice or ""
        said = self._speaker.say(asked.input.replace("\0", " "), voice, speed, call.worker)
        said = await _begun(said)
        wanted = asked.response_format or _usual()
        pieces = audio.encoded(said, _RATE, wanted)
        if asked.stream_format == "sse":
            return Answer(_events(pieces), "text/event-stream; charset=utf-8")
        return Answer(pieces, audio.FORMATS[wanted][1])


async def _begun(said: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, its first piece made: a voice that there is not shows up before a file's head."""
    first = await anext(said, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in said:
            yield piece

    return whole()


def _usual() -> str:
    """OpenAI's default is mp3; where nothing can make it, a WAV file is better than none (its
    content type says what it is)."""
    return "mp3" if shutil.which("ffmpeg", path=PATH) else "wav"


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        sound = base64.b64encode(piece).decode("ascii")
        yield event({"type": "speech.audio.delta", "audio": sound})
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield event({"type": "speech.audio.done", "usage": usage})


# --- hibari ---------------------------------------------------------------------------------


class Hibari:
    """English; a voice is a model of its own, loaded when it is first asked for."""

    def __init__(self, library: Any, voices: Any, usual: str, threads: int) -> None:
        self._library = library
        self._voices = voices
        self._usual = usual
        self._threads = threads
        self._loaded: dict[str, Any] = {}
        self.load(usual)

    async def say(
        self, text: str, voice: str, speed: float, worker: Worker
    ) -> AsyncIterator[bytes]:
        if voice not in self._voices.VOICES and voice not in _OPENAI and _LANGUAGE.match(voice):
            async for piece in _espeak(text, voice, speed):
                yield piece
            return
        speaker = await worker.run(self.load, self._name(voice))
        steps = speaker.stream(text, speed)
        spoken = False
        while (sound := await worker.run(next, steps, None)) is not None:
            if len(sound):
                spoken = True
                yield _as_bytes(sound)
        if not spoken:
            raise BadRequest(
                why="there is nothing in it that this voice can say: it speaks English (for"
                " another language, name it as the voice, such as de)",
                param="input",
            )

    def load(self, name: str) -> Any:
        """Raises ``BadRequest`` where the voice is not on this machine: nothing is fetched."""
        if name not in self._loaded:
            try:
                path = self._voices.voice_path(name, download_missing=False)
            except FileNotFoundError as missing:
                raise BadRequest(
                    why=f"the voice {name} is not on this machine; its file would be {missing}",
                    param="voice",
                ) from missing
            self._loaded[name] = self._library(voice=name, model=path, threads=self._threads)
        return self._loaded[name]

    def _name(self, voice: str) -> str:
        if voice in self._voices.VOICES and (voice not in _OPENAI or self._is_here(voice)):
            return voice
        if not voice or voice in _OPENAI:
            return self._usual
        known = ", ".join(sorted(self._voices.VOICES))
        raise BadRequest(
            why=f"there is no voice {voice!r}; there are {known}, and a language such as de"
            " (espeak-ng)",
            param="voice",
        )

    def _is_here(self, voice: str) -> bool:
        try:
            self._voices.voice_path(voice, download_missing=False)
        except FileNotFoundError:
            return False
        return True


def hibari(orders: Orders, voice: Teller) -> Speech:
    """The engine, its usual voice in memory."""
    from hibari import Hibari as Library  # late: an extra, and only this process needs it
    from hibari import voices

    # Other voices are found where the owner has put their files.
    folder = Path(orders.home) / "models" / "hibari"
    voices.cache_dir = lambda: str(folder)
    usual = orders.voice if orders.voice in voices.VOICES else voices.DEFAULT
    speaker = Hibari(Library, voices, usual, orders.threads)
    speaker.load(usual).phonemize("Warm.")
    return Speech(speaker, orders.model)


def _as_bytes(sound: Any) -> bytes:
    """Samples from -1 to 1 as 16-bit numbers."""
    data: bytes = (sound.clip(-1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    return data


# --- espeak-ng ------------------------------------------------------------------------------


class Espeak:
    """Very many languages, plainly; GPL, so only ever run as a program."""

    def __init__(self, usual: str) -> None:
        self._usual = usual if _LANGUAGE.match(usual) else "en"

    def say(self, text: str, voice: str, speed: float, worker: Worker) -> AsyncIterator[bytes]:
        named = voice if voice and voice not in _OPENAI else self._usual
        if not _LANGUAGE.match(named):
            raise BadRequest(
                why=f"there is no voice {voice!r}: name a language, such as en or de (espeak-ng)",
                param="voice",
            )
        return _espeak(text, named, speed)


def espeak(orders: Orders, voice: Teller) -> Speech:
    """The engine; the program is started for each text."""
    return Speech(Espeak(orders.voice), orders.model)


async def _espeak(text: str, language: str, speed: float) -> AsyncIterator[bytes]:
    program = programs.found("espeak-ng", f"Speech in the language {language}")
    words = str(max(80, min(450, round(175 * speed))))
    for sentence in _sentences(text):
        args = [program, "-v", language.lower().replace("_", "-"), "-s", words, "-b", "1",
                "--stdin", "--stdout"]  # fmt: skip
        try:
            wav = await programs.output(args, sentence.encode(), most=64_000_000)
        except programs.ProgramFailed as error:
            raise BadRequest(why=f"{error.message} (voice {language!r})", param="voice") from error
        if sound := _resampled(wav):
            yield sound


def _sentences(text: str) -> list[str]:
    """Pieces of some length that end with a sentence where there is one."""
    pieces: list[str] = []
    for part in re.split(r"(?<=[.!?;:\n])\s+", text):
        while len(part) > 2000:
            cut = part.rfind(" ", 0, 2000)
            cut = 2000 if cut <= 0 else cut
            pieces.append(part[:cut])
            part = part[cut:]
        if pieces and len(pieces[-1]) + len(part) < 200:
            pieces[-1] += f" {part}"
        else:
            pieces.append(part)
    return [piece for piece in pieces if piece.strip()]


def _resampled(wav: bytes) -> bytes:
    """The samples of espeak's WAV file (22,050 Hz, one channel) at 24 kHz."""
    at = wav.find(b"data")
    if not wav.startswith(b"RIFF") or at < 0:
        return b""
    rate = int.from_bytes(wav[24:28], "little")
    raw = wav[at + 8 :]
    samples = array("h")
    samples.frombytes(raw[: len(raw) // 2 * 2])
    count = len(samples) * _RATE // rate
    if not count:
        return b""
    step = rate / _RATE
    out = array("h", bytes(2 * count))
    last = len(samples) - 1
    for index in range(count):  # between two samples, on the straight line
        place = index * step
        left = int(place)
        part = place - left
        low, high = samples[left], samples[min(last, left + 1)]
        out[index] = int(low + (high - low) * part)
    return out.tobytes()


# mypy checks that both are speakers.
_SPEAKERS: tuple[type[Speaker], ...] = (Hibari, Espeak)
