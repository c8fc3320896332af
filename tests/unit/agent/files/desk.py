"""A workspace with its undo folder, for tests of tools that change files."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stead.agent.files.back import Undone, take_back, told
from stead.agent.files.book import Book
from stead.agent.tools import TOOLS
from stead.agent.tools.base import (
    Blocking,
    Context,
    Outcome,
    Toolbox,
    ToolError,
    cut,
    failed,
)


@dataclass
class Desk:
    """Tools at work in ``work``; what undoes them in ``keep``."""

    top: Path
    work: Path = Path()

    def __post_init__(self) -> None:
        self.keep = self.top / "keep"
        if self.work == Path():
            self.work = self.top / "work"
        self.work.mkdir(exist_ok=True)
        self.keep.mkdir(exist_ok=True)
        self.tools = Toolbox(TOOLS, Context(self.work, keep=self.keep))

    @property
    def book(self) -> Book:
        return Book(self.keep / "undo")

    def use(self, name: str, *, job: str = "", step: int = 0, most: int = 6000, **args: Any) -> str:
        """A call that must succeed; what it gave."""
        done = self.call(name, job=job, step=step, most=most, **args)
        assert done.ok, done.text
        return done.text

    def refused(self, name: str, **args: Any) -> str:
        """A call that must be refused; why."""
        done = self.call(name, **args)
        assert not done.ok, done.text
        return done.text

    def call(
        self, name: str, *, job: str = "", step: int = 0, most: int = 6000, **args: Any
    ) -> Outcome:
        tool, read = self.tools.read(name, json.dumps(args))
        assert isinstance(tool.run, Blocking)  # so it runs here as it does in its sandbox
        until = time.monotonic() + tool.time_limit_s
        context = Context(self.work, until, most, job=job, step=step, keep=self.keep)
        try:
            return Outcome(cut(tool.run.function(read, context), most))
        except (ToolError, OSError, MemoryError) as problem:
            return Outcome(cut(failed(problem), most), ok=False)

    def changes(self) -> list[str]:
        """The ids of all changes, the newest first."""
        return [one.entry.id for one in told(self.book)]

    def undo(self, ident: str = "", **how: bool) -> Undone:
        """Take back the last change, or this one."""
        return take_back(self.book, ident or self.changes()[0], **how)

    def picture(self) -> dict[str, object]:
        """All that is in the workspace: content of files, targets of links, modes."""
        found: dict[str, object] = {}
        for path in sorted(self.work.rglob("*")):
            name = str(path.relative_to(self.work))
            if path.is_symlink():
                found[name] = ("link", str(path.readlink()))
            elif path.is_dir():
                found[name] = ("folder", path.stat().st_mode & 0o777)
            elif path.is_file():
                found[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
            else:
                found[name] = "odd"
        return found


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is such a thing: these tests sync thousands of times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
