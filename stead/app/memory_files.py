"""The files of memory as the owner sees and changes them: for the command line."""

from __future__ import annotations

import difflib
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stead.config import Settings
from stead.core.errors import NotFound, SteadError
from stead.memory.files import cards, history, openclaw, read, write
from stead.memory.files.places import FOLDER, kind_of
from stead.memory.files.write import Guards, Text

__all__ = ["history", "write"]  # for the commands, which import nothing of memory by themselves


class NoEditor(SteadError):
    """The editor {editor!r} could not be run: {why}. Nothing was changed. Name another with
    --editor, or give the new text on stdin."""


@dataclass(frozen=True, slots=True)
class File:
    """One remembered file."""

    path: str
    layer: str
    bytes: int
    changed: int
    """ms since 1970 (UTC)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A file, or some of its lines, with where it stands."""

    path: str
    text: str
    first: int = 1
    moved: bool = False
    """What was cited stands at other lines now."""


def guards_of(settings: Settings) -> Guards:
    """What one write by itself may take away."""
    one = settings.memory
    return Guards(one.max_shrink, one.max_changed, round(one.memory_md_kb * 1000))


def files(home: Path) -> tuple[list[File], str]:
    """All remembered files, and what could not be looked at, in words."""
    found: list[File] = []
    try:
        for path in read.remembered_files(home):
            info = (home / path).stat()
            layer = kind_of(path).layer.value
            found.append(File(path, layer, info.st_size, info.st_mtime_ns // 1_000_000))
    except read.Unreadable as error:
        return found, str(error)
    return found, ""


def path_named(home: Path, words: str) -> str:
    """The file that is meant: its path, its name, or the topic of a card. Raises ``NotFound``."""
    names = [words, f"{FOLDER}/{words}", f"{FOLDER}/{words}.md", f"{FOLDER}/cards/{words}.md"]
    names.append(cards.path_of(words))
    for name in names:
        if name.startswith(f"{FOLDER}/") and name.endswith(".md") and (home / name).is_file():
            return name
    raise NotFound(what=f"remembered file {words!r}; `stead memory show` lists them")


def show(home: Path, words: str, at: str = "") -> Shown:
    """A file (as it was after the change ``at``), or the lines that a citation names."""
    source = read.source_of(words)
    if source is not None and not at:
        entry = read.find(home, source)
        if entry is None:
            raise NotFound(
                what=f"{words}: these words do not stand in {source.path} any more; `stead memory"
                f" history {source.path}` shows what was changed,"
            )
        text = read.lines_between(home, source.path, *entry.lines)
        return Shown(source.path, text, entry.lines[0], entry.lines[0] != source.first)
    if at:
        path = words if words.startswith(f"{FOLDER}/") else f"{FOLDER}/{words}"
        return Shown(path, history.content(home, path, at).decode("utf-8", "replace"))
    path = path_named(home, words)
    return Shown(path, (home / path).read_bytes().decode("utf-8", "replace"))


# --- editing -----------------------------------------------------------------------------------


def opened(home: Path, words: str) -> Text:
    """The file that is to be edited; a new card where there is none of that name."""
    try:
        path = path_named(home, words)
    except NotFound:
        path = words if words.startswith(f"{FOLDER}/") else cards.path_of(words)
    return write.load(home, path)


def in_editor(held: Text, editor: str) -> str:
    """What the owner made of the text."""
    data = held.text.encode("utf-8", "surrogateescape")
    with tempfile.TemporaryDirectory(prefix="stead-") as folder:
        file = Path(folder) / Path(held.path).name
        file.write_bytes(data)
        try:
            done = subprocess.run([*editor.split(), str(file)], check=False)
        except OSError as error:
            raise NoEditor(editor=editor, why=(error.strerror or str(error)).lower()) from error
        if done.returncode != 0:
            raise NoEditor(editor=editor, why=f"it ended with {done.returncode}")
        return file.read_bytes().decode("utf-8", "surrogateescape")


def diff(held: Text, text: str) -> str:
    """What an edit would change."""
    old, new = held.text.splitlines(keepends=True), text.splitlines(keepends=True)
    lines = difflib.unified_diff(old, new, f"a/{held.path}", f"b/{held.path}")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def doubts(held: Text, text: str, guards: Guards) -> str:
    """Why an edit should be looked at twice, in words; empty if it need not."""
    old, new = (one.encode("utf-8", "surrogateescape") for one in (held.text, text))
    try:
        write.check(held.path, old, new, guards)
    except SteadError as error:
        return error.message
    return ""


def save(home: Path, held: Text, text: str, message: str) -> tuple[str, str]:
    """Write what the owner made of a file; the id of the change (empty without git), and why there
    is none, in words. Raises ``Stale``."""
    trouble = _kept(lambda: history.settle(home))
    write.save(home, held.path, text, base=held.base)
    made: list[str] = []
    trouble = _kept(lambda: made.append(history.commit(home, message, [held.path]))) or trouble
    return (made[0] if made else ""), trouble


def bring_in(home: Path, path: Path, guards: Guards, *, dry: bool) -> tuple[openclaw.Report, str]:
    """Bring in an OpenClaw workspace; what was done, and what is not as it should be, in words."""
    if dry:
        return openclaw.bring_in(home, path, dry=True), ""
    _kept(lambda: history.settle(home))
    report = openclaw.bring_in(home, path)
    targets = [*(one.target for one in report.taken), openclaw.LIST]
    message = f"brought in from OpenClaw: {len(report.taken)} files"
    trouble = _kept(lambda: history.commit(home, message, targets)) if report.taken else ""
    return report, " ".join(filter(None, (trouble, write.too_long(home, guards))))


def _kept(work: Callable[[], object]) -> str:
    """What is written is written, whether its history can be kept or not."""
    if why := history.available():
        return f"No history is kept: {why}."
    try:
        work()
    except history.NoHistory as error:
        return error.message
    return ""


def kept_text(held: Text, path: str) -> str:
    """Where the text of an edit that could not be saved is kept."""
    handle, name = tempfile.mkstemp(prefix="stead-edit-", suffix=f"-{Path(path).name}")
    with os.fdopen(handle, "wb") as file:
        file.write(held.text.encode("utf-8", "surrogateescape"))
    return name
