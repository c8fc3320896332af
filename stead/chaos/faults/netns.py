"""A network namespace for a node: a partition and packet loss in the kernel, not in a proxy.

A namespace has one device, ``eth0``, joined to a device of this machine. Nothing of the machine's
own network is changed: no route, no forwarding, no rule; what is dropped is dropped by rules inside
of the namespace. So a node in it reaches this machine's end of the pair and nothing else; a
``Proxy`` listens there (``host=namespace.host, device=namespace.device``, so that nothing that
comes another way is let in) and hands on to the gateway on loopback.

Names carry the process that made them, so that ``sweep`` finds what a dead one left. It is called
before each making.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stead.core.errors import SteadError

PREFIX = "stead-chaos-"
DEVICE = "eth0"

#: Set aside for trials by RFC 2544, so no network has it. Each pair takes four addresses.
_NET = "198.18"
_PAIRS = 1 << 14

Way = Literal["requests", "answers"]


class NamespaceUnusable(SteadError):
    """Network namespaces cannot be used: {why}"""

    code = "netns_unusable"


def available() -> str:
    """Empty where namespaces can be made; else why not, and what would help."""
    if not sys.platform.startswith("linux"):
        return "they are part of Linux; to have them: run this on Linux"
    if os.geteuid() != 0:
        return "they need root; to have them: run this as root (in a virtual machine, say)"
    if not shutil.which("ip"):
        return "the command ip is missing; to have them: install iproute2"
    trial = Namespace(-1)
    try:
        trial.open()
    except NamespaceUnusable as error:
        return f"{error.message.partition(': ')[2]}; to have them: use a kernel with veth"
    finally:
        trial.close()
    return ""


def loss_available() -> str:
    """Empty where packets can be dropped one way or at random; else why not, and what would help.
    A partition both ways needs nothing but ``available``."""
    if not shutil.which("nft"):
        return "the command nft is missing; to have them: install nftables"
    try:
        with Namespace(-2) as trial:
            trial.lose(0.5)
    except NamespaceUnusable as error:
        return f"{error.message.partition(': ')[2]}; to have them: use a kernel with nf_tables"
    return ""


class Namespace:
    """One namespace; a context manager. ``number`` tells those of one process apart.

    ``host``: the address of this machine that is reached from inside. ``address``: its own.
    ``device``: this machine's end of the pair.
    """

    def __init__(self, number: int) -> None:
        self.name = f"{PREFIX}{os.getpid()}-{_born(os.getpid())}-{number}"
        at = zlib.crc32(self.name.encode())
        self.device = f"stead{at:08x}"
        self.host = self.address = ""
        self._pair = at % _PAIRS

    # --- making and removing -------------------------------------------------------

    def open(self) -> None:
        """Make it. Raises ``NamespaceUnusable``; nothing is left then."""
        sweep()
        _do("ip", "netns", "add", self.name)
        try:
            # Both ends in one command: were this process killed in between, sweep would find all.
            _do("ip", "link", "add", self.device, "type", "veth",
                "peer", "name", DEVICE, "netns", self.name)  # fmt: skip
            self._number()
            _do("ip", "addr", "add", f"{self.host}/30", "dev", self.device)
            _do("ip", "link", "set", self.device, "up")
            _do("ip", "-n", self.name, "addr", "add", f"{self.address}/30", "dev", DEVICE)
            _do("ip", "-n", self.name, "link", "set", "lo", "up")
            _do("ip", "-n", self.name, "link", "set", DEVICE, "up")
        except NamespaceUnusable:
            self.close()
            raise

    def _number(self) -> None:
        """Four addresses that no device has, from a place of its own on."""
        taken = {
            info["local"]
            for link in json.loads(_do("ip", "-j", "-4", "addr") or "[]")
            for info in link.get("addr_info", [])
        }
        for step in range(_PAIRS):
            base = (self._pair + step) % _PAIRS * 4
            self.host, self.address = (f"{_NET}.{base >> 8}.{(base & 255) + n}" for n in (1, 2))
            if self.host not in taken:
                return
        raise NamespaceUnusable(why=f"every address of {_NET}.0.0/16 is taken")

    def close(self) -> None:
        """Remove it, and end what still runs in it."""
        _remove(self.name)
        with contextlib.suppress(NamespaceUnusable):  # gone with the namespace, as a rule
            _do("ip", "link", "del", self.device)

    def __enter__(self) -> Namespace:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self, *words: str) -> list[str]:
        """The same command, run inside; the process started is the one that runs it."""
        return ["ip", "netns", "exec", self.name, *words]

    # --- faults ----------------------------------------------------------------------

    def cut(self) -> None:
        """Nothing passes, either way; connections stay, and fail by their own timeouts."""
        _do("ip", "link", "set", self.device, "down")

    def one_way(self, lost: Way = "answers") -> None:
        """Every packet of one direction is dropped. Raises ``NamespaceUnusable`` without nft."""
        self._drop(1.0 if lost == "answers" else 0.0, 1.0 if lost == "requests" else 0.0)

    def lose(self, share: float) -> None:
        """Packets are dropped at random, so many of each direction (0 to 1). Needs nft."""
        self._drop(share, share)

    def heal(self) -> None:
        """Everything passes again."""
        _do("ip", "link", "set", self.device, "up")
        if shutil.which("nft"):
            self._nft("table inet chaos\ndelete table inet chaos\n")

    def dropped(self) -> int:
        """Packets that the present rules have dropped (not those of ``cut``)."""
        try:
            found = json.loads(
                _do("ip", "netns", "exec", self.name, "nft", "-j", "list", "ruleset")
            )
        except NamespaceUnusable:
            return 0
        return sum(
            part["counter"]["packets"]
            for entry in found["nftables"]
            for part in entry.get("rule", {}).get("expr", [])
            if "counter" in part
        )

    def _drop(self, coming: float, going: float) -> None:
        """Replace the rules inside by these, at once."""
        chains = "".join(
            f"chain {hook} {{\n type filter hook {hook} priority 0; policy accept;\n"
            f' {way} "{DEVICE}" {_chance(share)} counter drop\n}}\n'
            for hook, way, share in (("input", "iifname", coming), ("output", "oifname", going))
            if share > 0
        )
        self._nft(f"table inet chaos\ndelete table inet chaos\ntable inet chaos {{\n{chains}}}\n")

    def _nft(self, rules: str) -> None:
        _do("ip", "netns", "exec", self.name, "nft", "-f", "-", stdin=rules)


def _chance(share: float) -> str:
    return "" if share >= 1 else f"numgen random mod 1000000 < {round(share * 1_000_000)}"


def sweep() -> list[str]:
    """Remove the namespaces of harnesses that are dead, with what runs in them; their names."""
    swept = []
    for name in _do("ip", "netns", "list").split():
        owner = name.removeprefix(PREFIX).split("-")
        if name.startswith(PREFIX) and len(owner) >= 3 and _born(int(owner[0])) != owner[1]:
            _remove(name)
            swept.append(name)
    return swept


def _born(pid: int) -> str:
    """When a process was started, in ticks since the machine was; empty: there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _remove(name: str) -> None:
    with contextlib.suppress(NamespaceUnusable):
        for _ in range(100):
            left = [int(pid) for pid in _do("ip", "netns", "pids", name).split()]
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        _do("ip", "netns", "del", name)


def _do(*words: str, stdin: str = "") -> str:
    command: Sequence[str] = words
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NamespaceUnusable(why=f"{' '.join(words[:3])}: {error}") from error
    if done.returncode:
        told = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise NamespaceUnusable(why=f"`{' '.join(words)}`: {told}")
    return done.stdout
