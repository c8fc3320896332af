"""Groups of processes with limits (cgroups(7)), made by the process that starts sandboxes.

Version 1 directly, where root may; version 2 in a part of the tree that was handed to us
(systemd's ``Delegate=``, which ``systemd-run`` gives to a scope). Elsewhere there are none, and
what they would have limited is watched instead (:mod:`stead.sandbox.watch`), which is slower.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

WEIGHT = 25
"""Of all sandboxes of a keeper together, against 100 of the gateway. With systemd the keeper's
scope has it (``CPUWeight``); there those of the background count little only beside the others."""
_LOW = 1
_LEAST_SHARES = 2


@dataclass
class Group:
    """The group of one sandbox."""

    folders: tuple[Path, ...]
    memory: Path | None = None
    """The file that counts processes killed for want of memory."""
    pids: Path | None = None
    joins: tuple[Path, ...] = ()
    _before: dict[str, int] = field(default_factory=dict)

    def join(self) -> None:
        """Put this process into it. Raises ``OSError``."""
        for path in self.joins:
            path.write_bytes(b"0")

    def struck(self) -> str:
        """Which limit was hit: ``memory``, ``processes`` or nothing."""
        if self.memory is not None and _counted(self.memory, "oom_kill") > 0:
            return "memory"
        if self.pids is not None and _counted(self.pids, "max") > 0:
            return "processes"
        return ""

    def remove(self) -> bool:
        """Whether it is gone: what was in it may take a moment to be so."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in self.folders)


def _counted(path: Path, key: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == key:
                return int(count)
    return 0


class Groups:
    """What kind there is here. ``limits``: which of memory, processes and cpu it can limit."""

    kind = "none"
    limits: frozenset[str] = frozenset()

    def make(self, name: str, memory_mb: int, processes: int, share: float, low: bool) -> Group:
        return Group(())

    def close(self) -> None:
        pass


class V1(Groups):
    """Below the groups this process is in."""

    kind = "cgroup v1"

    def __init__(self, parents: dict[str, Path]) -> None:
        self._tops: dict[str, Path] = {}
        for name, parent in parents.items():
            _sweep(parent)
            self._tops[name] = parent / f"stead-{os.getpid()}"
            self._tops[name].mkdir(exist_ok=True)
        if "memory" in self._tops:
            with contextlib.suppress(OSError):
                (self._tops["memory"] / "memory.use_hierarchy").write_text("1")
        self._low: Path | None = None
        if "cpu" in self._tops:
            # Of the processor each group has its share of what the group above it has. So those of
            # the background stand beside the others, not below the same one: they would together
            # have as much as that, however little each may.
            top = self._tops["cpu"]
            (top / "cpu.shares").write_text(str(1024 * WEIGHT // 100))
            self._low = top.with_name(top.name + "-low")
            self._low.mkdir(exist_ok=True)
            (self._low / "cpu.shares").write_text(str(_LEAST_SHARES))
        self.limits = frozenset(parents)

    def make(self, name: str, memory_mb: int, processes: int, share: float, low: bool) -> Group:
        folders = {kind: top / name for kind, top in self._tops.items()}
        if low and self._low is not None:
            folders["cpu"] = self._low / name
        for folder in folders.values():
            folder.mkdir()
        group = Group(
            # A thread that moves itself takes no lock of the whole machine; a process would.
            tuple(folders.values()),
            joins=tuple(path / "tasks" for path in folders.values()),
        )
        if "memory" in folders:
            limit = str(memory_mb * 1024 * 1024)
            (folders["memory"] / "memory.limit_in_bytes").write_text(limit)
            with contextlib.suppress(OSError):  # only where swap is counted
                (folders["memory"] / "memory.memsw.limit_in_bytes").write_text(limit)
            group.memory = folders["memory"] / "memory.oom_control"
        if "processes" in folders:
            (folders["processes"] / "pids.max").write_text(str(processes))
            group.pids = folders["processes"] / "pids.events"
        if "cpu" in folders:
            shares = max(_LEAST_SHARES, int(1024 * share))
            (folders["cpu"] / "cpu.shares").write_text(str(shares))
        return group

    def close(self) -> None:
        for top in (*self._tops.values(), *([self._low] if self._low else ())):
            with contextlib.suppress(OSError):
                top.rmdir()


def _sweep(parent: Path) -> None:
    """Remove the groups of keepers that were killed, and end what is left in them: a bubblewrap
    whose keeper is killed while it starts leaves a process that waits for it for ever."""
    for top in parent.glob("stead-*"):
        if not Path("/proc", top.name.split("-")[1]).exists():
            for folder in (*top.glob("*/"), top):
                for pid in _members(folder):
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):  # where one is still ending, the next time
                    folder.rmdir()


def _members(folder: Path) -> list[int]:
    with contextlib.suppress(OSError, ValueError):
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    return []


class V2(Groups):
    """Below the group this process is in, which must be its alone."""

    kind = "cgroup v2"

    def __init__(self, own: Path) -> None:
        self._own = own
        inner = own / "keeper"  # a group with groups below it may hold no processes itself
        inner.mkdir(exist_ok=True)
        (inner / "cgroup.procs").write_text(str(os.getpid()))
        there = (own / "cgroup.controllers").read_text().split()
        wanted = [name for name in ("memory", "pids", "cpu") if name in there]
        for name in wanted:
            (own / "cgroup.subtree_control").write_text(f"+{name}")
        self.limits = frozenset("processes" if name == "pids" else name for name in wanted)

    def make(self, name: str, memory_mb: int, processes: int, share: float, low: bool) -> Group:
        folder = self._own / name
        folder.mkdir()
        group = Group((folder,), joins=(folder / "cgroup.procs",))
        if "memory" in self.limits:
            (folder / "memory.max").write_text(str(memory_mb * 1024 * 1024))
            with contextlib.suppress(OSError):
                (folder / "memory.swap.max").write_text("0")
            with contextlib.suppress(OSError):
                (folder / "memory.oom.group").write_text("1")
            group.memory = folder / "memory.events"
        if "processes" in self.limits:
            (folder / "pids.max").write_text(str(processes))
            group.pids = folder / "pids.events"
        if "cpu" in self.limits:
            weight = _LOW if low else max(1, min(10_000, int(100 * share)))
            (folder / "cpu.weight").write_text(str(weight))
        return group


_V1_NAMES = {"memory": "memory", "pids": "processes", "cpu": "cpu"}


def groups_here(delegated: bool) -> Groups:
    """The best there is. ``delegated``: the group of this process was made for it alone."""
    own = _own_groups()
    if delegated and "" in own and (own[""] / "cgroup.controllers").exists():
        with contextlib.suppress(OSError):
            made = V2(own[""])
            if made.limits:
                return made
    parents = {name: own[kind] for kind, name in _V1_NAMES.items() if kind in own}
    if os.geteuid() == 0 and parents:
        with contextlib.suppress(OSError):
            return V1(parents)
    return Groups()


def _own_groups() -> dict[str, Path]:
    """Controllers and the folder of this process's group (``""``: version 2)."""
    places: dict[str, tuple[str, str]] = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            fields = left.split()
            if kind == "cgroup2":
                places[""] = fields[3], fields[4]
            elif kind == "cgroup":
                for name in options.strip().split(","):
                    places[name] = fields[3], fields[4]
    found = {}
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            for name in names.split(","):
                if name in places:
                    root, mounted = places[name]
                    inner = path[len(root) :] if root != "/" and path.startswith(root) else path
                    folder = Path(mounted + "/" + inner.lstrip("/"))
                    if os.access(folder, os.W_OK):
                        found[name] = folder
    return found
