"""The real libraries and programs, each in its service's process, asked over HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import math
import os
import random
import shutil
import signal
import struct
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image, ImageDraw, ImageFont

from stead.net.http import Client, HttpFailed, Response
from stead.services import audio
from stead.services.kinds import EMBED, OCR, PATH, SPEECH, TRANSCRIPTION, VAD, Kind, Options
from stead.services.supervisor import Services
from stead.services.trial import trial
from tests.unit.services.test_supervisor import until

SAID = "Please remember the milk. The train leaves at nine."


#: What CI does not install: some 300 MB each.
LARGE = ("rapidocr", "whisper-base")


def need(*kinds: Kind, means: str = "") -> None:
    """Skip where one of them is not installed; in CI fail, since CI installs them."""
    for kind in kinds:
        wanted = [one for one in kind.means if not means or one.name == means]
        if all(one.missing() for one in wanted):
            words = f"{kind.name} needs {wanted[0].missing()}: {wanted[0].install}"
            if os.environ.get("CI") == "true" and means not in LARGE:
                pytest.fail(words)
            pytest.skip(words)


class Asked:
    """A service, to be asked."""

    def __init__(self, services: Services, client: Client, name: str) -> None:
        self.services = services
        self.client = client
        self.name = name

    async def json(self, path: str, **body: Any) -> Response:
        return await self.client.request(
            "POST", path, body=msgspec.json.encode(body), timeout=120.0, retry=False
        )

    async def form(self, path: str, file: bytes, **fields: str) -> Response:
        lines = [
            f'--BB\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        head = '--BB\r\nContent-Disposition: form-data; name="file"; filename="it"\r\n\r\n'
        body = "".join(lines).encode() + head.encode() + file + b"\r\n--BB--\r\n"
        headers = {"content-type": "multipart/form-data; boundary=BB"}
        return await self.client.request(
            "POST", path, body=body, headers=headers, timeout=120.0, retry=False
        )


@asynccontextmanager
async def service(home: Path, kind: Kind, **options: Any) -> AsyncIterator[Asked]:
    services = Services(Options(home, **options), [kind])
    try:
        at = await services.backend(kind.name)
        async with Client(at.url, headers={"authorization": f"Bearer {at.key}"}) as client:
            yield Asked(services, client, kind.name)
    finally:
        await services.aclose()


def read(answer: Response) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return dict(msgspec.json.decode(answer.body))


def fault(answer: Response) -> tuple[int, str, str]:
    """Status, parameter and words of an error."""
    error = msgspec.json.decode(answer.body)["error"]
    return answer.status, error["param"] or "", error["message"]


def likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


# --- embeddings ---------------------------------------------------------------------------


async def test_embeddings(tmp_path: Path) -> None:
    """Like texts are alike in every language, numbers and base64 say the same, a part is of
    length 1, the prefixes count, and each fault is named."""
    need(EMBED)
    async with service(tmp_path, EMBED) as embed:
        texts = ["The cat sleeps on the sofa.", "Die Katze schläft auf dem Sofa.", "Shares fell."]
        found = read(await embed.json("/embeddings", input=texts, model="embed"))
        rows = [entry["embedding"] for entry in found["data"]]
        assert [entry["index"] for entry in found["data"]] == [0, 1, 2]
        assert [len(row) for row in rows] == [384] * 3
        assert likeness(rows[0], rows[1]) > likeness(rows[0], rows[2]) + 0.05
        assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 10
        packed = read(await embed.json("/embeddings", input=texts, encoding_format="base64"))
        raw = base64.b64decode(packed["data"][2]["embedding"])
        assert list(struct.unpack("<384f", raw)) == pytest.approx(rows[2], abs=1e-6)
        small = read(await embed.json("/embeddings", input=texts[0], dimensions=64))
        part = small["data"][0]["embedding"]
        assert len(part) == 64
        assert math.isclose(likeness(part, part), 1.0, abs_tol=1e-5)

        async def one(text: str, **more: str) -> list[float]:
            answer = read(await embed.json("/embeddings", input=text, **more))
            return [float(number) for number in answer["data"][0]["embedding"]]

        plain, passage = await one("cats"), await one("cats", input_type="passage")
        assert likeness(plain, passage) < 0.999
        assert await one("passage: cats") == pytest.approx(passage, abs=1e-6)
        assert await one("query: cats", input_type="document") == pytest.approx(plain, abs=1e-6)
        assert likeness(await one("cats\0and much else"), plain) < 0.999
        for body, param, words in (
            ({"input": [1, 2, 3]}, "input[0]", "token ids"),
            ({"input": [[1, 2], [3]]}, "input[0]", "token ids"),
            ({"input": []}, "input", "empty"),
            ({"input": ["a", " "]}, "input[1]", "empty"),
            ({"input": ["x"] * 2049}, "input", "2048"),
            ({"input": "x" * 50_000}, "input", "characters"),
            ({"input": "x", "dimensions": 385}, "dimensions", "384"),
            ({"input": "x", "encoding_format": "int8"}, "encoding_format", ""),
            ({}, "input", "missing"),
        ):
            status, at, message = fault(await embed.json("/embeddings", **body))
            assert (status, at) == (400, param), message
            assert words in message
        assert embed.services.state("embed").falls == 0


async def test_reranking(tmp_path: Path) -> None:
    """The document that answers the question comes first, with its place in the request."""
    need(EMBED)
    async with service(tmp_path, EMBED) as embed:
        documents: list[Any] = [
            "The stock market fell on Friday.", {"text": "Cats mostly eat mice and birds."},
            "A cathedral is a large church.",
        ]  # fmt: skip
        ask = {"query": "What does a cat eat?", "documents": documents}
        found = read(await embed.json("/rerank", **ask, return_documents=True))
        first = found["results"][0]
        assert (first["index"], first["document"]["text"]) == (1, documents[1]["text"])
        scores = [result["relevance_score"] for result in found["results"]]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        top = read(await embed.json("/rerank", **ask, top_n=1))["results"]
        assert [set(result) for result in top] == [{"index", "relevance_score"}]
        for change, param in (
            ({"query": ""}, "query"), ({"documents": []}, "documents"), ({"top_n": 0}, "top_n"),
            ({"documents": [{"image": "x"}]}, "documents[0]"),
        ):  # fmt: skip
            assert fault(await embed.json("/rerank", **(ask | change)))[:2] == (400, param)


async def test_a_real_service_killed_while_it_works(tmp_path: Path) -> None:
    """kill -9 in the middle of a long request: an error at once, and the next one is answered."""
    need(EMBED)
    async with service(tmp_path, EMBED) as embed:
        pid = embed.services.state("embed").pid
        long = asyncio.ensure_future(embed.json("/embeddings", input=["word " * 2000] * 200))
        await until(lambda: embed.services.state("embed").busy == 1)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(HttpFailed):
            await long
        await until(lambda: embed.services.state("embed").falls == 1)
        at = await embed.services.backend("embed")
        assert "dimensions" in await trial("embed", at.url, at.key)


# --- speech, and hearing it ---------------------------------------------------------------


async def test_what_is_said_is_heard(tmp_path: Path) -> None:
    """Speech, streamed sentence by sentence, is transcribed word for word, with times that fit,
    in every shape of answer; and voice activity finds it between silences."""
    need(SPEECH, TRANSCRIPTION, VAD)
    async with service(tmp_path, SPEECH) as speech:
        raw = {"input": SAID, "voice": "alloy", "response_format": "pcm"}
        pcm = (await speech.json("/audio/speech", **raw)).body
        seconds = len(pcm) / 2 / 24_000
        assert 2 < seconds < 8
        stream = await speech.client.stream(
            "POST", "/audio/speech",
            body=msgspec.json.encode({"input": SAID, "response_format": "wav"}),
        )  # fmt: skip
        pieces = [piece async for piece in stream]
        assert stream.headers["content-type"] == "audio/wav"
        assert len(pieces) > 1, "nothing was streamed"
        wav = b"".join(pieces)
        assert wav[:4] == b"RIFF"
        fast = await speech.json("/audio/speech", **raw, speed=2.0)
        assert len(fast.body) < 0.7 * len(pcm)
        for body, param in (
            ({"input": ""}, "input"), ({"input": "x", "voice": "nobody"}, "voice"),
            ({"input": "x", "voice": "emma"}, "voice"), ({"input": "x", "speed": 9}, "speed"),
            ({"input": "x", "response_format": "ape"}, "response_format"),
        ):  # fmt: skip
            answer = await speech.json("/audio/speech", **({"response_format": "wav"} | body))
            assert fault(answer)[:2] == (400, param)
    async with service(tmp_path, TRANSCRIPTION) as ear:
        path = "/audio/transcriptions"
        found = read(await ear.form(path, wav, model="x", response_format="verbose_json"))
        assert _words(found["text"]) == _words(SAID)
        assert found["duration"] == pytest.approx(seconds, abs=0.5)
        times = [(one["start"], one["end"]) for one in found["segments"]]
        assert len(times) >= 2
        assert all(0 <= start < end <= seconds + 0.5 for start, end in times)
        assert times == sorted(times)
        cues = (await ear.form(path, wav, response_format="vtt")).body.decode()
        assert cues.startswith("WEBVTT\n\n00:00:00.")
        assert " --> 00:00:0" in cues
        events = (await ear.form(path, wav, stream="true")).body.decode()
        assert events.count("transcript.text.delta") >= 2
        assert "transcript.text.done" in events
        silence = audio.wav_head(16_000, 64_000) + bytes(64_000)
        quiet = await ear.form(path, silence, response_format="text")
        assert quiet.body.strip() == b""
        for file, fields, param in (
            (b"", {}, "file"), (b"#EXTM3U\n/etc/passwd\n", {}, "file"), (wav[:44], {}, "file"),
            (wav, {"language": "de"}, "language"), (wav, {"temperature": "hot"}, ""),
            (wav, {"response_format": "x"}, "response_format"),
        ):  # fmt: skip
            answer = await ear.form(path, file, **fields)
            assert answer.status == 400, (file[:20], fields)
            assert not param or fault(answer)[1] == param
        assert fault(await ear.json(path, file="x"))[0] == 400
        assert ear.services.state("transcription").falls == 0
    async with service(tmp_path, VAD) as vad:
        gap = bytes(2 * 24_000 * 2)
        found = read(
            await vad.form("/audio/activity", audio.wav_head(24_000, None) + gap + pcm + gap)
        )
        assert found["duration"] == pytest.approx(seconds + 4, abs=0.1)
        assert found["segments"][0]["start"] == pytest.approx(2, abs=0.5)
        assert found["segments"][-1]["end"] == pytest.approx(2 + seconds, abs=0.7)
        assert read(await vad.form("/audio/activity", silence))["segments"] == []
        assert fault(await vad.form("/audio/activity", wav, threshold="2"))[1] == "threshold"


async def test_whisper(tmp_path: Path) -> None:
    """Whisper base, put together from its packages, hears with the time of each word; a language
    that it does not know is named."""
    need(SPEECH)
    need(TRANSCRIPTION, means="whisper-base")
    async with service(tmp_path, SPEECH) as speech:
        wav = (await speech.json("/audio/speech", input=SAID, response_format="wav")).body
    async with service(tmp_path, TRANSCRIPTION, whisper="base") as ear:
        wish = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
        found = read(await ear.form("/audio/transcriptions", wav, **wish))
        assert _words(found["text"]) == _words(SAID)
        assert [_words(one["word"])[0] for one in found["words"]] == _words(SAID)
        assert found["language"] == "en"
        answer = await ear.form("/audio/transcriptions", wav, language="tlh")
        assert fault(answer)[:2] == (400, "language")


async def test_other_kinds_of_sound(tmp_path: Path) -> None:
    """What ffmpeg makes of speech is what was asked for, and is read again whole."""
    need(SPEECH, TRANSCRIPTION)
    if not shutil.which("ffmpeg", path=PATH):
        if os.environ.get("CI") == "true":
            pytest.fail("needs ffmpeg: apt install ffmpeg")
        pytest.skip("needs ffmpeg: apt install ffmpeg")
    async with service(tmp_path, SPEECH) as speech:
        raw = {"input": SAID, "response_format": "pcm"}
        seconds = len((await speech.json("/audio/speech", **raw)).body) / 48_000
        for wanted in ("opus", "flac"):
            answer = await speech.json("/audio/speech", input=SAID, response_format=wanted)
            assert answer.headers["content-type"] == audio.FORMATS[wanted][1]
            assert audio.kind_of(answer.body) == wanted
            sound = await audio.samples(answer.body)
            assert len(sound) / audio.RATE == pytest.approx(seconds, abs=0.4)
            assert max(sound) > 1000
        assert (await speech.json("/audio/speech", input="x")).headers[
            "content-type"
        ] == "audio/mpeg"


async def test_espeak_speaks_other_languages(tmp_path: Path) -> None:
    """A language named as the voice is spoken by espeak-ng, also where it is all there is."""
    need(SPEECH, means="espeak-ng")
    alone = Kind(SPEECH.name, SPEECH.words, SPEECH.apis, SPEECH.means[1:], SPEECH.lanes)
    async with service(tmp_path, alone) as speech:
        for voice in ("de", "fr-FR", "alloy"):
            answer = await speech.json(
                "/audio/speech", input="Guten Morgen. Wie geht es?", voice=voice,
                response_format="pcm",
            )  # fmt: skip
            assert 0.8 < len(answer.body) / 48_000 < 8
        answer = await speech.json("/audio/speech", input="x", voice="xx", response_format="wav")
        assert fault(answer)[:2] == (400, "voice")


def _words(text: str) -> list[str]:
    kept = "".join(one if one.isalnum() else " " for one in text.lower())
    return kept.split()


# --- OCR ----------------------------------------------------------------------------------

LINES = ("Invoice 2026-0417", "Total due: 184.50 EUR", "Thank you for your order.")


def picture() -> Image.Image:
    image = Image.new("L", (900, 300), 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(36)
    for top, line in zip((40, 100, 220), LINES, strict=True):
        draw.text((40, top), line, font=font, fill=0)
    return image


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("reader", ["tesseract", "rapidocr"])
async def test_text_in_a_picture_is_read(tmp_path: Path, reader: str) -> None:
    """Each line with its words, where it stands, and how sure it is; in every way of sending it."""
    need(OCR, means=reader)
    async with service(tmp_path, OCR, ocr=reader) as ocr:
        png = saved(picture(), "PNG")
        url = "data:image/png;base64," + base64.b64encode(png).decode()
        found = read(await ocr.json("/ocr", image=url))
        assert [line for line in found["text"].splitlines() if line] == list(LINES)
        page = found["pages"][0]
        assert page["dimensions"]["width"] == 900
        left, top, right, bottom = page["lines"][1]["box"]
        assert 20 < left < 60 < 300 < right < 480
        assert 85 < top < bottom < 150
        assert page["confidence"] > 0.8
        assert all(0.5 < line["confidence"] <= 1 for line in page["lines"])
        assert found["usage_info"]["pages_processed"] == 1
        for answer in (
            await ocr.json("/ocr", model="ocr", document={"type": "image_url", "image_url": url}),
            await ocr.json("/ocr", image=base64.b64encode(saved(picture(), "JPEG")).decode()),
            await ocr.form("/ocr", saved(picture(), "TIFF")),
            await ocr.form("/ocr", saved(picture(), "WEBP")),
        ):
            assert "184.50 EUR" in read(answer)["text"]


async def test_pages_of_a_pdf_file(tmp_path: Path) -> None:
    """All of them, or those that are named."""
    need(OCR, means="tesseract")
    pytest.importorskip("pypdfium2")
    async with service(tmp_path, OCR, ocr="tesseract") as ocr:
        file = io.BytesIO()
        image = picture().convert("RGB")
        image.save(file, "PDF", resolution=100, save_all=True, append_images=[image.rotate(180)])
        url = "data:application/pdf;base64," + base64.b64encode(file.getvalue()).decode()
        document = {"type": "document_url", "document_url": url}
        found = read(await ocr.json("/ocr", document=document, pages=[0]))
        assert [page["index"] for page in found["pages"]] == [0]
        assert "Invoice 2026-0417" in found["text"]
        assert len(read(await ocr.json("/ocr", document=document))["pages"]) == 2
        assert fault(await ocr.json("/ocr", document=document, pages=[2]))[:2] == (400, "pages")
        damaged = file.getvalue().replace(b"/Kids", b"/Kine")
        assert fault(await ocr.form("/ocr", damaged))[0] == 400


async def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    """Names of files and addresses are not opened, damage is damage, and an empty page is no
    error; a language that is not installed is told with its package."""
    need(OCR, means="tesseract")
    async with service(tmp_path, OCR, ocr="tesseract") as ocr:
        png = saved(picture(), "PNG")
        secret = tmp_path / "secret.png"
        secret.write_bytes(png)
        noise = random.Random(4).randbytes(5000)
        for given in (
            str(secret).encode() + b"\n", b"http://127.0.0.1/x.png\n", b"", png[:300],
            b"\x89PNG\r\n\x1a\n" + noise, b"%PDF-1.7\n" + noise,
        ):  # fmt: skip
            answer = await ocr.form("/ocr", given)
            assert answer.status == 400, answer.body
            assert b"Invoice" not in answer.body
        for body in (
            {"image": "http://127.0.0.1/x.png"}, {"image": "file:///etc/passwd"}, {"image": "%%%"},
            {}, {"image": "x", "document": {"image_url": "y"}},
            {"image": base64.b64encode(png).decode(), "languages": ["../../x"]},
        ):  # fmt: skip
            assert fault(await ocr.json("/ocr", **body))[0] == 400, body
        status, _, message = fault(
            await ocr.json("/ocr", image=base64.b64encode(png).decode(), language="tlh")
        )
        assert (status, "apt install tesseract-ocr-tlh" in message) == (422, True)
        blank = read(await ocr.form("/ocr", saved(Image.new("L", (60, 60), 255), "PNG")))
        assert (blank["text"], blank["pages"][0]["lines"]) == ("", [])
        assert ocr.services.state("ocr").falls == 0


def test_kinds_of_sound_are_known_by_their_beginning() -> None:
    """A file's first bytes decide, whatever it is called; a playlist is no sound."""
    loud = array("h", [1000] * 100).tobytes()
    for data, kind in (
        (audio.wav_head(8000, 200) + loud, "wav"), (b"fLaC" + loud, "flac"),
        (b"ID3\4" + loud, "mp3"), (b"\xff\xfb\x90\0" + loud, "mp3"),
        (b"\xff\xf1\x50\x80" + loud, "aac"),
        (b"\0\0\0\x20ftypM4A " + loud, "m4a"), (b"\x1aE\xdf\xa3" + loud, "webm"),
        (b"OggS" + bytes(24) + b"OpusHead", "opus"), (b"OggS" + bytes(24) + b"\1vorbis", "ogg"),
        (b"#EXTM3U\n", ""), (b"ffconcat version 1.0\nfile /etc/passwd\n", ""), (b"", ""),
    ):  # fmt: skip
        assert audio.kind_of(data) == kind
