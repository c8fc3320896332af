"""An address book of its own for each test, and a real CardDAV server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead.memory.contacts import Book
from stead.memory.contacts.carddav import AddressBook
from stead.memory.graph import Graph


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with Graph(tmp_path / "home") as graph, Book(graph) as made:
        yield made


@pytest.fixture(scope="module")
def radicale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Radicale that lets every user in."""
    pytest.importorskip("radicale")
    folder = tmp_path_factory.mktemp("radicale")
    (folder / "config").write_text(
        f"[auth]\ntype = htpasswd\nhtpasswd_filename = {folder}/users\n"
        "htpasswd_encryption = plain\n"
        f"[storage]\nfilesystem_folder = {folder}/data\n[logging]\nlevel = error\n"
    )
    (folder / "users").write_text("".join(f"user{n}:pass\n" for n in range(20)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "radicale", "--config", str(folder / "config"),
        "--server-hosts", f"127.0.0.1:{port}",
    ]  # fmt: skip
    with subprocess.Popen(command, env={**os.environ}) as server:
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None, "radicale did not start"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


_COUNT = iter(range(20))


@pytest.fixture
def server(radicale: str) -> Iterator[AddressBook]:
    """An empty address book of a user of its own."""
    user = f"user{next(_COUNT)}"
    made = AddressBook(f"{radicale}/{user}/people/", user, "pass")
    body = (
        '<C:mkcol xmlns="DAV:" xmlns:C="DAV:" xmlns:R="urn:ietf:params:xml:ns:carddav"><set><prop>'
        "<resourcetype><collection/><R:addressbook/></resourcetype>"
        "</prop></set></C:mkcol>"
    )
    assert made._ask("MKCOL", made.path, body).status == 201
    yield made
    made.close()
