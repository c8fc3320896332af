"""Break one line of the product, run a machine, and see it found.

A mutant is a piece of source and what it is replaced by. The piece must be there exactly once, so
that a mutant cannot quietly stop biting when the code changes: then give it a new place.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """``breaks`` is the promise that it breaks, in words."""

    breaks: str
    module: ModuleType
    old: str
    new: str

    def __str__(self) -> str:
        return self.breaks.replace(" ", "-")


@contextmanager
def alive(mutant: Mutant) -> Iterator[None]:
    """The product with this one change, wherever its functions have been taken to by name."""
    source = inspect.getsource(mutant.module)
    found = source.count(mutant.old)
    assert found == 1, f"{mutant.breaks!r}: its piece is {found} times in the source; place it anew"
    space = dict(mutant.module.__dict__)
    code = source.replace(mutant.old, mutant.new)
    exec(compile(code, str(mutant.module.__file__), "exec"), space)
    with ExitStack() as undo:
        changed = _swap(vars(mutant.module), space, mutant.module.__name__, undo)
        assert changed, f"{mutant.breaks!r} changes nothing"
        yield


def _swap(here: Any, there: Any, module: str, undo: ExitStack) -> int:
    """Put the code of functions, and the texts, of one namespace into those of another."""
    changed = 0
    for name, old in list(here.items()):
        new = there.get(name)
        if isinstance(old, type) and old.__module__ == module and isinstance(new, type):
            changed += _swap(vars(old), vars(new), module, undo)
        elif isinstance(old, FunctionType) and isinstance(new, FunctionType):
            if old.__module__ == module and old.__code__ != new.__code__:
                undo.callback(setattr, old, "__code__", old.__code__)
                old.__code__ = new.__code__
                changed += 1
        elif isinstance(old, str | int | float) and old != new and not name.startswith("__"):
            undo.callback(here.__setitem__, name, old)
            here[name] = new
            changed += 1
    return changed
