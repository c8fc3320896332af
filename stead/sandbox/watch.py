"""What the processes of a sandbox use together, read from ``/proc`` (proc(5)) from the outside.

For what no cgroup limits here: memory where there is none, processor time, bytes written.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Use:
    """Of a process and all below it, those that have ended included where it is a sum."""

    memory: int = 0
    """Bytes, resident now and not shared with files."""
    cpu_s: float = 0.0
    written: int = 0
    """Bytes on their way to a disk; what goes to memory (tmpfs) is not counted."""
    processes: int = 0


def uses(firsts: list[int]) -> dict[int, Use]:
    """What each of these processes uses with all that is below it now."""
    parents = _parents()
    below: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        below.setdefault(parent, []).append(pid)
    found: dict[int, Use] = {}
    for first in firsts:
        use = found[first] = Use()
        left = [first]
        while left:
            pid = left.pop()
            left += below.get(pid, ())
            with contextlib.suppress(OSError, ValueError, IndexError):
                _add(use, pid)
    return found


def _parents() -> dict[int, int]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                found[int(name)] = int(_stat(int(name))[1])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on; the second may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
        return file.read().rpartition(")")[2].split()


def _add(use: Use, pid: int) -> None:
    fields = _stat(pid)
    use.processes += 1
    use.cpu_s += sum(map(int, fields[11:15])) / _TICK  # its own and that of children it has reaped
    with open(f"/proc/{pid}/statm") as file:
        _, resident, shared, *_ = map(int, file.read().split())
    use.memory += max(0, resident - shared) * _PAGE
    with open(f"/proc/{pid}/io") as file:
        io = dict(line.split(": ") for line in file.read().splitlines())
    use.written += max(0, int(io["write_bytes"]) - int(io["cancelled_write_bytes"]))
