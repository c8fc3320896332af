"""Pictures and PDF files on their way into OCR: what they are, and pages as pictures."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from stead.core.errors import BadRequest
from stead.services.programs import ProgramMissing

PDF_DPI = 200
_MOST_PIXELS = 40_000_000
"""Of a page of a PDF file; larger ones are read in less detail."""

#: How files begin, and what they are. Only these reach a reader: tesseract takes a file that is no
#: picture for a list of names of other files, and opens those.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp"),
    (b"II*\0", "tiff"), (b"MM\0*", "tiff"), (b"%PDF-", "pdf"),
    *((b"P%d" % n + white, "pnm") for n in range(1, 7) for white in (b"\n", b" ", b"\r", b"\t")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Page:
    """A picture to be read."""

    index: int
    data: bytes
    dpi: int
    """0: not known."""


def kind_of(data: bytes) -> str:
    """What a file is; empty: nothing that is known here."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for start, kind in _BEGINNINGS if data.startswith(start)), "")


def from_text(text: str, param: str) -> bytes:
    """The bytes of a data URL or of base64 text. Raises ``BadRequest``."""
    text = text.strip()
    if text.startswith("data:"):
        head, comma, body = text.partition(",")
        if not comma:
            raise BadRequest(why="the data URL has no data", param=param)
        if not head.endswith(";base64"):
            return unquote_to_bytes(body)
        text = body
    elif "://" in text[:12]:
        raise BadRequest(
            why="addresses are not fetched; send the picture itself, as a data URL, as base64 or"
            " as a file of a form",
            param=param,
        )
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(why=f"this is no base64 ({error})", param=param) from error


def pdf_pages(data: bytes, wanted: list[int] | None, most: int) -> Iterator[Page]:
    """The pages of a PDF file as pictures, one at a time. Raises ``BadRequest``."""
    try:
        import pypdfium2  # late: an extra, and only this service needs it
    except ImportError as error:
        raise ProgramMissing(
            what="Reading PDF files", program="pypdfium2", command="pip install pypdfium2"
        ) from error
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise BadRequest(why=f"the PDF file cannot be read: {error}") from error
    try:
        count = len(document)
        pages = list(range(count)) if wanted is None else wanted
        if odd := [number for number in pages if not 0 <= number < count]:
            raise BadRequest(
                why=f"there is no page {odd[0]}: the file has {count}, counted from 0",
                param="pages",
            )
        if len(pages) > most:
            raise BadRequest(
                why=f"{len(pages)} pages; at most {most} in one request: name them in `pages`",
                param="pages",
            )
        for number in pages:
            try:
                yield _rendered(document, number)
            except pypdfium2.PdfiumError as error:
                raise BadRequest(why=f"page {number} cannot be read: {error}") from error
    finally:
        document.close()


def _rendered(document: object, number: int) -> Page:
    page = document[number]  # type: ignore[index]
    width, height = page.get_size()
    scale = PDF_DPI / 72
    if (pixels := width * height * scale * scale) > _MOST_PIXELS:
        scale *= (_MOST_PIXELS / pixels) ** 0.5
    bitmap = page.render(scale=scale, grayscale=True)
    raw, stride = bytes(bitmap.buffer), bitmap.stride
    rows = (raw[at : at + bitmap.width] for at in range(0, stride * bitmap.height, stride))
    picture = b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(rows)
    bitmap.close()
    page.close()
    return Page(number, picture, round(scale * 72))
