"""Reading text in pictures: ``POST /v1/ocr``, by tesseract where it is installed, else rapidocr.

The shape is that of Mistral's OCR API, whose clients work, with text, lines, words, boxes and
confidence added to each page. A request is a form with ``file``, or JSON with one of::

    {"image": "<base64 or data URL>"}
    {"document": {"type": "image_url", "image_url": "data:image/png;base64,..."}}
    {"document": {"type": "document_url", "document_url": "data:application/pdf;base64,..."}}

and, if wanted, ``languages`` (``["en", "de"]``) and, of a PDF file, ``pages`` (``[0, 2]``). ::

    {"object": "ocr", "model": "tesseract", "text": "all pages",
     "pages": [{"index": 0, "text": "...", "markdown": "...", "images": [], "confidence": 0.96,
                "dimensions": {"dpi": 200, "width": 1654, "height": 2339},
                "lines": [{"text": "...", "confidence": 0.97, "box": [left, top, right, bottom],
                           "words": [{"text": "...", "confidence": 0.98, "box": [...]}]}]}],
     "usage_info": {"pages_processed": 1, "doc_size_bytes": 48213}}
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from stead.core.errors import BadRequest
from stead.services import images, programs
from stead.services.images import Page
from stead.services.languages import tesseract_code
from stead.services.orders import Orders
from stead.services.programs import ProgramMissing
from stead.services.web import Answer, Call, Teller, Worker

_MOST_PAGES = 50
_MOST_LANGUAGES = 5
_MOST_TSV = 64_000_000

Box = tuple[int, int, int, int]


class Word(msgspec.Struct):
    text: str
    confidence: float
    """0 to 1."""
    box: Box
    """Left, top, right, bottom, in pixels."""


class Line(msgspec.Struct):
    text: str
    confidence: float
    box: Box
    words: list[Word]


class Dimensions(msgspec.Struct):
    dpi: int
    width: int
    height: int


class ReadPage(msgspec.Struct):
    index: int
    text: str
    markdown: str
    confidence: float
    dimensions: Dimensions
    lines: list[Line]
    images: list[object] = []


@dataclass
class Lines:
    """What was found on a page: its lines, and after which of them a paragraph ends."""

    width: int = 0
    height: int = 0
    lines: list[Line] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)

    def page(self, index: int, dpi: int) -> ReadPage:
        text = "".join(
            line.text + ("\n\n" if number in self.breaks else "\n")
            for number, line in enumerate(self.lines)
        ).strip()
        sure = [line.confidence for line in self.lines]
        return ReadPage(
            index, text, text, round(sum(sure) / len(sure), 4) if sure else 0.0,
            Dimensions(dpi, self.width, self.height), self.lines,
        )  # fmt: skip


class Reader(Protocol):
    """What reads a picture."""

    def languages(self, wanted: list[str]) -> str:
        """The languages as the reader names them. Raises what says how to get a missing one."""
        ...

    async def read(self, page: Page, languages: str, worker: Worker) -> list[Lines]:
        """What stands on it; a picture may hold several pages. Raises ``BadRequest``."""
        ...


class _Url(msgspec.Struct):
    url: str


class _Document(msgspec.Struct):
    type: str = ""
    image_url: str | _Url | None = None
    document_url: str | None = None


class _Asked(msgspec.Struct):
    """Fields beyond these are passed over."""

    model: str = ""
    image: str | None = None
    document: _Document | None = None
    languages: list[str] | None = None
    language: str | None = None
    pages: list[int] | None = None


class Ocr:
    """The engine."""

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader = reader
        self._name = name

    def paths(self) -> Mapping[str, Callable[[Call], Awaitable[Answer]]]:
        return {"ocr": self.ocr}

    async def ocr(self, call: Call) -> Answer:
        data, asked = _form(call) if call.is_form else _json(call)
        wanted = [*(asked.languages or []), *([asked.language] if asked.language else [])]
        if len(wanted) > _MOST_LANGUAGES:
            raise BadRequest(why=f"more than {_MOST_LANGUAGES} languages", param="languages")
        languages = self._reader.languages(wanted)
        found: list[ReadPage] = []
        async for page in _pages(call.worker, data, asked.pages):
            for number, lines in enumerate(await self._reader.read(page, languages, call.worker)):
                found.append(lines.page(page.index + number, page.dpi))
        answer = {
            "object": "ocr",
            "model": self._name,
            "text": "\n\n".join(page.text for page in found if page.text),
            "pages": found,
            "usage_info": {"pages_processed": len(found), "doc_size_bytes": len(data)},
        }
        return Answer(msgspec.json.encode(answer))


async def _pages(worker: Worker, data: bytes, wanted: list[int] | None) -> AsyncIterator[Page]:
    kind = images.kind_of(data)
    if not kind:
        raise BadRequest(
            why="this is no picture that is known here (png, jpeg, tiff, webp, gif, bmp, pnm) and"
            " no PDF file"
        )
    if kind != "pdf":
        if wanted is not None:
            raise BadRequest(why="only a PDF file has pages to choose from", param="pages")
        yield Page(0, data, 0)
        return
    pages = images.pdf_pages(data, wanted, _MOST_PAGES)
    while (page := await worker.run(next, pages, None)) is not None:
        yield page


def _form(call: Call) -> tuple[bytes, _Asked]:
    form = call.form()
    part = form.part("file") or form.part("image") or form.part("document")
    if part is None:
        raise BadRequest(why="the field `file` with the picture is missing", param="file")
    try:
        pages = [int(text) for text in _several(form.texts("pages"))]
        languages = _several(form.texts("languages") + form.texts("language"))
    except ValueError as error:
        raise BadRequest(why=f"a field cannot be read: {error}") from error
    return bytes(part.data), _Asked(languages=languages, pages=pages or None)


def _several(texts: list[str]) -> list[str]:
    """Fields that hold lists, as clients send them: one each, or with commas."""
    return [one.strip() for text in texts for one in text.split(",") if one.strip()]


def _json(call: Call) -> tuple[bytes, _Asked]:
    asked = call.json(_Asked)
    given: list[tuple[str, str]] = []
    if asked.image is not None:
        given.append((asked.image, "image"))
    if (document := asked.document) is not None:
        url = document.image_url
        url = url.url if isinstance(url, _Url) else url
        if url is not None:
            given.append((url, "document.image_url"))
        if document.document_url is not None:
            given.append((document.document_url, "document.document_url"))
    if len(given) != 1:
        raise BadRequest(
            why="send one picture or PDF file: `image` or `document`, or a form with `file`",
            param="document",
        )
    return images.from_text(*given[0]), asked


# --- tesseract ------------------------------------------------------------------------------


class Tesseract:
    """The program, started for each picture."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._here = _languages(program)

    def languages(self, wanted: list[str]) -> str:
        if not wanted:
            return "+".join(self._here[:3])
        codes = [tesseract_code(name) for name in wanted]
        if not set(codes) <= set(self._here):  # one may have been installed meanwhile
            self._here = _languages(self._program)
        for name, code in zip(wanted, codes, strict=True):
            if not code:
                raise BadRequest(
                    why=f"{name!r} is no language; name it by its code, such as en or deu",
                    param="languages",
                )
            if code not in self._here:
                package = code.replace("_", "-")
                raise ProgramMissing(
                    what=f"Reading the language {name}", program=f"tesseract-ocr-{package}",
                    command=f"apt install tesseract-ocr-{package}",
                )  # fmt: skip
        return "+".join(dict.fromkeys(codes))

    async def read(self, page: Page, languages: str, worker: Worker) -> list[Lines]:
        found = await self._run(page, languages, "3")
        if not any(one.lines for one in found):  # a lone word or number is no page of text to it
            found = await self._run(page, languages, "11")
        return found

    async def _run(self, page: Page, languages: str, mode: str) -> list[Lines]:
        args = [self._program, "stdin", "stdout", "-l", languages, "--psm", mode]
        if page.dpi:
            args += ["--dpi", str(page.dpi)]
        try:
            table = await programs.output([*args, "tsv"], page.data, most=_MOST_TSV)
        except programs.ProgramFailed as error:
            raise BadRequest(why=f"the picture cannot be read: {error.message}") from error
        found = from_tsv(table.decode("utf-8", "replace"))
        if not found:
            raise BadRequest(why="the picture is damaged: nothing of it can be read")
        return found


