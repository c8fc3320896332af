"""When a remembered file was last recalled: what the review asks before it calls one unused."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

log = logging.getLogger(__name__)

PATH = "keep/review/used.json"
_EVERY_S = 60.0


class Uses:
    """Notes uses, and writes them down now and then: a minute of them may be lost in a crash, as
    they only tell old from very old."""

    def __init__(self, home: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = home / PATH
        self._clock = clock
        self._last: dict[str, int] | None = None
        self._written = 0.0

    def note(self, paths: Iterable[str]) -> None:
        """These files (relative to the home) were recalled just now."""
        now = self._clock()
        if self._last is None:
            self._last = dict(read(self._file))
        for path in paths:
            self._last[path] = int(now * 1000)
        if abs(now - self._written) >= _EVERY_S:
            self._written = now
            try:
                self._write(self._last)
            except OSError as error:
                log.warning("uses of memory could not be noted: %s", error)

    def _write(self, last: Mapping[str, int]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._file.with_name(f".{self._file.name}.tmp")
        temporary.write_text(json.dumps(last))
        os.replace(temporary, self._file)


def read(file: Path) -> Mapping[str, int]:
    """Path -> ms since 1970; empty where nothing is known."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(path): at for path, at in pairs if isinstance(at, int)}
