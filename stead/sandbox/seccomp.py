"""The filter of system calls that holds in every sandbox, as a BPF program.

A list of what is refused, not of what is allowed: sandboxes run programs nobody here has seen. On
it is what reaches parts of the kernel that no tool needs and through which sandboxes were left
before: mounts and namespaces, keys, BPF, tracing, io_uring, modules, clocks... Refused calls get
EPERM, new ones that a libc can do without ENOSYS, so that programs take their older way. Calls
by another ABI (32 bits, x32), whose numbers differ, are killed: they would go past the list.

Sources: seccomp(2), linux/bpf_common.h, linux/audit.h, asm/unistd.h of the two architectures.
"""

from __future__ import annotations

import errno
import platform
import struct

_X86 = {
    "ptrace": 101, "syslog": 103, "personality": 135, "ustat": 136, "sysfs": 139,
    "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156, "adjtimex": 159,
    "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
    "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171,
    "iopl": 172, "ioperm": 173, "create_module": 174, "init_module": 175, "delete_module": 176,
    "get_kernel_syms": 177, "query_module": 178, "quotactl": 179, "nfsservctl": 180,
    "lookup_dcookie": 212, "clock_settime": 227, "mbind": 237, "set_mempolicy": 238,
    "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
    "migrate_pages": 256, "unshare": 272, "move_pages": 279, "perf_event_open": 298,
    "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
    "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
_ARM = {
    "lookup_dcookie": 18, "quotactl": 60, "umount2": 39, "mount": 40, "pivot_root": 41,
    "nfsservctl": 42, "chroot": 51, "vhangup": 58, "acct": 89, "personality": 92, "unshare": 97,
    "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112,
    "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161, "setdomainname": 162,
    "settimeofday": 170, "adjtimex": 171, "add_key": 217, "request_key": 218, "keyctl": 219,
    "swapon": 224, "swapoff": 225, "mbind": 235, "set_mempolicy": 237, "migrate_pages": 238,
    "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
    "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
    "kexec_file_load": 294,
}  # fmt: skip
_BOTH = {
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
    "quotactl_fd": 443, "memfd_secret": 447, "statmount": 457, "listmount": 458,
    "open_tree_attr": 467,
}  # fmt: skip
_ABSENT = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "clone3": 435}
"""Answered with ENOSYS. ``clone3`` takes its flags by pointer, which no filter can follow; libcs
then use ``clone``, whose flags are looked at."""

_CLONE = {"x86_64": 56, "aarch64": 220}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000

_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
_IOCTLS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type on the terminal of whoever started stead."""
_FAMILIES = (1, 2, 10, 16)
"""Of sockets: UNIX, INET, INET6, NETLINK. No packets, Bluetooth, vsock (which reaches the host of
a virtual machine past every network namespace), crypto..."""

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_EPERM = 0x00050000 | errno.EPERM
_ENOSYS = 0x00050000 | errno.ENOSYS
_EAFNOSUPPORT = 0x00050000 | errno.EAFNOSUPPORT

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # struct seccomp_data; the low half of each argument


class UnknownMachine(Exception):
    """There is no list of system calls for this architecture."""


def refused(machine: str = "") -> dict[str, int]:
    """Names and numbers of what is refused whatever its arguments."""
    machine = machine or platform.machine()
    own = {"x86_64": _X86, "aarch64": _ARM}.get(machine)
    if own is None:
        raise UnknownMachine(machine)
    return own | _BOTH


def program(machine: str = "") -> bytes:
    """The filter, an array of ``struct sock_filter``. Raises ``UnknownMachine``."""
    machine = machine or platform.machine()
    numbers = refused(machine)
    made = [
        _load(_ARCH), *_when(_AUDIT_ARCH[machine], [], otherwise=[_give(_KILL)]), _load(_NR),
    ]  # fmt: skip
    if machine == "x86_64":
        made += [(_AT_LEAST, 0, 1, _X32), _give(_KILL)]
    for number in sorted(numbers.values()):
        made += _when(number, [_give(_EPERM)])
    for number in sorted(_ABSENT.values()):
        made += _when(number, [_give(_ENOSYS)])
    new_namespaces = [(_ANY_BIT, 0, 1, _NEW_NAMESPACES), _give(_EPERM)]
    made += _when(_CLONE[machine], [_load(_ARG0), *new_namespaces, _give(_ALLOW)])
    typing = [line for number in _IOCTLS for line in _when(number, [_give(_EPERM)])]
    made += _when(_IOCTL[machine], [_load(_ARG1), *typing, _give(_ALLOW)])
    known = [line for family in _FAMILIES for line in _when(family, [_give(_ALLOW)])]
    made += _when(_SOCKET[machine], [_load(_ARG0), *known, _give(_EAFNOSUPPORT)])
    made.append(_give(_ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in made)


_Line = tuple[int, int, int, int]


def _load(offset: int) -> _Line:
    return _LOAD, 0, 0, offset


def _give(verdict: int) -> _Line:
    return _RETURN, 0, 0, verdict


def _when(number: int, then: list[_Line], otherwise: list[_Line] | None = None) -> list[_Line]:
    """What is done when the loaded word is this number, else (either ends with a verdict)."""
    if otherwise is not None:
        return [(_EQUAL, len(otherwise), 0, number), *otherwise, *then]
    return [(_EQUAL, 0, len(then), number), *then]
