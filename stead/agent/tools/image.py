"""Look into and change pictures, with Pillow (the extra ``media``)."""

from __future__ import annotations

import io
import warnings
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
MOST_PIXELS = 64_000_000
"""A small file may unpack to a picture of any size."""
#: What is opened. Of the others some run programs (EPS), or are seldom looked after.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
ENDINGS = {
    "jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP",
    "tif": "TIFF", "tiff": "TIFF",
}  # fmt: skip

Action = Literal["info", "resize", "crop", "rotate", "convert"]


class ImageArgs(Args, frozen=True):
    action: Action
    path: Annotated[str, Meta(description="Picture of the workspace")]
    to: Annotated[str, Meta(description="New file; its ending says the form")] = ""
    width: Annotated[int, Meta(description="Pixels; 0: in proportion", ge=0, le=20_000)] = 0
    height: Annotated[int, Meta(ge=0, le=20_000)] = 0
    left: Annotated[int, Meta(description="Of crop", ge=0)] = 0
    top: Annotated[int, Meta(ge=0)] = 0
    degrees: Annotated[float, Meta(description="Of rotate, clockwise")] = 90.0
    quality: Annotated[int, Meta(description="Of JPEG and WebP", ge=1, le=100)] = 85
    overwrite: bool = False


def work(args: ImageArgs, context: Context) -> str:
    """What the picture is, or what was made of it."""
    pillow = _pillow()
    with speaking():
        data, name = content(context, args.path, MOST)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # also of what is near to a bomb
                picture = pillow.open(io.BytesIO(data), formats=FORMATS)
                if args.action == "info":
                    return _info(picture, name, len(data))
                picture.load()
                made = _change(pillow, picture, args)
                held = _written(made, args)
        except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as problem:
            most = MOST_PIXELS // 1_000_000
            raise Refused(f"{name} has more than {most} million pixels") from problem
        except (Warning, OSError, SyntaxError, ValueError) as problem:
            raise Refused(f"{name} could not be worked on: {problem}") from problem
    told = f"made {args.to} ({made.width}x{made.height}, {size_words(len(held))})"
    return put_all(context, "image", args, [(args.to, held)], told, overwrite=args.overwrite)


def _pillow() -> ModuleType:
    try:
        from PIL import Image  # late: heavy, and an extra
    except ImportError as problem:
        raise ToolError(
            "this needs Pillow, which is not installed here; the owner gets it with"
            " `pip install 'stead[media]'`"
        ) from problem
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    return Image


def _info(picture: Any, name: str, size: int) -> str:
    words = [f"{name}: {picture.format} {picture.width}x{picture.height} {picture.mode}"]
    frames = getattr(picture, "n_frames", 1)
    words += [f"{frames} pictures in it"] if frames > 1 else []
    words.append(size_words(size))
    for number, value in list(picture.getexif().items())[:20]:
        words.append(f"exif {number}: {shown(str(value))[:100]}")
    return "\n".join(words)


def _change(pillow: ModuleType, picture: Any, args: ImageArgs) -> Any:
    match args.action:
        case "resize":
            if not (args.width or args.height):
                raise Refused("say width, height or both")
            width = args.width or max(1, round(picture.width * args.height / picture.height))
            height = args.height or max(1, round(picture.height * args.width / picture.width))
            _check_pixels(width * height)
            return picture.resize((width, height), pillow.Resampling.LANCZOS)
        case "crop":
            right = min(picture.width, args.left + (args.width or picture.width))
            below = min(picture.height, args.top + (args.height or picture.height))
            if args.left >= right or args.top >= below:
                raise Refused(f"that is beyond its {picture.width}x{picture.height} pixels")
            return picture.crop((args.left, args.top, right, below))
        case "rotate":
            _check_pixels((picture.width + picture.height) ** 2 // 2)
            return picture.rotate(-args.degrees, expand=True)
        case _:
            return picture


def _check_pixels(many: int) -> None:
    if many > MOST_PIXELS:
        raise Refused(f"that would have more than {MOST_PIXELS // 1_000_000} million pixels")


def _written(picture: Any, args: ImageArgs) -> bytes:
    ending = args.to.rpartition(".")[2].strip().lower()
    if ending not in ENDINGS:
        raise Refused(f"to has no ending that is known; there are: {', '.join(ENDINGS)}")
    form = ENDINGS[ending]
    if form in ("JPEG", "BMP") and picture.mode not in ("RGB", "L"):
        picture = picture.convert("RGB")
    held = io.BytesIO()
    more = {"quality": args.quality} if form in ("JPEG", "WEBP") else {}
    picture.save(held, form, **more)
    return held.getvalue()


def touches(args: ImageArgs, context: Context) -> Touches:
    here = one_place(context, args.path)
    if args.action == "info":
        return Touches(reads=(here,), private=True)
    return Touches(reads=(here,), writes=(one_place(context, args.to),))


def preview(args: ImageArgs, context: Context) -> str:
    """What will happen, in plain words."""
    if args.action == "info":
        return f"Look what picture {args.path} is"
    return f"Make {args.to} of the picture {args.path} ({args.action})"


IMAGE = Tool(
    name="image",
    about="Look into a picture; resize, crop, rotate or convert it into a new file.",
    short="pictures",
    args=ImageArgs,
    run=blocking(work),
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # the journal of changes knows whether it happened
    time_limit_s=120,
    touches=touches,
    preview=preview,
    box=lambda _, context: files_box(context),
    group="media",
)
