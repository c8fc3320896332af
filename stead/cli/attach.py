"""Handing in files from the terminal."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from stead.cli.api import Api
from stead.core.errors import BadRequest

_PIECE = 1 << 18


def upload(api: Api, path: Path) -> dict[str, Any]:
    """Hand in a file; what the gateway knows of it now (``id``, ``name``, ``type``, ``kind``,
    ``size``). Raises ``BadRequest`` for what is no file that can be read, and ``SteadError``."""
    file, size = _opened(path)
    with file:
        known: dict[str, Any] = api.upload(path.name, _pieces(file, size, path), size)
        return known


def check(paths: tuple[Path, ...]) -> None:
    """Say what is wrong before anything is sent. Raises ``BadRequest``."""
    for path in paths:
        _opened(path)[0].close()


def _opened(path: Path) -> tuple[BinaryIO, int]:
    try:
        # Of a pipe that nobody writes to an ordinary open would wait for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadRequest(f"{path} cannot be attached: {why}.") from error
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        folder = stat.S_ISDIR(info.st_mode)
        what = "a folder; attach its files, or an archive of it" if folder else "not a plain file"
        raise BadRequest(f"{path} cannot be attached: it is {what}.")
    return os.fdopen(fd, "rb"), info.st_size


def _pieces(file: BinaryIO, size: int, path: Path) -> Iterator[bytes]:
    """As many bytes as were said to come: a file may grow while it is read."""
    left = size
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise BadRequest(f"{path} became shorter while it was read; nothing of it was kept.")
        left -= len(piece)
        yield piece
