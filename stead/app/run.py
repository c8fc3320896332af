"""What the commands start. Thin, so that each process loads only its own part."""

from __future__ import annotations

from pathlib import Path

from stead.config import Loaded


def up(home: Path, loaded: Loaded) -> int:
    """Gateway, node and local model, watched, in the foreground; returns the exit code."""
    from stead.app.supervise import supervise  # late: the other processes do not need it

    return supervise(home, loaded)


def gateway(home: Path, loaded: Loaded) -> int:
    """The gateway alone."""
    from stead.app.gateway import run_gateway  # late: the heavy part of the three

    return run_gateway(home, loaded)


def node(home: Path, loaded: Loaded) -> int:
    """A node alone."""
    from stead.app.node import run  # late: a gateway has no use for it

    return run(home, loaded)
