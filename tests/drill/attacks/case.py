"""One attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """``wall``: what stops it, by its name in :mod:`tests.drill.attacks.off`; empty where several
    do, of which no single one can be taken away here. ``<name>`` in arguments is filled in with
    what the prey has of that name."""

    name: str
    wall: str
    tool: str
    args: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)
    """Limits of its sandbox that are smaller than usual, so that little is enough to pass them."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def sh(wall: str, **scripts: str) -> list[Case]:
    """Attacks by the tool ``shell``."""
    return [Case(_words(name), wall, "shell", {"command": text}) for name, text in scripts.items()]


def py(wall: str, **scripts: str) -> list[Case]:
    """Attacks by the tool ``python``. ``won()`` is there to say so."""
    won = 'def won(*_):\n    print("ATTACK" + "-WON")\n'
    return [
        Case(_words(name), wall, "python", {"code": won + text}) for name, text in scripts.items()
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")
