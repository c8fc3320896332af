"""Files of one JSON document a line, which several processes add to while they are killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

#: In the home of a node of a chaos run; names the file of effects.
MARK = "chaos.json"


def append(path: Path, entry: dict[str, Any]) -> None:
    """One line with one write, so that lines of several processes never mix."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(entry).encode() + b"\n")
    finally:
        os.close(fd)


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines of such a file, in order."""
    found = []
    raw = path.read_bytes() if path.exists() else b""
    for line in raw.split(b"\n"):
        if line:
            found.append(json.loads(line))
    return found
