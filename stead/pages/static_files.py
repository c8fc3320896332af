"""Files that never change under their name: ``/static/HASH/NAME``."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from stead.core.errors import NotFound

_FOLDER = Path(__file__).parent / "static"
_TEXT = (".css", ".js", ".svg", ".webmanifest", ".json")


@dataclass(frozen=True, slots=True)
class _File:
    url: str
    kind: str
    raw: bytes
    small: bytes
    """gzip; empty where that is no gain."""


class Static:
    """What lies in ``static/``, read once. Its address changes with what is in it."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files: dict[str, _File] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                self._files[name] = _read(name, path)

    def url(self, name: str) -> str:
        """Where a file is to be had. Raises ``KeyError`` for one that is not there."""
        return self._files[name].url

    async def serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = self._files.get(name)
        if found is None:
            raise NotFound(f"There is no file {name} here.")
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Vary": "Accept-Encoding",
        }
        if found.url != request.url.path:  # another version of stead asks for it
            headers["Cache-Control"] = "no-cache"
        body = found.raw
        if found.small and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = found.small, "gzip"
        return Response(body, 200, headers, found.kind)


def _read(name: str, path: Path) -> _File:
    raw = path.read_bytes()
    mark = hashlib.sha256(raw).hexdigest()[:12]
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if name.endswith(".webmanifest"):
        kind = "application/manifest+json"
    small = gzip.compress(raw, 9, mtime=0) if name.endswith(_TEXT) else b""
    return _File(
        f"/static/{mark}/{name}",
        f"{kind}; charset=utf-8" if name.endswith(_TEXT) else kind,
        raw,
        small if len(small) < len(raw) else b"",
    )