def from_tsv(table: str) -> list[Lines]:
    """Tesseract's table: a row for each page, block, paragraph, line and word (its level)."""
    pages: list[Lines] = []
    at: tuple[str, ...] = ()
    for row in table.splitlines():
        cells = row.split("\t")
        if len(cells) < 12 or not cells[0].isdigit():
            continue
        left, top, width, height = (int(cell) for cell in cells[6:10])
        box = (left, top, left + width, top + height)
        if cells[0] == "1":
            pages.append(Lines(width, height))
        elif cells[0] == "5" and pages and (text := cells[11].strip()):
            lines = pages[-1].lines
            if tuple(cells[1:5]) != at:
                if lines and tuple(cells[1:4]) != at[:3]:
                    pages[-1].breaks.add(len(lines) - 1)
                at = tuple(cells[1:5])
                lines.append(Line("", 0.0, box, []))
            sure = round(max(0.0, float(cells[10])) / 100, 4)
            lines[-1].words.append(Word(text, sure, box))
    for page in pages:
        for line in page.lines:
            _sum_up(line)
    return pages


def _sum_up(line: Line) -> None:
    words = line.words
    line.text = " ".join(word.text for word in words)
    line.confidence = round(sum(word.confidence for word in words) / len(words), 4)
    line.box = (
        min(word.box[0] for word in words), min(word.box[1] for word in words),
        max(word.box[2] for word in words), max(word.box[3] for word in words),
    )  # fmt: skip


