"""A PostgreSQL server of Debian's for tests: of their own, on loopback, gone at their end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ADMIN = "admin"
ADMIN_PASSWORD = "the-admin-of-tests"


@dataclass(frozen=True)
class Server:
    """One that runs."""

    port: int
    bin: Path

    def dsn(self, user: str = ADMIN, password: str = ADMIN_PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/postgres"

    def do(self, sql: str) -> str:
        """Run statements as its superuser; what they give, one row a line."""
        done = subprocess.run(
            [self.bin / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", self.dsn()],
            input=sql, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def programs() -> Path:
    """The folder of its programs; skips (in CI: fails) where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is missing: apt install postgresql")
        pytest.skip("PostgreSQL is missing: apt install postgresql")
    return found[-1].parent


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server whose data lie in a new folder. It will not run as root, so another user does it."""
    bin = programs()
    data = folder / "pg"
    data.mkdir()
    as_user: dict[str, str] = {}
    if os.geteuid() == 0:
        user = "postgres" if _is_user("postgres") else "nobody"
        shutil.chown(data, user)
        as_user = {"user": user}
        for above in data.parents:  # pytest's own folders are closed to others
            with contextlib.suppress(OSError):
                above.chmod(above.stat().st_mode | 0o011)
    secret = data.parent / "pg.pw"
    secret.write_text(ADMIN_PASSWORD)
    secret.chmod(0o644)
    subprocess.run(
        [bin / "initdb", "-D", data / "db", "-U", ADMIN, "--pwfile", secret, "-A", "scram-sha-256",
         "--no-sync", "-E", "UTF8", "--no-locale"],
        check=True, capture_output=True, timeout=120, cwd="/", **as_user,
    )  # type: ignore[call-overload]  # fmt: skip
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    process = subprocess.Popen(
        [bin / "postgres", "-D", data / "db", "-F", "-p", str(port), "-k", data,
         "-c", "listen_addresses=127.0.0.1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        **as_user,
    )  # type: ignore[call-overload]  # fmt: skip
    try:
        server = Server(port, bin)
        until = time.monotonic() + 60
        ready = [str(bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < until and process.poll() is None, "PostgreSQL did not start"
            time.sleep(0.05)
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


def _is_user(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False
