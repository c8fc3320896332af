"""The way out of a real sandbox, through the proxy's own process."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from stead.sandbox.box import Box, Host, Mount, Walls
from stead.sandbox.egress import EgressProcess, NoWayOut
from stead.sandbox.egress_relay import connect_command
from stead.sandbox.egress_terms import Terms
from stead.sandbox.secrets import Credential, Source
from stead.sandbox.view import interpreter
from stead.sandbox.walls import walls_here
from tests.unit.sandbox.egress_house import Ca, Echo, keep_secret, listening

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None and os.environ.get("CI") != "true", reason="curl is not installed"
)

KEY = "a-key-that-nobody-shall-see"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca(tmp_path_factory.mktemp("ca"))


@dataclass
class Out:
    """Walls, and the way out of them."""

    egress: EgressProcess
    walls: Walls

    async def run(self, box: Box, *command: str, stdin: bytes = b"") -> tuple[int, str]:
        """Run a command in a sandbox of its own."""
        boxed = await self.walls.start(box, command, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
        assert boxed.stdin is not None and boxed.stdout is not None
        async with asyncio.timeout(60):
            boxed.stdin.write(stdin)
            boxed.stdin.close()
            said = await boxed.stdout.read()
            return (await boxed.wait()).code, said.decode()


Make = Callable[..., Out]


@pytest.fixture
async def make(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, ca: Ca
) -> AsyncIterator[Make]:
    made: list[Out] = []

    def one(idle_s: float = 60.0, **more: object) -> Out:
        terms = Terms(secrets=str(tmp_path), ca_file=str(ca.file), **more)  # type: ignore[arg-type]
        egress = EgressProcess(lambda: terms, idle_s=idle_s)
        made.append(Out(egress, walls_here(tmp_path_factory.mktemp("run"), egress)))
        return made[-1]

    yield one
    for out in made:
        await out.walls.aclose()
        await out.egress.aclose()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


def _repository(folder: Path) -> Path:
    """With one commit, to be fetched as plain files."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(folder)]
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "a commit"], check=True)
    subprocess.run([*git, "update-server-info"], check=True)
    return folder


async def test_curl_and_git_find_their_way(make: Make, ca: Ca, tmp_path: Path) -> None:
    """Ordinary programs get out by the usual variables, with TLS of their own; to what the box
    names and nowhere else; what went through is counted."""
    repo = _repository(tmp_path / "repo")
    echo, out = Echo(), make()
    echo.answer = lambda asked: _file(repo / ".git", asked.path)
    async with listening(echo, ca.server("localhost")) as port:
        box = Box("shell", (Mount(ca.file),), (Host("localhost", port, private=True),))
        url, cert = f"https://localhost:{port}", str(ca.file)
        code, said = await out.run(box, "curl", "-sS", "--cacert", cert, f"{url}/HEAD")
        assert (code, said[:5]) == (0, "ref: ")
        code, said = await out.run(box, "git", "-c", f"http.sslCAInfo={cert}", "ls-remote", url)
        assert code == 0 and "\tHEAD" in said
        code, said = await out.run(box, "curl", "-sS", f"https://localhost:{port ^ 1}/")
        assert code != 0 and "403" in said
    await until(lambda: out.egress.counts["shell", "refused"] > 0)
    assert out.egress.counts["shell", "allowed"] >= 2
    assert out.egress.counts["shell", "refused"] == 1


