"""Each wall, taken away: what must not happen, so that attacks can be seen to win."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stead.agent.tools import list_files, read_file, search_files
from stead.agent.tools.base import Context
from stead.sandbox import bubblewrap, seccomp, selftest
from stead.sandbox.box import Bounds, Box, Boxed, Mount, Report, Walls
from stead.sandbox.egress_terms import Terms
from tests.drill.attacks.prey import Prey

_ALLOW_ALL = bytes.fromhex("06000000 0000ff7f")
"""A filter of one line: yes."""

OPEN = ("127.0.0.1:<tcp>", "localhost:<tcp>", "[::1]:<tcp6>")
"""Places that are not public, as an owner would name them."""


class Bent:
    """Walls whose boxes are changed on the way."""

    def __init__(self, walls: Walls, bend: Callable[[Box], Box]) -> None:
        self._walls, self._bend = walls, bend

    @property
    def works(self) -> bool:
        return self._walls.works

    async def tested(self) -> Report:
        return await self._walls.tested()

    async def start(self, box: Box, command: Sequence[str], **more: Any) -> Boxed:
        return await self._walls.start(self._bend(box), command, **more)

    async def aclose(self) -> None:
        await self._walls.aclose()


def bent(wall: str, prey: Prey, bounds: dict[str, Any]) -> Callable[[Box], Box]:
    """How boxes are changed where a wall is off; and the limits that an attack comes with."""

    def bend(box: Box) -> Box:
        if wall == "mounts":
            mounts = (Mount(prey.folder, write=True), Mount(Path("/dev/shm")), *box.mounts)
            box = replace(box, mounts=mounts)
        if wall == "hosts":
            box = replace(box, hosts=tuple(replace(one, name="*") for one in box.hosts))
        if wall == "bounds":
            return replace(box, bounds=Bounds())
        return replace(box, bounds=replace(box.bounds, **bounds))

    return bend


def terms_of(wall: str, prey: Prey, *, private: bool) -> Terms:
    """What the proxy is told. ``private``: places that are not public may be granted."""
    allowed = private or wall == "addresses"
    named = tuple(prey.fill(one) for one in OPEN) if allowed else ()
    if "site" in prey.places:  # a page of attackers, to be seen at all
        named += (prey.fill("127.0.0.1:<site>"),)
    return Terms(secrets=str(prey.folder / "none"), private=named)


def take_away(wall: str, patch: pytest.MonkeyPatch) -> None:
    """Weaken what makes sandboxes. The self-test would notice most of it, and refuse."""

    async def fine(*_: object) -> Report:
        return Report(True, "", "bubblewrap")

    patch.setattr(selftest, "test", fine)
    without = {
        "network": ["--unshare-net"],
        "pids": ["--unshare-pid"],
        "ipc": ["--unshare-ipc"],
        "namespaces": ["--disable-userns"],
    }.get(wall, [])
    if without:
        head = bubblewrap.head
        patch.setattr(
            bubblewrap, "head", lambda box: [one for one in head(box) if one not in without]
        )
    if wall in ("seccomp", "namespaces"):
        patch.setattr(seccomp, "program", lambda machine="": _ALLOW_ALL)
    if wall == "environment":
        clean = bubblewrap.environment
        patch.setattr(bubblewrap, "environment", lambda box: dict(os.environ) | clean(box))
    if wall == "paths":
        for module in (read_file, list_files, search_files):
            patch.setattr(module, "locate", _anywhere)
            if hasattr(module, "open_inside"):
                patch.setattr(module, "open_inside", _opened)


def _anywhere(context: Context, path: str) -> tuple[Path, str]:
    real = context.workspace / path
    return real, path


def _opened(context: Context, real: Path) -> int:
    return os.open(real, os.O_RDONLY)
