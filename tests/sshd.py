"""Debian's OpenSSH server for tests: on loopback, with keys of its own, gone at their end."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_PROGRAM = Path("/usr/sbin/sshd")


@dataclass(frozen=True)
class Machine:
    """One that answers; whoever logs in with ``key`` works as the user of the tests."""

    port: int
    user: str
    key: Path
    known_hosts: Path
    log: Path

    def logins(self) -> int:
        """How often somebody has logged in."""
        return self.log.read_text(errors="replace").count("Accepted publickey")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Machine]:
    """A server whose files lie in a new folder; skips (in CI: fails) where there is none."""
    if not _PROGRAM.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("the ssh server is missing: apt install openssh-server")
        pytest.skip("the ssh server is missing: apt install openssh-server")
    place = folder / "sshd"
    place.mkdir(mode=0o700)
    for name in ("host", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True
        )
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    (place / "allowed").write_bytes((place / "key.pub").read_bytes())
    (place / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {place / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {place / 'allowed'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    kind, host_key = (place / "host.pub").read_text().split()[:2]
    known = place / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {kind} {host_key}\n")
    log = place / "log"
    process = subprocess.Popen(
        [_PROGRAM, "-D", "-f", place / "config", "-E", log],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not _answers(port):
            assert time.monotonic() < until and process.poll() is None, log.read_text()
            time.sleep(0.02)
        yield Machine(port, getpass.getuser(), place / "key", known, log)
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            return sock.recv(4) == b"SSH-"
    except OSError:
        return False
