"""`stead logs`: what the parts of stead logged, merged by time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from stead.cli.common import Cli, dim, json_option, style

PARTS = ("gateway", "node", "model", "supervisor")
LEVELS = ("debug", "info", "warning", "error", "critical")
_COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}
_BLOCK = 65_536
_POLL_S = 0.2


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only this part.")
@click.option("--level", type=click.Choice(LEVELS), default="debug", help="At least this level.")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True)
@json_option
@click.pass_obj
def logs(
    obj: Cli, follow: bool, parts: tuple[str, ...], level: str, lines: int, as_json: bool
) -> None:
    """Show the newest lines that the parts of stead logged."""
    folder = obj.home / "logs"
    wanted = parts or PARTS
    accept = _accept(level)
    tails = [Tail(folder / f"{part}.jsonl", part) for part in wanted]
    newest: list[Line] = []
    for tail in tails:
        newest += last_lines(folder / f"{tail.part}.jsonl", tail.part, lines, accept)
        tail.skip()
    newest.sort(key=lambda line: line.at)
    for line in newest[len(newest) - lines :] if lines < len(newest) else newest:
        _print(line, as_json)
    if not newest and not follow:
        click.echo(_nothing(folder, bool(parts) or level != "debug", lines), err=True)
    try:
        while follow:
            fresh = [line for tail in tails for line in tail.read() if accept(line)]
            for line in sorted(fresh, key=lambda line: line.at):
                _print(line, as_json)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        return


def _nothing(folder: Path, narrowed: bool, lines: int) -> str:
    if not any(folder.glob("*.jsonl*")):
        return f"Nothing was logged in {folder} yet."
    return (
        "No line was asked for."
        if not lines
        else (
            "Nothing of this part and level was logged."
            if narrowed
            else f"{folder} holds no lines."
        )
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One log line; ``raw`` is as it stands in the file."""

    part: str
    raw: str
    data: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, part: str, raw: str) -> Line:
        """A line that is not JSON (a crash may print one) is shown as it is."""
        try:
            data = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            data = {}
        return cls(part, raw, data if isinstance(data, dict) else {})

    @property
    def at(self) -> str:
        return str(self.data.get("at", ""))


class Tail:
    """What is added to a log file from now on, through its turning over."""

    def __init__(self, path: Path, part: str) -> None:
        self.part = part
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""

    def skip(self) -> None:
        """Start at the end of the file as it is now."""
        self._open()
        if self._file:
            self._file.seek(0, os.SEEK_END)

    def read(self) -> list[Line]:
        """Whole lines added since."""
        text = self._rest
        if self._file:
            text += self._file.read()
        if self._turned():
            self._open()
            if self._file:
                text += self._file.read()
        *whole, self._rest = text.split(b"\n")
        return [Line.of(self.part, line.decode("utf-8", "replace")) for line in whole if line]

    def _open(self) -> None:
        if self._file:
            self._file.close()
        try:
            self._file = self._path.open("rb")
        except OSError:  # not there yet; it is looked for again at the next read
            self._file = None

    def _turned(self) -> bool:
        """Whether the path is another file now, or the same one begun anew."""
        try:
            now = self._path.stat()
        except OSError:
            return False
        if self._file is None:
            return True
        ours = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino) or (
            now.st_size < self._file.tell()
        )


def last_lines(
    path: Path, part: str, count: int, accept: Callable[[Line], bool] = lambda line: True
) -> list[Line]:
    """The newest ``count`` accepted lines of a log file, in order, from older files if need be."""
    found: list[Line] = []
    older = 0
    while len(found) < count:
        file = path if not older else path.with_name(f"{path.name}.{older}")
        if not file.exists():
            break
        for raw in _backwards(file):
            line = Line.of(part, raw)
            if accept(line):
                found.append(line)
                if len(found) == count:
                    break
        older += 1
    return found[::-1]


def _backwards(path: Path) -> Iterator[str]:
    """The lines of a file from its end, read block by block."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        rest = b""
        while at:
            start = max(0, at - _BLOCK)
            file.seek(start)
            rest, *lines = (file.read(at - start) + rest).split(b"\n")
            at = start
            for line in reversed(lines):
                if line:
                    yield line.decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")


def _accept(level: str) -> Callable[[Line], bool]:
    least = LEVELS.index(level)

    def accept(line: Line) -> bool:
        own = str(line.data.get("level", "error"))
        return own not in LEVELS or LEVELS.index(own) >= least

    return accept


def _print(line: Line, as_json: bool) -> None:
    if as_json:
        data = line.data or {"msg": line.raw}
        click.echo(msgspec.json.encode({"part": line.part, **data}).decode())
        return
    if not line.data:
        click.echo(f"{dim(line.part)} {line.raw}")
        return
    data = dict(line.data)
    at, level = str(data.pop("at", "")), str(data.pop("level", ""))
    data.pop("logger", None)
    text, trace = str(data.pop("msg", "")), data.pop("trace", None)
    fields = "".join(f" {name}={value}" for name, value in data.items())
    mark = style(f"{level:<7}", fg=_COLOURS.get(level))
    click.echo(f"{dim(at)} {line.part:<10} {mark} {text}{dim(fields)}")
    if trace:
        click.echo(str(trace))