def tesseract(orders: Orders, voice: Teller) -> Ocr:
    """The engine; the program is started for each picture."""
    program = programs.found("tesseract", "Reading text in pictures")
    return Ocr(Tesseract(program), orders.model)


def _languages(program: str) -> list[str]:
    """What is installed, English first."""
    done = subprocess.run(
        [program, "--list-langs"], capture_output=True, text=True, timeout=20, check=False
    )
    here = [line.strip() for line in done.stdout.splitlines()[1:] if line.strip()]
    usable = [name for name in here if name not in ("osd", "equ") and "/" not in name]
    if not usable:
        raise ProgramMissing(
            what="Reading text in pictures", program="tesseract-ocr-eng",
            command="apt install tesseract-ocr-eng",
        )  # fmt: skip
    return sorted(usable, key=lambda name: name != "eng")


# --- rapidocr -------------------------------------------------------------------------------


class Rapid:
    """PP-OCR's small models, from the package."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def languages(self, wanted: list[str]) -> str:
        return ""  # one model for all that it knows

    async def read(self, page: Page, languages: str, worker: Worker) -> list[Lines]:
        return [await worker.run(self._read, page)]

    def _read(self, page: Page) -> Lines:
        try:
            found = self._reader(page.data)
        except MemoryError:
            raise
        except Exception as error:  # the library has no error class of its own for it
            what = str(error).partition(" <")[0]  # not of which object in memory
            raise BadRequest(why=f"the picture cannot be read: {what}") from error
        height, width = found.img.shape[:2] if found.img is not None else (0, 0)
        lines = Lines(int(width), int(height))
        if found.boxes is None:
            return lines
        for corners, text, sure in zip(found.boxes, found.txts, found.scores, strict=True):
            across, down = [int(x) for x, _ in corners], [int(y) for _, y in corners]
            box = (min(across), min(down), max(across), max(down))
            lines.lines.append(Line(str(text), round(float(sure), 4), box, []))
        return lines


def rapidocr(orders: Orders, voice: Teller) -> Ocr:
    """The engine, its models in memory."""
    from rapidocr import RapidOCR  # late: an extra of 300 MB

    settings = {
        "Global.log_level": "error",
        "EngineConfig.onnxruntime.intra_op_num_threads": orders.threads,
    }
    return Ocr(Rapid(RapidOCR(params=settings)), orders.model)


# mypy checks that both are readers.
_READERS: tuple[type[Reader], ...] = (Tesseract, Rapid)
