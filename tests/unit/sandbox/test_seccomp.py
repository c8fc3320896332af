"""The filter of system calls, run as the kernel would, for both architectures."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from stead.sandbox import seccomp

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
EPERM, ENOSYS, EAFNOSUPPORT = 0x50001, 0x50026, 0x50061
ALLOW, KILL = 0x7FFF0000, 0x80000000


def verdict(machine: str, number: int, *arguments: int, arch: int = 0) -> int:
    """What the program says of a call (struct seccomp_data; classic BPF)."""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, arch or ARCH[machine], 0, *words)
    program = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    at, held = 0, 0
    while True:
        code, then, otherwise, value = program[at]
        at += 1
        if code == 0x20:
            held = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return int(value)
        else:
            hit = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code]
            at += then if hit else otherwise


@pytest.mark.parametrize("machine", ARCH)
def test_what_is_refused_and_what_is_not(machine: str) -> None:
    """Each name of the list is refused; ordinary calls are not."""
    refused = seccomp.refused(machine)
    assert {verdict(machine, number) for number in refused.values()} == {EPERM}
    assert verdict(machine, 435) == ENOSYS
    ordinary = set(range(425)) - set(refused.values())
    assert {verdict(machine, number, 1) for number in ordinary} == {ALLOW}


@pytest.mark.parametrize("machine", ARCH)
def test_arguments_are_looked_at(machine: str) -> None:
    """New namespaces by clone, typing on terminals whatever the upper half says, odd sockets."""
    clone, ioctl, sock = {"x86_64": (56, 16, 41), "aarch64": (220, 29, 198)}[machine]
    assert verdict(machine, clone, 0x11) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, clone, flag | 0x11) == EPERM
    for command in (0x5412, 0x541C, 0x5412 | 1 << 40):
        assert verdict(machine, ioctl, 0, command) == EPERM
    assert verdict(machine, ioctl, 0, 0x5401) == ALLOW
    assert [verdict(machine, sock, family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
    assert {verdict(machine, sock, family) for family in (17, 31, 38, 40, 44)} == {EAFNOSUPPORT}


@pytest.mark.parametrize("machine", ARCH)
def test_other_abis_are_killed(machine: str) -> None:
    """Calls of 32 bits, and of x32, whose numbers mean something else."""
    for arch in (0x40000003, 0x40000028, 0):
        assert arch == 0 or verdict(machine, 1, arch=arch) == KILL
    if machine == "x86_64":
        assert verdict(machine, 0x40000000 | 39) == KILL


@pytest.mark.parametrize("machine", ARCH)
def test_the_numbers_are_those_of_the_kernel(machine: str) -> None:
    """As far as the kernel's headers are here and know a name."""
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed")
    text = HEADERS[machine].read_text()
    known = {name: int(number) for name, number in re.findall(r"__NR(?:3264)?_(\w+)\s+(\d+)", text)}
    compared = {name for name in seccomp.refused(machine) if name in known}
    assert len(compared) > 40
    for name in compared:
        assert known[name] == seccomp.refused(machine)[name], name


def test_an_unknown_machine_has_none() -> None:
    """Where there is no list there is no filter, and so no sandbox."""
    with pytest.raises(seccomp.UnknownMachine):
        seccomp.program("riscv64")
