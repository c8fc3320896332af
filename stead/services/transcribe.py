"""Transcription: ``/v1/audio/transcriptions`` as the OpenAI API reference has it.

By Moonshine (tiny, English only, in its package) or, where ``services.whisper`` says so, by Whisper
(``base`` from packages, or the faster-whisper model in a folder). A recording is worked on in
pieces, cut where it is quiet, so that short ones are answered between the pieces of a long one.
"""

from __future__ import annotations

import importlib.util
import shutil
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from stead.core.errors import BadRequest, ModelUnusable
from stead.net.multipart import Form
from stead.services import audio, subtitles
from stead.services.kinds import BASE, WHISPER_PARTS
from stead.services.orders import Orders, Word
from stead.services.subtitles import Spoken
from stead.services.web import Answer, Call, Teller, event

_FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_PIECE_S = 28
"""The longest piece that is recognised at a time."""
_SEEK_S = 8
"""So far back from its end a quiet place is looked for."""
_FRAME = audio.RATE // 50
_SILENT = 80
"""A frame whose loudest sample is below this (-52 dB) holds no speech."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for."""

    format: str
    stream: bool
    language: str
    """ISO 639-1; empty: not said."""
    prompt: str
    words: bool
    temperature: float


class Recogniser(Protocol):
    """A model that turns sound into words."""

    language: str
    """The last one it heard, as a word: ``english``."""

    def check(self, wish: Wish) -> None:
        """Raises ``BadRequest`` for what it cannot do."""
        ...

    def pieces(self, sound: array[int], wish: Wish) -> Iterator[list[Spoken]]:
        """What was said, piece by piece: each step computes for a second or two."""
        ...


class Transcription:
    """The engine."""

    def __init__(self, recogniser: Recogniser, name: str) -> None:
        self._recogniser = recogniser
        self._name = name

    def paths(self) -> Mapping[str, Callable[[Call], Awaitable[Answer]]]:
        return {"audio/transcriptions": self.transcribe}

    async def transcribe(self, call: Call) -> Answer:
        form = call.form()
        file = form.part("file")
        if file is None:
            raise BadRequest(why="the field `file` with the recording is missing", param="file")
        wish = _wish(form)
        self._recogniser.check(wish)
        sound = await audio.samples(bytes(file.data))
        said = self._said(call, sound, wish)
        seconds = len(sound) / audio.RATE
        if wish.stream:
            return Answer(_events(said, seconds), "text/event-stream; charset=utf-8")
        spoken = [one async for one in said]
        return self._answer(spoken, seconds, wish)

    async def _said(self, call: Call, sound: array[int], wish: Wish) -> AsyncIterator[Spoken]:
        steps = self._recogniser.pieces(sound, wish)
        while (piece := await call.worker.run(next, steps, None)) is not None:
            for one in piece:
                if one.text:
                    yield one

    def _answer(self, spoken: list[Spoken], seconds: float, wish: Wish) -> Answer:
        text = " ".join(one.text for one in spoken)
        if wish.format == "text":
            return Answer(f"{text}\n".encode(), "text/plain; charset=utf-8")
        if wish.format == "srt":
            return Answer(subtitles.srt(spoken).encode(), "application/x-subrip; charset=utf-8")
        if wish.format == "vtt":
            return Answer(subtitles.vtt(spoken).encode(), "text/vtt; charset=utf-8")
        data: dict[str, Any] = {"text": text, "usage": _usage(seconds)}
        if wish.format == "verbose_json":
            data |= {
                "task": "transcribe",
                "language": self._recogniser.language,
                "duration": round(seconds, 3),
                "segments": [_segment(number, one) for number, one in enumerate(spoken)],
            }
            if wish.words:
                data["words"] = [
                    {"word": word, "start": start, "end": end}
                    for one in spoken
                    for word, start, end in one.words
                ]
        return Answer(msgspec.json.encode(data))


# --- Moonshine ----------------------------------------------------------------------------


class Moonshine:
    """English, by the model in its package; nothing is fetched."""

    language = "english"

    def __init__(self, transcriber: Any) -> None:
        self._transcriber = transcriber

    def check(self, wish: Wish) -> None:
        language = wish.language.lower()
        if language and language not in ("en", "english") and not language.startswith("en-"):
            raise BadRequest(
                why=f"this model hears English only, not {wish.language!r}; for other languages"
                " set services.whisper (docs/inference.md)",
                param="language",
            )
        if wish.words:
            raise BadRequest(
                why="this model does not tell when each word was said; ask for segments",
                param="timestamp_granularities",
            )

    def pieces(self, sound: array[int], wish: Wish) -> Iterator[list[Spoken]]:
        for start, end in cuts(sound):
            piece = sound[start:end]
            if max(piece) < _SILENT and min(piece) > -_SILENT:
                continue
            floats = [sample / 32768.0 for sample in piece]
            heard = self._transcriber.transcribe_without_streaming(floats, audio.RATE)
            at = start / audio.RATE
            yield [
                Spoken(
                    round(at + line.start_time, 3),
                    round(at + line.start_time + line.duration, 3),
                    line.text.strip(),
                )
                for line in heard.lines
            ]


def moonshine(orders: Orders, voice: Teller) -> Transcription:
    """The engine, its model in memory."""
    from moonshine_voice.moonshine_api import ModelArch  # late: an extra
    from moonshine_voice.transcriber import Transcriber  # late: an extra
    from moonshine_voice.utils import get_model_path  # late: an extra

    folder = Path(get_model_path("tiny-en"))
    if not folder.is_dir():
        raise ModelUnusable(
            name=orders.model, why="this version of moonshine-voice brings no model along;"
            " install moonshine-voice==0.0.49",
        )  # fmt: skip
    return Transcription(Moonshine(Transcriber(str(folder), ModelArch.TINY)), orders.model)


