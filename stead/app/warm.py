"""Reads the agent's system prompts into the local model's cache each time it has been loaded.

A small model on a small machine reads eighty tokens a second: without this, the
first message after a start would wait for its whole prompt to be read.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

from stead.agent.tools.base import Toolbox
from stead.agent.warm import opening
from stead.core.errors import SteadError
from stead.core.ports import Caller
from stead.inference import modelstate
from stead.inference.backends import LOCAL
from stead.inference.client import DoorModelClient
from stead.inference.door import Door
from stead.inference.routing.routes import Routes

log = logging.getLogger("stead.gateway")

_LOOK_S = 1.0
_ROLES = ("main", "light")


async def keep_warm(home: Path, routes: Routes, door: Door, tools: Toolbox) -> None:
    """Warm the local model whenever a new process of it is ready. Never asks a paid model."""
    warmed: tuple[int, int] | None = None
    while True:
        state = modelstate.read(home)
        process = (state.pid, state.born)
        if state.phase == "ready" and process != warmed:
            warmed = process
            read: list[object] = []
            for role in _ROLES:
                try:
                    await _read_once(role, routes, door, tools, read)
                except SteadError as error:
                    log.info("the model could not be warmed for %s: %s", role, error.message)
        await asyncio.sleep(_LOOK_S)


async def _read_once(
    role: str, routes: Routes, door: Door, tools: Toolbox, read: list[object]
) -> None:
    if not routes.plays_local(role):
        return  # this role is played by a model elsewhere
    # By its own name: a lane would go on to another model if this one fell just now.
    request = replace(opening(door.profile(role), role, tools), model=LOCAL)
    if request.messages in read:
        return
    read.append(request.messages)
    client = DoorModelClient(door, Caller("warm-up", lane="background"))
    async for _ in client.stream(request):
        pass