async def test_a_key_is_put_in_and_is_nowhere_inside(
    make: Make, ca: Ca, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """curl asks in clear, the server is asked over TLS with the key; the sandbox finds the key in
    no variable, file, process or answer, and the log names the credential alone."""
    caplog.set_level(logging.INFO)
    keep_secret(tmp_path, "api", KEY)
    echo = Echo()
    async with listening(echo, ca.server("localhost")) as port:
        credential = Credential(
            "api", Source(file="api"), hosts=(f"localhost:{port}",), tools=("http",)
        )
        out = make(credentials=(credential,))
        host = Host("localhost", port, credentials=("api",), private=True)
        code, said = await out.run(
            Box("http", hosts=(host,), job="j-7"), "sh", "-c",
            f"curl -sS 'http://localhost:{port}/v1?password=in-the-query'; env;"
            " cat /proc/*/environ /proc/*/cmdline /proc/net/unix 2>/dev/null | tr '\\0' ' ';"
            " find / -xdev -name '*.secret' 2>/dev/null; true",
        )  # fmt: skip
    assert code == 0 and KEY not in said and "[secret api]" in said
    assert echo.seen[0].headers["authorization"] == f"Bearer {KEY}"
    lines = [vars(record).get("fields") for record in caplog.records]
    (line,) = [one for one in lines if one]
    assert {"tool": "http", "job": "j-7", "host": "localhost", "credential": "api",
            "verdict": "allowed"}.items() <= line.items()  # fmt: skip
    assert "in-the-query" not in str(lines) and KEY not in str(lines)


async def test_ssh_goes_through_connect(make: Make) -> None:
    """The command for ssh's ProxyCommand carries bytes both ways; a refusal is told on stderr."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\n")
        writer.write((await reader.read()).upper())
        await writer.drain()

    out = make()
    async with listening(shout) as port:
        box = Box("ssh", hosts=(Host("127.0.0.1", port, private=True),))
        code, said = await out.run(
            box, *connect_command(), "127.0.0.1", str(port), stdin=b"hello" * 50_000
        )
        assert (code, said) == (0, "SSH-2.0-x\n" + "HELLO" * 50_000)
        code, said = await out.run(box, *connect_command(), "127.0.0.1", "22")
        assert code == 1 and "403" in said and "may not be reached" in said


async def test_nothing_but_the_way_leads_out(make: Make) -> None:
    """No address but the proxy's answers, and no name is resolved, with and without the proxy."""
    echo, out = Echo(), make()
    async with listening(echo) as port:
        box = Box("shell", hosts=(Host("example.com"),))
        code, said = await out.run(
            box, "sh", "-c",
            f"curl -sS --noproxy '*' -m 5 http://127.0.0.1:{port}/ ;"
            " curl -sS --noproxy '*' -m 5 http://1.1.1.1/ ;"
            " getent hosts example.com || echo no name",
        )  # fmt: skip
        assert "no name" in said and echo.seen == []
        assert code == 0 and said.count("curl: ") == 2


async def test_what_runs_beside_it_is_its_own(make: Make) -> None:
    """A program talks to a server in the same sandbox by localhost, not through the proxy."""
    out, box = make(), Box("shell", mounts=interpreter(), hosts=(Host("example.com"),))
    serve = f"{sys.executable} -I -m http.server 8181 --bind 127.0.0.1 >/dev/null 2>&1 &"
    code, said = await out.run(
        box, "sh", "-c", f"{serve} curl -sSI --retry 60 --retry-connrefused --retry-delay 1"
        " http://localhost:8181/",
    )  # fmt: skip
    assert code == 0 and "200 OK" in said
    assert not out.egress.counts


async def test_a_way_is_for_one_start(make: Make) -> None:
    """A second program cannot take over the way of the first: its command is not run."""
    out, box = make(), Box("shell", hosts=(Host("example.com"),))
    async with out.egress.open(box) as way:
        for expected in (0, 126):
            process = await asyncio.create_subprocess_exec(
                "unshare", "--user", "--map-root-user", "--net", "sh", "-c",
                'ip link set lo up 2>/dev/null; exec "$@"', "sh", *way.prefix, "echo", "ran",
                stdout=PIPE, stderr=PIPE,
            )  # fmt: skip
            said, wrong = await process.communicate()
            assert process.returncode == expected
            assert (b"ran" in said) == (expected == 0)
            assert expected == 0 or b"could not be opened" in wrong


async def test_without_the_proxy_there_is_no_way(make: Make) -> None:
    """When the proxy is killed its sandboxes are cut off, and the next one starts another."""
    echo, out = Echo(), make()
    async with listening(echo) as port:
        box = Box("shell", hosts=(Host("127.0.0.1", port, private=True),))
        url = f"http://127.0.0.1:{port}/"
        async with out.egress.open(box) as way:
            assert out.egress.pid is not None
            killed = out.egress.pid
            os.kill(killed, signal.SIGKILL)
            process = await asyncio.create_subprocess_exec(
                *way.prefix, "echo", "ran", stdout=PIPE, stderr=PIPE
            )
            said, _ = await process.communicate()
            assert b"ran" not in said
            assert process.returncode != 0 and echo.seen == []
        code, _ = await out.run(box, "curl", "-sS", url)
        assert code == 0 and len(echo.seen) == 1
        assert out.egress.pid not in (None, killed)


async def test_the_proxy_ends_when_it_is_not_needed(make: Make) -> None:
    """Some time after the last sandbox, and at the end of who started it."""
    out = make(idle_s=0.1)
    async with out.egress.open(Box("shell", hosts=(Host("example.com"),))):
        pid = out.egress.pid
        assert pid is not None
    await until(lambda: not psutil.pid_exists(pid))
    assert out.egress.pid is None


async def test_bad_terms_are_said(make: Make) -> None:
    """No proxy is started with an exception that opens all of this machine."""
    out = make(private=("127.0.0.1",))
    with pytest.raises(NoWayOut, match="say which port"):
        async with out.egress.open(Box("shell", hosts=(Host("example.com"),))):
            pass


def _file(folder: Path, path: str) -> bytes:
    file = folder / path.partition("?")[0].lstrip("/")
    if not file.is_file():
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    data = file.read_bytes()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
