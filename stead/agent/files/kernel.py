"""Two ways of renaming for which Python has no name: to swap, and never to replace.

Linux: renameat2(2), since 3.15. macOS: renameatx_np(2), since 10.12.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

_SWAP = 2
"""RENAME_EXCHANGE of Linux, and RENAME_SWAP of macOS."""
_NEW = 4 if sys.platform == "darwin" else 1
"""RENAME_EXCL of macOS, RENAME_NOREPLACE of Linux."""
_SYSCALL = {"x86_64": 316, "aarch64": 276, "riscv64": 276}
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


@cache
def _rename() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    found = getattr(libc, "renameatx_np" if sys.platform == "darwin" else "renameat2", None)
    number = _SYSCALL.get(os.uname().machine)
    if found is not None or number is None or sys.platform != "linux":
        return found
    return lambda *given: libc.syscall(number, *given)  # an older C library


def _renamed(source: int, old: str, target: int, new: str, flag: int) -> bool:
    """False: this kernel or file system cannot. Raises ``OSError``."""
    call = _rename()
    if call is None:
        return False
    names = ctypes.c_char_p(os.fsencode(old)), ctypes.c_char_p(os.fsencode(new))
    if call(source, names[0], target, names[1], flag) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), new)


def swap(folder: int, one: str, other: str) -> bool:
    """Each of two files gets the other's name, in one step; False where that cannot be done."""
    return _renamed(folder, one, folder, other, _SWAP)


def rename_new(source: int, old: str, target: int, new: str) -> None:
    """Rename, but never over something. Raises ``FileExistsError`` and other ``OSError``."""
    if _renamed(source, old, target, new, _NEW):
        return
    # A file system without it (some network and FUSE ones). A second name can be given to a file
    # without replacing one; where there are no second names, a look has to do.
    with contextlib.suppress(OSError):
        os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        os.unlink(old, dir_fd=source)
        return
    try:
        os.stat(new, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
