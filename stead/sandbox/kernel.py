"""System calls of Linux for which Python has no name; those since 5.1 have one number on every
architecture (``asm/unistd.h``).

Only the standard library: the process that starts sandboxes loads this and little else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys

OPEN_TREE = 428
MOVE_MOUNT = 429
MOUNT_SETATTR = 442
LANDLOCK_CREATE = 444
LANDLOCK_ADD = 445
LANDLOCK_RESTRICT = 446
OPENAT2 = 437

AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x100000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18
_MS_NOSUID = 2
_MS_NODEV = 4
_CLONE_NEWNS = 0x20000
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36
_RESOLVE_NO_SYMLINKS = 4
_RESOLVE_NO_MAGICLINKS = 2
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
_SLICE_NS = 100_000_000
"""The longest that Linux grants."""

_libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: object) -> int:
    """``syscall(2)``. Raises ``OSError``."""
    result: int = _libc.syscall(number, *arguments)
    return _checked(result)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def die_with_parent(signal: int) -> None:
    """prctl(2), PR_SET_PDEATHSIG: forgotten when the user id changes, so set it after that."""
    prctl(_PR_SET_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """prctl(2), PR_SET_CHILD_SUBREAPER."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def own_mounts() -> None:
    """A mount namespace of this process's own, from which nothing is passed on."""
    _checked(_libc.unshare(_CLONE_NEWNS))
    _checked(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))


def mount_memory(where: str) -> None:
    """An empty tmpfs, for mount points."""
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    _checked(_libc.mount(b"tmpfs", os.fsencode(where), b"tmpfs", flags, b"mode=0755,size=1m"))


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64),
    )  # fmt: skip


def open_plain(path: str) -> int:
    """A descriptor (``O_PATH``) of a path none of whose parts is a symbolic link (openat2(2)):
    what was looked at is what is used, whoever changes links meanwhile."""
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    return call(
        OPENAT2, AT_FDCWD, os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
    )


def clone_mount(fd: int) -> int:
    """A mount of what ``fd`` is, at no place yet (open_tree(2)); without what is mounted below."""
    return call(OPEN_TREE, fd, b"", _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC)


def place_mount(fd: int, where: str) -> None:
    """move_mount(2)."""
    call(MOVE_MOUNT, fd, b"", AT_FDCWD, os.fsencode(where), _MOVE_MOUNT_F_EMPTY_PATH)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64), ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64), ("userns", ctypes.c_uint64),
    )  # fmt: skip


def map_owners(mount: int, userns: int) -> None:
    """Show the owners of a mount's files as a user namespace maps them (mount_setattr(2))."""
    attr = _MountAttr(_MOUNT_ATTR_IDMAP, 0, 0, userns)
    call(
        MOUNT_SETATTR, mount, b"", _AT_EMPTY_PATH, ctypes.byref(attr),
        ctypes.c_size_t(ctypes.sizeof(attr)),
    )  # fmt: skip


def swapping_userns(uid: int, gid: int, as_uid: int, as_gid: int) -> int:
    """A user namespace that maps each id to itself but swaps these: for :func:`map_owners`.

    Needs root. What belongs to ``uid`` on the disk then seems to belong to ``as_uid``, and what
    ``as_uid`` makes belongs to ``uid`` on the disk.
    """
    told, tell = os.pipe()
    held, hold = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(hold)
            _checked(_libc.unshare(_CLONE_NEWUSER))
            os.write(tell, b"x")
            os.read(held, 1)  # until the parent has what it wants, or is gone
        finally:
            os._exit(0)
    os.close(tell)
    os.close(held)
    try:
        if os.read(told, 1) != b"x":
            raise OSError("no user namespace could be made")
        for name, own, other in (("uid", uid, as_uid), ("gid", gid, as_gid)):
            with open(f"/proc/{pid}/{name}_map", "w") as file:
                file.write(swap(own, other, name))
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(told)
        os.close(hold)
        os.waitpid(pid, 0)


def swap(one: int, other: int, name: str = "uid") -> str:
    """The text of a ``uid_map`` (user_namespaces(7)) that swaps two ids, within what is mapped
    for this process itself."""
    last = max((base + count for base, count in _mapped(name)), default=0)
    if one == other:
        return f"0 0 {last}\n"
    low, high = sorted((one, other))
    parts = (
        (0, 0, low), (low, high, 1), (low + 1, low + 1, high - low - 1),
        (high, low, 1), (high + 1, high + 1, last - high - 1),
    )  # fmt: skip
    return "".join(f"{a} {b} {count}\n" for a, b, count in parts if count > 0)


def _mapped(name: str) -> list[tuple[int, int]]:
    with open(f"/proc/self/{name}_map") as file:
        return [(int(line.split()[0]), int(line.split()[2])) for line in file]


def lowest_priority() -> None:
    """Whoever else wants the processor has it before this process and what it starts."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    _wish_long_slices()  # before it is of the idle class, which only root may leave again
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _wish_long_slices() -> None:
    """Ask Linux for long turns at the processor, which is to ask for late ones.

    A group of processes (a session, a unit of systemd) is never of the idle class, whatever is in
    it. So where groups share the processor, a thread of the kernel that ends another's fsync would
    wait for the turn of a tool that computes to be over: 4 ms instead of 0.4. Since Linux 6.12 who
    wants shorter turns goes first (sched_setattr(2)); an older one takes no notice.
    """
    number = _SCHED_SETATTR.get(os.uname().machine)
    if sys.platform != "linux" or number is None:
        return
    # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period
    wish = struct.pack("=IIQiIQQQ", 48, os.SCHED_BATCH, 0, 19, 0, _SLICE_NS, 0, 0)
    _libc.syscall(number, 0, wish, 0)  # the slice stays when the class changes
