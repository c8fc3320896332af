"""What SIGHUP means: that our terminal is gone, or that somebody wants stead.toml to be read."""

from __future__ import annotations

import os
from collections.abc import Callable


def terminal() -> Callable[[], bool]:
    """What tells whether the terminal that this process was started in is gone by now."""
    had = [number for number in (0, 1, 2) if _is_terminal(number)]
    return lambda: bool(had) and not any(_is_terminal(number) for number in had)


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False
