"""Logs: JSON lines in ``logs/<part>.jsonl``, turned over by size, with keys masked.

One line is ``{"at": ISO 8601 UTC with ms, "level", "logger", "msg", ...fields}``.
Further fields are given as ``extra={"fields": {...}}``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

_KEY = re.compile(
    r"\b(?P<prefix>s[ojnpr]_|gh[pousr]_|sk-|xox[a-z]-)[A-Za-z0-9_\-]{16,}"
    r"|(?P<bearer>\b[Bb]earer\s+)[A-Za-z0-9._~+/=\-]{6,}"
)
_DEEPEST = 6


_hiding: list[Callable[[str], str]] = []


def hide(values: Callable[[str], str]) -> None:
    """From now on all that is logged goes through ``values`` as well, which hides the secrets that
    are known here. A second call replaces the first."""
    _hiding[:] = [values]


def redact(text: str) -> str:
    """Mask whatever looks like a key or a bearer token, whose first letters stay, and every
    secret that is known by its value."""
    for values in _hiding:
        text = values(text)
    return _KEY.sub(lambda m: (m["prefix"] or m["bearer"]) + "***", text)


def _clean(value: object, depth: int = 0) -> object:
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < _DEEPEST and isinstance(value, dict):
        return {redact(str(key)): _clean(item, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    return redact(str(value))


class JsonLines(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": _at(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": redact(record.getMessage()),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            for name, value in fields.items():
                line.setdefault(str(name), _clean(value))
        if record.exc_info:
            line["trace"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class Plain(logging.Formatter):
    """One record as a line for a person at a terminal."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{clock} {self._part} {record.levelname.lower()}: {redact(record.getMessage())}"
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict) and fields:
            text += " " + " ".join(f"{name}={_clean(value)}" for name, value in fields.items())
        if record.exc_info:
            text += "\n" + redact(self.formatException(record.exc_info))
        return text


def _at(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"


class _Rotating(logging.handlers.RotatingFileHandler):
    """A full disk or a removed folder must not take the process down, nor fill its stderr; and
    what is logged after the file was moved away must be found in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self._follow()
        super().emit(record)

    def _follow(self) -> None:
        """Open the file anew if another one has its name, or none has."""
        if self.stream is None:
            return
        ours = os.fstat(self.stream.fileno())
        try:
            now = os.stat(self.baseFilename)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.baseFilename), mode=0o700, exist_ok=True)
        else:
            if (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino):
                return
        self.stream.close()
        self.stream = self._open()

    def doRollover(self) -> None:
        if self.backupCount == 0:  # logging itself would go on adding to the same file
            if self.stream:
                self.stream.truncate(0)
            return
        super().doRollover()

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], OSError):
            return
        super().handleError(record)


def setup(
    home_logs: Path,
    part: str,
    level: str = "info",
    max_mb: float = 20.0,
    keep: int = 5,
    to_stderr: bool = False,
) -> Path:
    """Send everything this process logs to ``home_logs/<part>.jsonl``; return its path.

    Call it once, at the start of a process. A second call replaces the first.
    ``max_mb`` is the size in MB at which a file is turned over, ``keep`` how many
    old ones stay (``<part>.jsonl.1`` is the newest of them).
    """
    path = home_logs / f"{part}.jsonl"
    file = _Rotating(path, maxBytes=int(max_mb * 1_000_000), backupCount=keep, encoding="utf-8")
    file.setFormatter(JsonLines())
    handlers: list[logging.Handler] = [file]
    if to_stderr:
        screen = logging.StreamHandler(sys.stderr)
        screen.setFormatter(Plain(part))
        handlers.append(screen)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level.upper())
    return path
