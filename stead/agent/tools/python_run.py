"""Runs Python code as a notebook cell does: inside a sandbox, ``python -m`` this module.

It reads the code from its standard input. Afterwards it tells the value of the last expression and
the files that were written; figures that were left open become files in ``plots/``.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import os
import sys
import traceback
from pathlib import Path
from typing import Any

NAME = "<code>"
_MOST_VALUE = 20_000
"""Characters of the last value that are shown."""
_MOST_FILES = 20_000
"""Files looked at for changes."""
_MOST_TOLD = 30


def main() -> int:
    """Exit code: 0; 1 when the code raised; its own where it called ``sys.exit``."""
    code = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.argv = ["code.py"]
    sys.path.insert(0, os.getcwd())
    before = _files()
    status = _run(code)
    with contextlib.suppress(Exception):  # whatever a library has made of itself
        _save_plots()
    _flush()
    written = [name for name, at in _files().items() if before.get(name) != at]
    if written:
        more = f" and {len(written) - _MOST_TOLD} more" if len(written) > _MOST_TOLD else ""
        sys.stdout.write(f"[files written: {', '.join(map(repr, written[:_MOST_TOLD]))}{more}]\n")
        _flush()
    return status


def _run(code: str) -> int:
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        tree = ast.parse(code, NAME)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, NAME, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), NAME, "eval"), names)
            _flush()
            if value is not None:
                shown = repr(value)
                cut = len(shown) - _MOST_VALUE
                shown = shown if cut <= 0 else f"{shown[:_MOST_VALUE]}[{cut} characters more]"
                sys.stdout.write(f"{shown}\n")
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as problem:  # noqa: BLE001 - whatever the code raises is its result
        _flush()
        problem.__traceback__ = _own(problem)
        traceback.print_exception(problem)
        return 1
    return 0


def _own(problem: BaseException) -> Any:
    """The part of the traceback that begins in the code, not in what runs it."""
    at = problem.__traceback__
    while at is not None and at.tb_frame.f_code.co_filename != NAME:
        at = at.tb_next
    return at


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _save_plots() -> None:
    plots = sys.modules.get("matplotlib.pyplot")
    if plots is None:
        return
    for number in plots.get_fignums():
        place = Path("plots")
        place.mkdir(exist_ok=True)
        at = 1
        while (place / f"plot-{at}.png").exists():
            at += 1
        plots.figure(number).savefig(place / f"plot-{at}.png", dpi=120)


def _files() -> dict[str, tuple[int, int]]:
    """Size and time of each file below the working folder."""
    found: dict[str, tuple[int, int]] = {}
    for folder, folders, names in os.walk("."):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".git", ".venv")]
        for name in names:
            path = os.path.normpath(os.path.join(folder, name))
            with contextlib.suppress(OSError):
                info = os.lstat(path)
                found[path] = (info.st_size, info.st_mtime_ns)
            if len(found) >= _MOST_FILES:
                return found
    return found


if __name__ == "__main__":
    sys.exit(main())
