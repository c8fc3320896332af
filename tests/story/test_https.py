"""The gateway behind a front door with TLS (Caddy, nginx, a tunnel): node and terminal far away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.house import House


class FrontDoor:
    """Ends TLS and passes the bytes on, as a reverse proxy does; a thread of its own."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self._to = port
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self.port = 0
        opened = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(opened,), daemon=True)
        self._thread.start()
        assert opened.wait(10)

    def _run(self, opened: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._pass, "127.0.0.1", 0, ssl=self._tls)
        )
        self.port = server.sockets[0].getsockname()[1]
        opened.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    async def _pass(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection("127.0.0.1", self._to)

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            writer.close()

        await asyncio.gather(pump(near, forth), pump(far, back))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def front(house: House, tmp_path: Path) -> Iterator[tuple[FrontDoor, Path]]:
    """A front door before the house, and the certificate that it shows."""
    openssl = shutil.which("openssl")
    if openssl is None:
        if os.environ.get("CI"):
            pytest.fail("openssl is not installed")
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    door = FrontDoor(house.port, certificate, key)
    try:
        yield door, certificate
    finally:
        door.close()


def test_a_node_and_a_terminal_far_away_use_https(
    house: House, tmp_path: Path, front: tuple[FrontDoor, Path]
) -> None:
    """By https a node joins and works and the terminal asks and looks; with a certificate that
    nobody vouches for both say so in words and give no key away."""
    door, certificate = front
    house.start("gateway", "model")
    house.until(house.ready, 20, "the gateway")
    far = tmp_path / "far"
    url = f"https://localhost:{door.port}"
    invited = house.cli("node", "invite", "far")
    key = invited.stdout.split("stead node join ", 1)[1].split()[1]

    stranger = house.cli("node", "join", url, key, home=far)
    assert stranger.returncode != 0
    assert "certificate" in stranger.stderr and key not in stranger.stderr

    trusting = {"SSL_CERT_FILE": str(certificate)}
    joined = house.cli("node", "join", url, key, home=far, env=trusting)
    assert joined.returncode == 0, joined.stderr
    house.start_at("far", far, "node", "run", env=trusting)
    house.until(
        lambda: any(node["alive"] for node in house.get("/api/v1/status")["nodes"]), 15, "the node"
    )
    shutil.copy(house.home / "secrets" / "owner.key", far / "secrets" / "owner.key")
    asked = house.cli("ask", "[[say From afar.]]", home=far, env=trusting)
    assert (asked.returncode, asked.stdout.strip()) == (0, "From afar."), asked.stderr
    looked = house.cli("status", home=far, env=trusting)
    assert looked.returncode == 0 and "far" in looked.stdout, looked.stderr
    refused = house.cli("status", home=far)
    assert refused.returncode != 0 and "certificate" in refused.stdout, refused.stdout
