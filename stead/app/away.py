"""The copy of memory that is taken along, from the command line: no gateway is needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from stead.memory.away import copies
from stead.memory.away.merge import Merge
from stead.memory.files import history


def export(home: Path, folder: Path, device: str) -> dict[str, Any]:
    """Bring a copy up to date. Raises ``NoCopy``, ``BadRequest``."""
    done = copies.export(home, folder, device, int(time.time() * 1000))
    return {"copied": done.copied, "removed": done.removed, "kept": done.kept, "same": done.same}


def merge(home: Path, folder: Path, *, dry: bool = False) -> dict[str, Any]:
    """Bring home what was said there; with ``dry`` only tell. Raises ``NoCopy``."""
    done = Merge(home, folder.resolve(), dry=dry).run()
    if done.paths and not dry:
        history.commit(home, f"away: brought home from {done.device}", done.paths)
    told: dict[str, Any] = msgspec.to_builtins(done)
    return told
