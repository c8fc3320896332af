"""Calls to the kernel that no tool needs, by which sandboxes were left before.

What a kernel does not know, or grants to nobody, cannot be shown to win without the filter:
``PERHAPS``.
"""

from __future__ import annotations

from tests.drill.attacks.case import Case, py

_NUMBERS = {
    "keyctl": (250, 219), "add_key": (248, 217), "ptrace": (101, 117), "personality": (135, 92),
    "kcmp": (312, 272), "process_vm_readv": (310, 270), "unshare": (272, 97),
    "name_to_handle_at": (303, 264), "io_uring_setup": (425, 425), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "bpf": (321, 280), "adjtimex": (159, 171),
    "open_tree": (428, 428), "pidfd_getfd": (438, 438), "move_pages": (279, 239),
    "memfd_secret": (447, 447), "syslog": (103, 116), "set_mempolicy": (238, 237),
    "fsopen": (430, 430), "clone": (56, 220),
}  # fmt: skip
_PRELUDE = f"""
import ctypes, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
numbers = {_NUMBERS!r}
def call(name, *args):
    number = numbers[name][platform.machine() != 'x86_64']
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return libc.syscall(ctypes.c_long(number), *given)
def wins(got):
    won() if got >= 0 else print(os.strerror(ctypes.get_errno()))
room = ctypes.create_string_buffer(4096)
"""


def _calls(**lines: str) -> list[Case]:
    return py("seccomp", **{name: f"{_PRELUDE}{line}\n" for name, line in lines.items()})


SURE = _calls(
    keyring_of_the_session="wins(call('keyctl', 0, -3, 1))",
    a_key_kept_in_the_kernel="wins(call('add_key', b'user', b'x', b'y', 1, -2))",
    being_traced="wins(call('ptrace', 0, 0, 0, 0))",
    memory_without_chance="wins(call('personality', 0x40000))",
    comparing_processes="wins(call('kcmp', os.getpid(), os.getpid(), 1, 0, 0))",
    memory_of_a_process="class V(ctypes.Structure):\n"
    "    _fields_ = [('b', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
    "a = V(ctypes.addressof(room), 8)\nb = V(ctypes.addressof(room) + 64, 8)\n"
    "wins(call('process_vm_readv', os.getpid(), ctypes.byref(a), 1, ctypes.byref(b), 1, 0))",
    apart_from_others="wins(call('unshare', 0x200))",
    clock_of_the_kernel="wins(call('adjtimex', room))",
    a_tree_of_mounts="wins(call('open_tree', -100, b'/', 0))",
    descriptor_of_a_process="wins(call('pidfd_getfd', os.pidfd_open(os.getpid()), 0, 0))",
    pages_moved="wins(call('move_pages', 0, 0, None, None, None, 0))",
)

PERHAPS = _calls(
    a_handle_of_a_file="ctypes.memmove(room, b'\\x80', 1)\n"
    "wins(call('name_to_handle_at', -100, b'/tmp', room, ctypes.byref(room, 1024), 0))",
    ring_of_calls="wins(call('io_uring_setup', 4, room))",
    faults_of_pages="wins(call('userfaultfd', 0o4001))",
    counting_events="ctypes.memmove(room, b'\\1\\0\\0\\0\\x80', 5)\n"
    "wins(call('perf_event_open', room, 0, -1, -1, 0))",
    program_in_the_kernel="wins(call('bpf', 0, room, 64))",
    secret_memory="wins(call('memfd_secret', 0))",
    log_of_the_kernel="wins(call('syslog', 10, None, 0))",
    policy_of_memory="wins(call('set_mempolicy', 0, None, 0))",
    a_file_system="wins(call('fsopen', b'tmpfs', 0))",
    host_of_a_virtual_machine="wins(socket.socket(40, socket.SOCK_STREAM).fileno())",
    ciphers_of_the_kernel="wins(socket.socket(38, socket.SOCK_SEQPACKET).fileno())",
    raw_packets="wins(socket.socket(17, socket.SOCK_RAW).fileno())",
    typing_on_the_terminal="import fcntl, pty\n"
    "mine, other = pty.openpty()\nos.setsid()\nfcntl.ioctl(other, 0x540E, 0)\n"
    "fcntl.ioctl(other, 0x5412, b'x')\nwins(0)",
)

CASES: list[Case] = [*SURE, *PERHAPS]
