"""What a tool can see, and a sandbox for a command of the owner's: straight from the home
directory, whether or not stead runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from stead.agent.tools.base import Args, Blocking, Tool, Toolbox
from stead.app.hands import tools_of
from stead.config import Loaded
from stead.core.errors import NotFound
from stead.core.states import Effects
from stead.sandbox import landlock
from stead.sandbox.box import Bounds, Box, Host, Mount, Report
from stead.sandbox.bubblewrap import environment
from stead.sandbox.view import KNOWLEDGE, system


def walls_report(loaded: Loaded) -> dict[str, Any]:
    """What the walls of this machine are, tried now or earlier in this boot."""

    async def ask() -> Report:
        tools = tools_of(loaded)
        try:
            assert tools.walls is not None
            return await tools.walls.tested()
        finally:
            await tools.aclose()

    report = asyncio.run(ask())
    shown, links = system()
    return {
        "works": report.ok,
        "kind": report.kind,
        "why": report.why,
        "walls": report.walls,
        "weaker": report.weaker,
        "landlock": landlock.version() if os.path.exists("/proc") else 0,
        "everyone_reads": [*map(str, shown), *(str(path) for _, path in links)],
        "of_etc": list(KNOWLEDGE),
    }


def tool_view(loaded: Loaded, name: str) -> dict[str, Any]:
    """What a call of a tool sees and may use. Raises ``NotFound``."""
    tools = tools_of(loaded)
    tool = next((one for one in tools if one.name == name), None)
    if tool is None:
        there = ", ".join(one.name for one in tools)
        raise NotFound(f"There is no tool {name!r}; there are: {there}.")
    context = replace(tools.context, job="JOB", step=1)
    view: dict[str, Any] = {
        "tool": tool.name,
        "effects": tool.effects.value,
        "permission": tool.default.value,
        "time_limit_s": tool.time_limit_s,
        "output_limit": tool.output_limit,
    }
    if tool.box is None:
        view["where"] = _without(tool)
        return view
    try:
        box = tool.box(_example(tool), context)
    except Exception as problem:  # noqa: BLE001 - an example may be no call that it would take
        view["where"] = f"in a sandbox that depends on the call ({problem})"
        return view
    view["where"] = "in a sandbox"
    return view | box_view(box)


def box_view(box: Box) -> dict[str, Any]:
    """A box as data."""
    return {
        "writes": [str(mount.path) for mount in box.mounts if mount.write],
        "reads": [str(mount.path) for mount in box.mounts if not mount.write],
        "hosts": [
            {"name": host.name, "port": host.port, "credentials": list(host.credentials)}
            for host in box.hosts
        ],
        "environment": sorted(environment(box)),
        "limits": msgspec.to_builtins(box.bounds),
    }


def _without(tool: Tool[Any]) -> str:
    if tool.effects is Effects.NONE:
        return "in a process of its own, without a sandbox: it only reads, and has no effects"
    if isinstance(tool.run, Blocking):
        return "in a process of its own, without a sandbox"
    return "in stead itself: it starts no process, or each in a sandbox of its own"


def _example(tool: Tool[Any]) -> Args:
    """Arguments such as a call could have: what is not required is left out."""
    schema = tool.schema(described=False)
    known = schema.get("properties", {})
    found = {name: _value(known[name]) for name in schema.get("required", ())}
    made: Args = msgspec.convert(found, tool.args, strict=False)
    return made


def _value(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(schema["anyOf"][0])
    kind = schema.get("type", "object")
    if kind == "array":
        few = max(1, schema.get("minItems", 0))
        return [_value(schema.get("items", {"type": "string"}))] * few
    if kind == "object":
        known = schema.get("properties", {})
        return {name: _value(known[name]) for name in schema.get("required", ())}
    if kind == "string":
        return "example".ljust(schema.get("minLength", 0), "x")
    return False if kind == "boolean" else schema.get("minimum", 1)


def run_in(
    loaded: Loaded,
    command: Sequence[str],
    *,
    write: Sequence[Path],
    read: Sequence[Path],
    hosts: Sequence[str],
    cwd: Path,
    memory_mb: int,
    processes: int,
    seconds: float,
) -> tuple[int, str]:
    """Run a command of the owner's in a sandbox, on this terminal; its exit code, and which wall
    or limit has ended it. Raises ``NoSandbox`` and ``BadBox``."""
    mounts = [Mount(path, write=True) for path in write] + [Mount(path) for path in read]
    inside = any(cwd.is_relative_to(mount.path) for mount in mounts)
    box = Box(
        "sandbox run",
        tuple(mounts),
        hosts=tuple(_host(word) for word in hosts),
        cwd=cwd if inside else None,
        bounds=Bounds(memory_mb=memory_mb, processes=processes, cpu_s=0, wall_s=seconds),
    )
    return asyncio.run(_run(tools_of(loaded), box, command))


def _host(word: str) -> Host:
    name, _, port = word.rpartition(":")
    if name and port.isdigit():
        return Host(name.lower(), int(port), private=True)
    return Host(word.lower(), private=True)


async def _run(tools: Toolbox, box: Box, command: Sequence[str]) -> tuple[int, str]:
    try:
        assert tools.walls is not None
        boxed = await tools.walls.start(box, command, stdin=0, stdout=1, stderr=2)
        try:
            ended = await boxed.wait()
        except BaseException:
            await boxed.kill()
            raise
    finally:
        await tools.aclose()
    return (ended.code if ended.code >= 0 else 128 - ended.code), ended.why
