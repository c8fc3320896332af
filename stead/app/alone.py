"""Before anything else: one gateway a home, and its port."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from stead.config import Settings, parse_listen
from stead.core.errors import HomeUnusable, OpenDoor, PortTaken


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """One gateway a home. Raises ``HomeUnusable`` naming the one that runs."""
    path = home / "run" / "gateway.pid"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            other = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            raise HomeUnusable(
                f"A gateway (process {other}) already runs in {home}. Stop it first, or give this"
                " one another home with --home."
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def bound(settings: Settings) -> Iterator[socket.socket]:
    """The listening socket. Raises ``OpenDoor`` and ``PortTaken`` before anything else runs."""
    host, port = parse_listen(settings.listen)
    if not _is_loopback(host) and not settings.gateway.key_file:
        raise OpenDoor(address=settings.listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio sets no TCP_NODELAY on what is accepted from it.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(1024)
        except OSError as error:
            if error.errno in (98, 48):  # EADDRINUSE on Linux and macOS
                raise PortTaken(address=settings.listen) from error
            raise PortTaken(
                f"Cannot listen on {settings.listen}: {error.strerror}. Set another `listen`."
            ) from error
        yield sock


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there. A name other than ``localhost`` may
    mean anything, however it begins."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
