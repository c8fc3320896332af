"""Tries every wall from the inside: ``python -m stead.sandbox.probe``; its arguments are below.

Run in a sandbox by :mod:`stead.sandbox.selftest`. Prints a JSON object of what it could do that it
should not, by wall; empty words where the wall held. It really tries: a limit that was accepted
may still not be kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable

KNOWN = {
    "PATH", "HOME", "LANG", "LC_CTYPE", "TMPDIR", "USER", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE",
    "PWD", "container",
}  # fmt: skip


def files(canary: str, folder: str) -> str:
    for path in (canary, "/etc/shadow", "/root/.ssh", "/run/docker.sock", "/run/user", "/var/run"):
        if os.path.lexists(path):
            return f"{path} can be seen"
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(canary), exist_ok=True)
    for path in ("/stead-probe", "/usr/stead-probe", "/etc/stead-probe", "/dev/stead-probe"):
        with contextlib.suppress(OSError), open(path, "w"):
            return f"{path} can be written"
    try:
        with open(os.path.join(folder, "made"), "w") as file:
            file.write("x")
    except OSError as problem:
        return f"what was granted cannot be written: {problem}"
    return ""


def network(port: int, name: str) -> str:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return "a server of this machine answers"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as local:
        local.connect("\0" + name)
        return "a local socket of this machine answers"
    with open("/proc/net/dev") as file:
        devices = [line.split(":")[0].strip() for line in file.readlines()[2:]]
    return "" if devices == ["lo"] else f"there are devices: {', '.join(devices)}"


def processes(mark: str) -> str:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.readlink(f"/proc/{name}/ns/pid") == mark:
                return "processes of the machine can be seen"
    return "" if os.readlink("/proc/self/ns/pid") != mark else "it is among the machine's processes"


def rights() -> str:
    status = {}
    with open("/proc/self/status") as file:
        for line in file:
            key, _, value = line.partition(":")
            status[key] = value.strip()
    if int(status["CapEff"], 16) or int(status["CapBnd"], 16) or int(status["CapPrm"], 16):
        return "it has capabilities"
    if status["NoNewPrivs"] != "1":
        return "it could gain rights by programs that give them"
    if os.getuid() == 0:
        return "it is root in there"
    return ""


def calls() -> str:
    with open("/proc/self/status") as file:
        if "Seccomp:\t2" not in file.read():
            return "no filter of system calls is at work"
    libc = ctypes.CDLL(None, use_errno=True)
    tries: dict[str, Callable[[], int]] = {
        "keys of the kernel": lambda: libc.syscall(_NUMBERS["keyctl"], 0, -3, 0, 0, 0),
        "io_uring": lambda: libc.syscall(425, 1, 0),
        "tracing": lambda: libc.syscall(_NUMBERS["ptrace"], 0, 0, 0, 0),
    }
    for what, attempt in tries.items():
        if attempt() >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
            return f"{what} can be used"
    return ""


_NUMBERS = (
    {"keyctl": 219, "ptrace": 117}
    if os.uname().machine == "aarch64"
    else {"keyctl": 250, "ptrace": 101}
)


def namespaces() -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) == 0:
        return "a user namespace can be made inside"
    if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) == 0:
        return "something can be mounted inside"
    return ""


def environment() -> str:
    more = sorted(set(os.environ) - KNOWN)  # noqa: TID251 - to see that it is clean
    return f"its environment holds {', '.join(more)}" if more else ""


def crowd(most: int) -> str:
    """Fork until that is refused."""
    held = []
    try:
        for _ in range(most + 20):
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            held.append(pid)
    except OSError:
        return ""
    finally:
        for pid in held:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    return "it can start as many processes as it likes"


def main(arguments: list[str]) -> int:
    canary, folder, port, name, mark, most = arguments
    checks: dict[str, Callable[[], str]] = {
        "files": lambda: files(canary, folder),
        "network": lambda: network(int(port), name),
        "processes": lambda: processes(mark),
        "rights": rights,
        "system calls": calls,
        "namespaces": namespaces,
        "environment": environment,
        "number of processes": lambda: crowd(int(most)),
    }
    found = {}
    for wall, check in checks.items():
        try:
            found[wall] = check()
        except OSError as problem:
            found[wall] = f"it could not be tried: {problem}"
    print(json.dumps(found))  # noqa: T201 - its way to answer
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
