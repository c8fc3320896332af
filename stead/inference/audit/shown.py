"""What is kept of a call, in the shape the API and the commands show it in."""

from __future__ import annotations

import base64
from pathlib import Path

from stead.core.storage import View
from stead.inference.audit.bodies import Kept, Part, read
from stead.inference.audit.words import words


def bodies(folder: Path, ident: str) -> View | None:
    """``request`` and ``answer`` of a call, each with its ``type``, its ``size``, whether it was
    ``cut`` or ``redacted``, and ``text`` (or ``base64``, where it is none); what the answer says
    as ``words``. None: nothing is kept."""
    kept = read(folder, ident)
    return None if kept is None else _view(ident, kept)


def _view(ident: str, kept: Kept) -> View:
    answer = _part(kept.answer, kept.answer_bytes)
    answer["words"] = words(kept.answer_bytes, kept.answer.type)
    return {
        "call": ident,
        "api": kept.api,
        "request": _part(kept.request, kept.request_bytes),
        "answer": answer,
    }


def _part(part: Part, body: bytes) -> View:
    view: View = {
        "type": part.type, "size": part.size, "cut": part.cut, "redacted": part.redacted
    }  # fmt: skip
    try:
        view["text"] = body.decode()
    except UnicodeDecodeError:
        view["base64"] = base64.b64encode(body).decode()
    return view
