"""Read PDF files, take pages out of them, and make pictures of pages, with PDFium (the extra
``media``)."""

from __future__ import annotations

import contextlib
import io
import re
from types import ModuleType
from typing import Annotated, Any, Literal

from msgspec import Meta

from stead.agent.files.names import shown
from stead.agent.files.tree import Refused
from stead.agent.tools.base import Args, Context, Tool, ToolError, blocking
from stead.agent.tools.changing import content, files_box, put_all, speaking
from stead.agent.tools.workspace import one_place, size_words
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches

MOST = 200_000_000
"""Bytes of a file."""
MOST_PICTURES = 50
MOST_PIXELS = 40_000_000
"""Of a page: one may say that it is a kilometre wide."""

Action = Literal["info", "text", "extract", "pictures"]


class PdfArgs(Args, frozen=True):
    action: Action
    path: Annotated[str, Meta(description="PDF file of the workspace")]
    pages: Annotated[str, Meta(description="Such as 1-3,5 or 4-; empty: all")] = ""
    to: Annotated[str, Meta(description="extract: new PDF; pictures: folder")] = ""
    dpi: Annotated[int, Meta(description="Of pictures", ge=10, le=600)] = 100
    overwrite: bool = False


def work(args: PdfArgs, context: Context) -> str:
    """Its text, or what was made of it."""
    pdfium = _pdfium()
    with speaking():
        data, name = content(context, args.path, MOST)
        try:
            with contextlib.closing(pdfium.PdfDocument(data)) as document:
                pages = chosen(args.pages, len(document))
                if args.action == "info":
                    return _info(document, name, len(data))
                if args.action == "text":
                    return _text(document, pages, context)
                if args.action == "extract":
                    made, what = _extract(pdfium, document, pages, args), "pages"
                else:
                    made, what = _pictures(document, pages, args), "pictures"
        except pdfium.PdfiumError as problem:
            raise Refused(f"{name} could not be read as PDF: {problem}") from problem
    told = f"made {args.to} ({len(pages)} {what})"
    return put_all(context, "pdf", args, made, told, overwrite=args.overwrite)


def _pdfium() -> ModuleType:
    try:
        import pypdfium2  # late: heavy, and an extra
    except ImportError as problem:
        raise ToolError(
            "this needs pypdfium2, which is not installed here; the owner gets it with"
            " `pip install 'stead[media]'`"
        ) from problem
    found: ModuleType = pypdfium2
    return found


def chosen(text: str, many: int) -> list[int]:
    """Pages as people name them, from 1, as their places, from 0. Raises ``Refused``."""
    if not text.strip():
        return list(range(many))
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d{1,7})(-(\d{1,7})?)?", part)
        if match is None:
            raise Refused(f"{part!r} names no pages; write such as 1-3,5 or 4-")
        first = int(match[1])
        last = int(match[3]) if match[3] else many if match[2] else first
        if not 1 <= first <= last or first > many or (last > many and match[3] is None):
            raise Refused(f"there are pages 1 to {many}, so no {part}")
        found += range(first - 1, min(last, many))
        if len(found) > 20_000:
            raise Refused("that are too many pages at once")
    return found


def _info(document: Any, name: str, size: int) -> str:
    words = [f"{name}: PDF, {len(document)} pages, {size_words(size)}"]
    for key, value in document.get_metadata_dict(skip_empty=True).items():
        words.append(f"{key}: {shown(str(value))[:200]}")
    return "\n".join(words)


def _text(document: Any, pages: list[int], context: Context) -> str:
    room = context.limit - 200
    made: list[str] = []
    for count, number in enumerate(pages):
        text = _text_of(document, number)
        part = f"[page {number + 1}]\n{text}"
        if made and sum(map(len, made)) + len(part) > room:
            rest = pages[count:]
            return "\n".join(made) + f"\n[{len(rest)} more; go on with pages={rest[0] + 1}-]"
        made.append(part[:room] + ("\n[the rest of this page is left out]" * (len(part) > room)))
        if context.late:
            break
    text = "\n".join(made)
    if not re.sub(r"\[page \d+\]", "", text).strip():
        return f"{text}\n[there is no text on these pages; they may be pictures of text]"
    return text


def _text_of(document: Any, number: int) -> str:
    with contextlib.closing(document[number]) as page, contextlib.closing(page.get_textpage()) as t:
        text: str = t.get_text_range()
    return text.replace("\r\n", "\n").encode("utf-8", "replace").decode()


def _extract(
    pdfium: ModuleType, document: Any, pages: list[int], args: PdfArgs
) -> list[tuple[str, bytes]]:
    if not args.to.lower().endswith(".pdf"):
        raise Refused("to names no new PDF file")
    with contextlib.closing(pdfium.PdfDocument.new()) as made:
        made.import_pages(document, pages=pages)
        held = io.BytesIO()
        made.save(held)
    return [(args.to, held.getvalue())]


def _pictures(document: Any, pages: list[int], args: PdfArgs) -> list[tuple[str, bytes]]:
    if not args.to.strip():
        raise Refused("to is empty; name the folder for the pictures")
    if len(pages) > MOST_PICTURES:
        raise Refused(f"at most {MOST_PICTURES} pages at once; name some with pages")
    made = []
    for number in pages:
        with contextlib.closing(document[number]) as page:
            width, height = page.get_size()
            if width * height * (args.dpi / 72) ** 2 > MOST_PIXELS:
                raise Refused(f"page {number + 1} is too large for that; give fewer dpi")
            held = io.BytesIO()
            page.render(scale=args.dpi / 72).to_pil().save(held, "PNG")
        made.append((f"{args.to}/page-{number + 1:04}.png", held.getvalue()))
    return made


def touches(args: PdfArgs, context: Context) -> Touches:
    here = one_place(context, args.path)
    if args.action in ("info", "text"):  # papers are mostly what others wrote
        return Touches(reads=(here,), private=True, foreign=True)
    return Touches(reads=(here,), writes=(one_place(context, args.to),))


def preview(args: PdfArgs, context: Context) -> str:
    """What will happen, in plain words."""
    pages = f"pages {args.pages} of " if args.pages else ""
    if args.action in ("info", "text"):
        return f"Read {pages}{args.path}"
    return f"Make {args.to} of {pages}{args.path}"


PDF = Tool(
    name="pdf",
    about="Read the text of a PDF; take pages into a new PDF, or make pictures of them.",
    short="PDF files",
    args=PdfArgs,
    run=blocking(work),
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # the journal of changes knows whether it happened
    time_limit_s=120,
    touches=touches,
    preview=preview,
    box=lambda _, context: files_box(context),
    group="media",
)