def cuts(sound: array[int]) -> Iterator[tuple[int, int]]:
    """Where to cut a recording: where it is quietest near the end of what can be taken at once."""
    most, start = _PIECE_S * audio.RATE, 0
    while start < len(sound):
        end = min(len(sound), start + most)
        if end < len(sound):
            first = end - _SEEK_S * audio.RATE
            frames = range(first, end - _FRAME, _FRAME)
            quiet = min(frames, key=lambda at: sum(map(abs, sound[at : at + _FRAME : 4])))
            end = quiet + _FRAME // 2
        yield start, end
        start = end


# --- Whisper ------------------------------------------------------------------------------


class Whisper:
    """Any language of the model in the owner's folder."""

    language = "english"

    def __init__(self, model: Any) -> None:
        self._model = model

    def check(self, wish: Wish) -> None:
        language = wish.language.lower()
        known = self._model.supported_languages
        if language and language not in known:
            raise BadRequest(
                why=f"this model does not know the language {wish.language!r}; it knows"
                f" {', '.join(sorted(known))}",
                param="language",
            )

    def pieces(self, sound: array[int], wish: Wish) -> Iterator[list[Spoken]]:
        import numpy  # late: comes with the extra

        floats = numpy.frombuffer(sound, dtype=numpy.int16).astype(numpy.float32) / 32768.0
        heard, info = self._model.transcribe(
            floats,
            language=wish.language.lower() or None,
            initial_prompt=wish.prompt or None,
            temperature=wish.temperature,
            word_timestamps=wish.words,
            vad_filter=True,  # silence makes Whisper invent words
        )
        self.language = str(info.language)
        yield []
        for one in heard:
            words = tuple(
                (str(word.word).strip(), round(float(word.start), 3), round(float(word.end), 3))
                for word in one.words or ()
            )
            # Its numbers are numpy's.
            start, end = round(float(one.start), 3), round(float(one.end), 3)
            yield [Spoken(start, end, str(one.text).strip(), words)]


def whisper(orders: Orders, voice: Teller) -> Transcription:
    """The engine, its model in memory."""
    import faster_whisper  # late: an extra of 300 MB

    if orders.whisper == BASE:
        folder = Path(orders.home) / "models" / "whisper-base"
        if not (folder / "model.bin").is_file():
            voice.say(Word("loading", words="putting the parts of Whisper base together (once)"))
            put_together(folder)
    else:
        folder = Path(orders.whisper)
    if not (folder / "model.bin").is_file():
        raise ModelUnusable(
            name="whisper", why=f"services.whisper is {folder}, where there is no model.bin of"
            " faster-whisper",
        )  # fmt: skip
    model = faster_whisper.WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=orders.threads,
        local_files_only=True,
    )  # fmt: skip
    return Transcription(Whisper(model), orders.model)


def put_together(folder: Path) -> None:
    """The model of the packages in one folder: its file lies in them in two parts."""
    sources = []
    for package in WHISPER_PARTS:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise ModelUnusable(name="whisper", why=f"the package {package} is not whole")
        sources.append(Path(found.origin).parent / "data")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / "model.bin.part"
    with draft.open("wb") as out:
        for source in sources:
            for part in sorted(source.glob("model.bin.part*")):
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out, 1 << 20)
            for other in source.iterdir():
                if other.suffix in (".json", ".txt"):
                    shutil.copyfile(other, folder / other.name)
    draft.replace(folder / "model.bin")  # last: what is there is whole


# --- the form and the answer --------------------------------------------------------------


def _wish(form: Form) -> Wish:
    """The fields of the form. Raises ``BadRequest``."""
    try:
        wanted = form.text("response_format") or "json"
        stream = (form.text("stream") or "false").lower()
        granularities = form.texts("timestamp_granularities")
        temperature = float(form.text("temperature") or 0.0)
        prompt, language = form.text("prompt"), form.text("language").strip()
    except ValueError as error:
        raise BadRequest(why=str(error)) from error
    if wanted not in _FORMATS:
        raise BadRequest(
            why=f"response_format may be {', '.join(_FORMATS)}, not {wanted!r}",
            param="response_format",
        )
    if odd := set(granularities) - {"segment", "word"}:
        raise BadRequest(
            why=f"timestamp_granularities may hold segment and word, not {odd.pop()!r}",
            param="timestamp_granularities",
        )
    if granularities and wanted != "verbose_json":
        raise BadRequest(
            why="timestamp_granularities need response_format verbose_json",
            param="timestamp_granularities",
        )
    if not 0.0 <= temperature <= 1.0:
        raise BadRequest(why="temperature must be from 0 to 1", param="temperature")
    return Wish(
        wanted, stream in ("true", "1"), language, prompt, "word" in granularities, temperature
    )


def _segment(number: int, one: Spoken) -> dict[str, Any]:
    """As OpenAI shapes it; what only Whisper's decoder knows is 0."""
    return {
        "id": number, "seek": 0, "start": one.start, "end": one.end, "text": one.text,
        "tokens": [], "temperature": 0.0, "avg_logprob": 0.0, "compression_ratio": 0.0,
        "no_speech_prob": 0.0,
    }  # fmt: skip


def _usage(seconds: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": -(-round(seconds * 1000) // 1000)}


async def _events(said: AsyncIterator[Spoken], seconds: float) -> AsyncIterator[bytes]:
    """As OpenAI streams it: pieces of text, then all of it."""
    texts: list[str] = []
    async for one in said:
        delta = one.text if not texts else f" {one.text}"
        texts.append(one.text)
        yield event({"type": "transcript.text.delta", "delta": delta})
    yield event({"type": "transcript.text.done", "text": " ".join(texts), "usage": _usage(seconds)})
