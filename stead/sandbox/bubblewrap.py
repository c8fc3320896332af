"""A box in the words of bubblewrap (bwrap(1)): pure, so that it can be shown and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stead.sandbox.box import Box, Mount
from stead.sandbox.errors import BadBox
from stead.sandbox.view import HOME, PATH, system

TMP_SHARE = 2
"""``/tmp`` and ``/dev/shm`` hold at most such a part of the memory each: they are memory."""


def arguments(box: Box, *, uid: int, gid: int) -> list[str]:
    """The options of ``bwrap``, without the command. Raises ``BadBox``."""
    shown, links = system()
    said = [
        "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
        "--unshare-cgroup-try", "--disable-userns", "--cap-drop", "ALL",
        "--new-session", "--die-with-parent",
        "--uid", str(uid), "--gid", str(gid), "--hostname", "sandbox",
    ]  # fmt: skip
    for path in shown:
        said += ["--ro-bind", str(path), str(path)]
    for target, path in links:
        said += ["--symlink", target, str(path)]
    size = str(max(1, box.bounds.memory_mb // TMP_SHARE) * 1024 * 1024)
    said += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/tmp", "/dev/shm", str(HOME)):
        said += ["--size", size, "--perms", "1777", "--tmpfs", place]
    for mount in ordered(box.mounts):
        said += ["--bind" if mount.write else "--ro-bind", str(mount.path), str(mount.path)]
    said += ["--remount-ro", "/dev", "--remount-ro", "/"]
    said += ["--chdir", str(box.cwd or HOME)]
    return said


def ordered(mounts: Sequence[Mount]) -> list[Mount]:
    """Those that are there, the outer ones first, so that none hides what lies below it.

    Raises ``BadBox`` for a path that is not absolute, and for one that is missing but needed.
    """
    kept: list[Mount] = []
    for mount in mounts:
        path = mount.path
        if not path.is_absolute() or ".." in path.parts or "\0" in str(path):
            raise BadBox(why=f"{str(path)!r} is not a plain absolute path")
        if path == Path("/"):
            raise BadBox(why="the whole machine cannot be shown in it; name single folders")
        if path.exists():
            kept.append(mount)
        elif mount.needed:
            raise BadBox(why=f"{path} does not exist; make it, or take it out of what is granted")
    return sorted(kept, key=lambda mount: (len(mount.path.parts), mount.write))


def environment(box: Box) -> dict[str, str]:
    """A clean one, made from nothing."""
    made = {"PATH": PATH, "HOME": str(HOME), "LANG": "C.UTF-8", "TMPDIR": "/tmp", "USER": "sandbox"}
    return made | dict(box.env)
