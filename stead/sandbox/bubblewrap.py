"""A box in the words of bubblewrap (bwrap(1)): pure, so that it can be shown and checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from stead.sandbox.box import Bounds, Box, Mount
from stead.sandbox.enter import INSIDE
from stead.sandbox.errors import BadBox
from stead.sandbox.view import HOME, PATH, system

_MEMORY_SHARE = 2
"""``/tmp``, ``/dev/shm`` and the home hold at most such a part of the memory each: they are it."""


def head(box: Box) -> list[str]:
    """The options before the mounts that were granted."""
    shown, links = system()
    said = [
        "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
        "--unshare-cgroup-try", "--disable-userns", "--cap-drop", "ALL",
        "--new-session", "--die-with-parent",
        "--uid", str(INSIDE), "--gid", str(INSIDE), "--hostname", "sandbox",
    ]  # fmt: skip
    for path in shown:
        said += ["--ro-bind", str(path), str(path)]
    for target, path in links:
        said += ["--symlink", target, str(path)]
    said += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/tmp", "/dev/shm", str(HOME)):
        said += ["--size", str(memory_room(box)), "--perms", "1777", "--tmpfs", place]
    return said


def tail(box: Box) -> list[str]:
    """The options after them: what was built is closed."""
    return ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(box.cwd or HOME)]


def memory_room(box: Box) -> int:
    """Bytes that a file system in memory may hold."""
    return max(1, box.bounds.memory_mb // _MEMORY_SHARE) * 1024 * 1024


def ordered(mounts: Sequence[Mount]) -> list[Mount]:
    """Those that are there, the outer ones first, so that none hides what lies below it.

    Raises ``BadBox`` for a path that is not absolute, and for one that is missing but needed.
    """
    kept: dict[Path, Mount] = {}
    for mount in mounts:
        path = mount.path
        if not path.is_absolute() or ".." in path.parts or "\0" in str(path):
            raise BadBox(why=f"{str(path)!r} is not a plain absolute path")
        if path == Path("/"):
            raise BadBox(why="the whole machine cannot be shown in it; name single folders")
        if path.exists():
            if path not in kept or mount.write:
                kept[path] = mount
        elif mount.needed:
            raise BadBox(why=f"{path} does not exist; make it, or take it out of what is granted")
    return sorted(kept.values(), key=lambda mount: len(mount.path.parts))


def environment(box: Box) -> dict[str, str]:
    """A clean one, made from nothing."""
    made = {"PATH": PATH, "HOME": str(HOME), "LANG": "C.UTF-8", "TMPDIR": "/tmp", "USER": "sandbox"}
    return made | dict(box.env)


def limits(bounds: Bounds, low: bool) -> dict[str, float]:
    """As the keeper reads them."""
    return {
        "memory_mb": bounds.memory_mb, "processes": bounds.processes, "cpu_s": bounds.cpu_s,
        "wall_s": bounds.wall_s, "file_mb": bounds.file_mb, "disk_mb": bounds.disk_mb,
        "share": bounds.cpu_share, "low": float(low),
    }  # fmt: skip


def request(
    box: Box,
    command: Sequence[str],
    *,
    program: str,
    seccomp: bytes,
    by_fd: bool,
    etc: Path,
    trusted: Collection[Path] = (),
) -> dict[str, Any]:
    """What the keeper is asked (:mod:`stead.sandbox.enter`). Raises ``BadBox``.

    A granted path may hold no symbolic link, which what runs in another sandbox could have put
    there; but ``trusted`` ones, to which only stead and the machine's programs write, may.
    """
    return {
        "program": program,
        "by_fd": by_fd,
        "head": head(box),
        "mounts": [
            _mount(Path("/etc"), etc, False),
            *(
                _mount(one.path, one.path.resolve() if one.path in trusted else one.path, one.write)
                for one in ordered(box.mounts)
            ),
        ],
        "seccomp": seccomp.hex(),
        "tail": tail(box),
        "command": list(command),
        "env": environment(box),
        "limits": limits(box.bounds, box.low),
    }


def _mount(path: Path, real: Path, write: bool) -> dict[str, Any]:
    return {"path": str(path), "real": str(real), "write": write}
