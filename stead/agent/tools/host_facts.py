"""Facts about this machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, blocking
from stead.core.states import Effects, OnUnknown

About = Literal["disk", "memory", "cpu", "uptime", "os", "all"]


class HostArgs(Args, frozen=True):
    about: Annotated[About, Meta(description="Which facts; cpu includes the load")]


def facts(args: HostArgs, context: Context) -> str:
    """One short line a fact, so that a small model can repeat the figure.

    GB are 10^9 bytes; free disk space is what an ordinary user may still write.
    """
    chosen = _FACTS if args.about == "all" else {args.about: _FACTS[args.about]}
    return "\n".join(line for fact in chosen.values() for line in fact(context.workspace))


def _disk(workspace: Path) -> list[str]:
    import psutil  # late: costs memory and start time in a process that never asks

    places = [Path("/")]
    if workspace.exists() and workspace.stat().st_dev != places[0].stat().st_dev:
        places.append(workspace)
    lines = []
    for place in places:
        use = psutil.disk_usage(str(place))
        what = f"disk {place}" if len(places) > 1 else "disk"
        # No percentage: asked for the free space, a small model gave that instead.
        lines.append(f"{what}: {_gb(use.free)} free of {_gb(use.total)}")
    return lines


def _memory(workspace: Path) -> list[str]:
    import psutil  # late, see above

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    lines = [
        f"memory: {_gb(memory.available)} free of {_gb(memory.total)} ({memory.percent:.0f}% used)"
    ]
    if swap.total:
        lines.append(f"swap: {_gb(swap.free)} free of {_gb(swap.total)}")
    return lines


def _cpu(workspace: Path) -> list[str]:
    import psutil  # late, see above

    busy = psutil.cpu_percent(interval=0.1)
    one, five, fifteen = psutil.getloadavg()
    return [
        f"cpu: {psutil.cpu_count()} cores, {busy:.0f}% busy",
        f"load: {one:.2f} (1 min), {five:.2f} (5 min), {fifteen:.2f} (15 min)",
    ]


def _uptime(workspace: Path) -> list[str]:
    import psutil  # late, see above

    minutes = int(time.time() - psutil.boot_time()) // 60
    days, minutes = divmod(minutes, 24 * 60)
    parts = ((days, "days"), (minutes // 60, "hours"), (minutes % 60, "minutes"))
    words = [f"{n} {unit if n != 1 else unit[:-1]}" for n, unit in parts if n]
    return [f"uptime: {' '.join(words) or 'less than a minute'}"]


def _os(workspace: Path) -> list[str]:
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:  # not a Linux with /etc/os-release
        system = f"macOS {platform.mac_ver()[0]}" if platform.mac_ver()[0] else ""
    kernel = f"{platform.system()} {platform.release()}"
    parts = [part for part in (system, kernel, platform.machine()) if part]
    return [f"os: {', '.join(parts)}; host name {platform.node()}"]


_FACTS: dict[str, Callable[[Path], list[str]]] = {
    "disk": _disk,
    "memory": _memory,
    "cpu": _cpu,
    "uptime": _uptime,
    "os": _os,
}


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


HOST_FACTS = Tool(
    name="host_facts",
    about="Facts about the machine this runs on: free disk space, memory, CPU and load, uptime,"
    " operating system and host name.",
    short="this machine's disk (space, storage), memory, cpu, uptime, os",
    args=HostArgs,
    run=blocking(facts),
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    small=True,
)
