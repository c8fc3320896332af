"""Audio, video, pictures and PDF files: what is made of them, and what hostile ones achieve."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stead.agent.files.tree import Refused
from stead.agent.tools.base import Context, Toolbox
from stead.agent.tools.image import IMAGE
from stead.agent.tools.media import MEDIA
from stead.agent.tools.pdf import chosen
from stead.sandbox.walls import walls_here
from tests.unit.agent.files.desk import Desk

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None and "CI" not in os.environ, reason="no ffmpeg here"
)


class Studio:
    """The tool at work behind real walls."""

    def __init__(self, top: Path) -> None:
        self.desk = Desk(top)
        (top / "run").mkdir()
        self.walls = walls_here(top / "run")
        self.tools = Toolbox(
            [MEDIA], Context(self.desk.work, keep=self.desk.keep, walls=self.walls)
        )

    async def call(self, **args: Any) -> tuple[bool, str]:
        tool, read = self.tools.read("media", json.dumps(args))
        async with asyncio.timeout(120):
            done = await self.tools.call(tool, read, 6000, job="j", step=hash(str(args)) % 10**6)
        return done.ok, done.text

    async def made(self, **args: Any) -> str:
        ok, text = await self.call(**args)
        assert ok, text
        return text


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    made = Studio(tmp_path)
    yield made
    await made.tools.aclose()


def film(path: Path, seconds: int, size: str, *, sound: bool = True) -> None:
    source = ["-f", "lavfi", "-i", f"testsrc=d={seconds}:s={size}:r=10"]
    if sound:
        source += ["-f", "lavfi", "-i", f"sine=d={seconds}"]
    command = ["ffmpeg", "-loglevel", "error", *source, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True, timeout=120)


@needs_ffmpeg
async def test_cut_convert_join(studio: Studio) -> None:
    """A film is cut to the tenth of a second, its sound and frames are taken out, two are joined;
    each is one change that can be undone, and nothing is left lying about."""
    work = studio.desk.work
    film(work / "a film.mp4", 4, "160x120")
    film(work / "other.mkv", 1, "64x64")
    assert "4.00 s" in await studio.made(action="probe", path="a film.mp4")
    await studio.made(action="cut", path="a film.mp4", to="cut/part.mp4", start="1", end="0:02.5")
    assert "1.50 s" in await studio.made(action="probe", path="cut/part.mp4")
    await studio.made(action="audio", path="a film.mp4", to="sound.wav")
    assert "audio pcm_s16le" in await studio.made(action="probe", path="sound.wav")
    await studio.made(action="frames", path="a film.mp4", to="frames", every=2)
    assert sorted(os.listdir(work / "frames")) == ["0001.jpg", "0002.jpg"]
    await studio.made(action="join", path="a film.mp4", more=["other.mkv"], to="all.mp4")
    told = await studio.made(action="probe", path="all.mp4")
    assert "160x120" in told
    assert "5.0" in told
    assert os.listdir(studio.desk.keep / "media") == []
    before = sorted(os.listdir(work))
    studio.desk.undo()
    assert [name for name in before if not (work / name).exists()] == ["all.mp4"]
    ok, why = await studio.call(action="cut", path="a film.mp4", to="other.mkv", start="1")
    assert (ok, "already" in why) == (False, True)


@needs_ffmpeg
async def test_hostile_media(studio: Studio) -> None:
    """What is a list of other files or URLs under whatever name, what leads outside, what is no
    media at all: refused in words, nothing read, nothing written."""
    work = studio.desk.work
    (studio.desk.top / "secret.txt").write_text("the secret")
    lists = {
        "a.mp4": "#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "b.mkv": "ffconcat version 1.0\nfile '/etc/passwd'\n",
        "c.avi": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>',
        "d.mp4": ";FFMETADATA1\n",
        "e.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5000 RTP/AVP 0\n",
        "f.mp3": "just words",
        "g.mp4": "",
        "h.txt": "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.0,\nconcat:/etc/passwd|/etc/hosts\n",
    }
    for name, text in lists.items():
        (work / name).write_text(text)
    (work / "link.mp4").symlink_to(studio.desk.top / "secret.txt")
    os.mkfifo(work / "pipe.mp4")
    before = studio.desk.picture()
    wanted: list[dict[str, Any]] = [
        *({"action": "probe", "path": name} for name in lists),
        *({"action": "convert", "path": name, "to": "out.mp4"} for name in ("a.mp4", "b.mkv")),
        *({"action": "probe", "path": p} for p in ("link.mp4", "pipe.mp4", "../secret.txt", "no")),
        {"action": "probe", "path": "http://127.0.0.1/x.mp4"},
        {"action": "probe", "path": "concat:a.mp4|b.mkv"},
        {"action": "convert", "path": "f.mp3", "to": "../out.mp3"},
        {"action": "convert", "path": "f.mp3", "to": "x.exe"},
        {"action": "cut", "path": "f.mp3", "to": "x.mp3"},
        {"action": "cut", "path": "f.mp3", "to": "x.mp3", "start": "-i /etc/passwd"},
    ]
    for args in wanted:
        ok, why = await studio.call(**args)
        assert not ok, args
        assert "root:" not in why
        assert "secret\n" not in why
    assert studio.desk.picture() == before


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_pictures(desk: Desk) -> None:
    """A picture is resized, cropped, turned and converted."""
    from PIL import Image  # an extra

    Image.new("RGBA", (40, 20), "red").save(desk.work / "a.png")
    assert "PNG 40x20" in desk.use("image", action="info", path="a.png")
    wanted: tuple[tuple[str, dict[str, Any], tuple[int, int]], ...] = (
        ("resize", {"width": 20}, (20, 10)),
        ("crop", {"left": 30, "width": 50}, (10, 20)),
        ("rotate", {}, (20, 40)),
        ("convert", {}, (40, 20)),
    )
    for action, more, size in wanted:
        desk.use("image", action=action, path="a.png", to=f"{action}.jpg", **more)
        with Image.open(desk.work / f"{action}.jpg") as made:
            assert (made.format, made.size) == ("JPEG", size)
    assert "already" in desk.refused("image", action="convert", path="a.png", to="crop.jpg")
    assert "ending" in desk.refused("image", action="convert", path="a.png", to="a.xyz")


def test_hostile_pictures(desk: Desk) -> None:
    """A picture that would unpack to gigabytes, one that is none, one that is a program."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    (desk.work / "bomb.png").write_bytes(bomb)
    (desk.work / "words.png").write_text("words")
    (desk.work / "run.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "million pixels" in desk.refused("image", action="info", path="bomb.png")
    for name in ("words.png", "run.eps"):
        desk.refused("image", action="convert", path=name, to="out.png")
    assert not (desk.work / "out.png").exists()
    assert IMAGE.box is not None


def paper(pages: int) -> bytes:
    """A PDF with a line of text on each page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for number in range(1, pages + 1):
        text = f"BT /F1 24 Tf 20 100 Td (This is page {number}) Tj ET".encode()
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text))
        held = len(objects)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents %d 0 R /Resources"
            b" << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
            % held
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), pages)
    made = io.BytesIO(b"")
    made.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(made.tell())
        made.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = made.tell()
    made.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        made.write(b"%010d 00000 n \n" % place)
    made.write(
        b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    )
    return made.getvalue()


def test_papers(desk: Desk) -> None:
    """The text of a PDF comes by page and in parts; pages go into a new one, or become pictures."""
    from PIL import Image  # an extra

    (desk.work / "p.pdf").write_bytes(paper(30))
    assert "30 pages" in desk.use("pdf", action="info", path="p.pdf")
    told = desk.use("pdf", action="text", path="p.pdf", pages="2-3")
    assert told.replace("\n", " ").startswith("[page 2] This is page 2")
    part = desk.use("pdf", action="text", path="p.pdf", most=500)
    assert "go on with pages=" in part
    assert "page 30" in desk.use("pdf", action="text", path="p.pdf", pages="29-", most=500)
    desk.use("pdf", action="extract", path="p.pdf", pages="30,1", to="two.pdf")
    assert "[page 1]\nThis is page 30" in desk.use("pdf", action="text", path="two.pdf")
    desk.use("pdf", action="pictures", path="p.pdf", pages="2", to="out", dpi=72)
    with Image.open(desk.work / "out" / "page-0002.png") as made:
        assert made.size == (300, 200)
    desk.undo()
    assert not (desk.work / "out").exists()
    (desk.work / "bad.pdf").write_text("%PDF-1.4\nnonsense")
    for path, pages in (("bad.pdf", ""), ("p.pdf", "31"), ("p.pdf", "x"), ("p.pdf", "5-2")):
        desk.refused("pdf", action="text", path=path, pages=pages)


def test_page_numbers() -> None:
    """Pages are named as people name them."""
    assert chosen("1-3,5", 9) == [0, 1, 2, 4]
    assert chosen("8-", 9) == chosen("8-99", 9) == [7, 8]
    for wrong in ("0", "10", "3-1", "a", "-", "1,,2"):
        with pytest.raises(Refused):
            chosen(wrong, 9)
