"""What the local model is doing, in one small file that every process can read.

``<home>/run/model.json`` is written by the model process alone, atomically. The
phases ``fetching``, ``loading`` and ``ready`` belong to a living process: when it
is gone, a reader sees ``stopped``, so that a crash never leaves a stale ``ready``.
The others carry no pid and stay until the next start. ::

    off       no local model is wanted
    missing   it is not on this disk and the network may not be used
    fetching  done of total bytes
    loading   being checked (total > 0: bytes hashed so far) or read into memory
    ready     answering at url
    failed    why says what happened and what to do
    stopped   ended, or never started
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

_LIVING = frozenset({"fetching", "loading", "ready"})
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelState:
    """One state of the model process. ``since`` is in seconds since the Unix epoch."""

    phase: str
    model: str = ""
    done: int = 0
    """Bytes so far, in ``fetching`` and while the file is checked."""
    total: int = 0
    url: str = ""
    """Base URL of its OpenAI-compatible API, such as ``http://127.0.0.1:4711/v1``."""
    key_file: str = ""
    """File that holds the key of that API."""
    pid: int = 0
    why: str = ""
    tools: str = "schema"
    prompt: str = "small"
    context: int = 8192
    since: float = 0.0
    born: int = 0
    """When process ``pid`` started, in the kernel's own count; tells it from a later one with
    the same number. 0 where the system does not say."""


def path(home: Path) -> Path:
    """Where the state lies."""
    return home / "run" / "model.json"


def read(home: Path) -> ModelState:
    """The present state; a missing, torn or orphaned one reads as ``stopped``."""
    last = read_last(home)
    if last.phase in _LIVING and not _lives(last.pid, last.born):
        why = f"the model process ended while it was {last.phase}"
        return replace(last, phase="stopped", url="", pid=0, born=0, done=0, total=0, why=why)
    return last


def read_last(home: Path) -> ModelState:
    """The state as it was last written, whether or not its process still lives."""
    try:
        return msgspec.json.decode(path(home).read_bytes(), type=ModelState)
    except (OSError, msgspec.DecodeError):
        return ModelState("stopped")


def write(home: Path, state: ModelState) -> None:
    """Replace the state. A living phase gets this process as its owner if it names none."""
    if state.phase in _LIVING:
        pid = state.pid or os.getpid()
        state = replace(state, pid=pid, born=_birth(pid))
    else:
        state = replace(state, pid=0, born=0)
    file = path(home)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Renamed but not synced: after a power cut no process of this file lives anyway.
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.write_bytes(msgspec.json.encode(state))
    temporary.chmod(0o600)
    temporary.replace(file)


def words(state: ModelState) -> str:
    """One plain sentence for people, with progress."""
    name = f"model {state.model}" if state.model else "the local model"
    if state.phase == "off":
        return "no local model is wanted (model.local is off)"
    if state.phase == "fetching":
        words = f"{name}: fetching {_progress(state)}"
        return f"{words}, {state.why}" if state.why else words
    if state.phase == "loading":
        if state.total:
            return f"{name}: checking its file, {_progress(state)}"
        return f"{name}: loading into memory"
    if state.phase == "ready":
        return f"{name} is ready"
    if state.phase == "missing":
        return state.why or f"{name} is not on this machine"
    if state.phase == "failed":
        return state.why or f"{name} failed"
    return f"{name} is not running" + (f": {state.why}" if state.why else "")


def _progress(state: ModelState) -> str:
    if not state.total:
        return f"{state.done // _MB} MB"
    percent = min(100, state.done * 100 // state.total)
    return f"{state.done // _MB} of {state.total // _MB} MB ({percent}%)"


def _birth(pid: int) -> int:
    """Start of a process in clock ticks since boot (Linux), else 0; -1 for one that is dead."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The name in brackets may hold spaces: count from its end. See proc_pid_stat(5).
    rest = text[text.rfind(")") + 2 :].split()
    return -1 if rest[0] in "ZX" else int(rest[19])


def _lives(pid: int, born: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    now = _birth(pid)
    return now >= 0 and (born <= 0 or now == 0 or now == born)
