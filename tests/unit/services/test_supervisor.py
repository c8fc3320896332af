"""The life of a service: real processes that are started, killed, left alone and stuck."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from stead.core.errors import (
    NotFound,
    ServiceFell,
    ServiceMissing,
    ServiceNotReady,
    ServiceOff,
)
from stead.net.http import Client, HttpFailed, Response
from stead.services import supervisor
from stead.services.kinds import Kind, Options
from stead.services.supervisor import At, Services
from tests.unit.services import toy


@asynccontextmanager
async def running(home: Path, kind: Kind | None = None, **given: Any) -> AsyncIterator[Services]:
    services = Services(Options(home, **given), [kind or toy.kind()])
    try:
        yield services
    finally:
        await services.aclose()


async def ask(at: At, what: dict[str, object], *, key: str = "", timeout: float = 30.0) -> Response:
    async with Client(at.url, headers={"authorization": f"Bearer {key or at.key}"}) as client:
        body = msgspec.json.encode(what)
        return await client.request("POST", "/do", body=body, timeout=timeout, retry=False)


async def pid_of(at: At) -> int:
    return int(msgspec.json.decode((await ask(at, {"do": "say"})).body)["pid"])


async def until(holds: Callable[[], bool], most_s: float = 20.0) -> None:
    end = time.monotonic() + most_s
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.02)


async def test_nothing_runs_before_it_is_asked_for_and_one_process_serves_all(
    tmp_path: Path,
) -> None:
    """A service is started by its first use, once for all who ask meanwhile, telling how it gets
    on; afterwards its address is there at once, also by the name of its lane."""
    async with running(tmp_path) as services:
        assert services.state("toy").phase == "idle"
        assert not psutil.Process().children() or services.state("toy").pid == 0
        words: list[str] = []
        first, second = await asyncio.gather(
            services.backend("toy", words.append), services.backend("play", words.append)
        )
        assert first == second == await services.backend("toy")
        assert "winding up the toy" in words
        state = services.state("toy")
        assert (state.phase, state.means, state.model) == ("ready", "toy", "toy-1")
        assert state.pid == await pid_of(first)
        assert state.memory_mb > 0


async def test_it_has_a_key_of_its_own_and_no_secret_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who was given its key is answered, the key is new at each start, and nothing of our
    environment is handed on."""
    monkeypatch.setenv("SOME_PROVIDER_KEY", "sk-secret")
    async with running(tmp_path) as services:
        at = await services.backend("toy")
        assert (await ask(at, {}, key="sr_wrong")).status == 401
        env = msgspec.json.decode((await ask(at, {})).body)["env"]
        assert "SOME_PROVIDER_KEY" not in env
        assert at.key not in " ".join(psutil.Process(services.state("toy").pid).cmdline())
        await services.stop("toy")
        assert (await services.backend("toy")).key != at.key


async def test_a_killed_service_is_one_clear_error_and_comes_back(tmp_path: Path) -> None:
    """kill -9 while it works: that request fails at once, status says so, it is raised again
    without being asked for, and the next request is answered by a new process."""
    async with running(tmp_path) as services:
        at = await services.backend("toy")
        pid = await pid_of(at)
        asking = asyncio.ensure_future(ask(at, {"do": "sleep", "s": 60}))
        await until(lambda: services.state("toy").busy == 1)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(HttpFailed):
            await asking
        await until(lambda: services.state("toy").falls == 1)
        await until(lambda: services.state("toy").phase == "ready")
        again = await services.backend("toy")
        assert await pid_of(again) != pid


async def test_who_falls_again_and_again_is_left_alone_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait doubles with each fall; who asks meanwhile is told when the next try is."""
    async with running(tmp_path) as services:
        for fall in range(1, 5):
            at = await services.backend("toy")
            with pytest.raises(HttpFailed):
                await ask(at, {"do": "die"})
            await until(lambda fall=fall: services.state("toy").falls == fall)  # type: ignore[misc]
        # A slow machine may have come near the end of the wait by now.
        monkeypatch.setattr(supervisor, "_PATIENCE_S", 0.0)
        with pytest.raises(ServiceFell, match=r"killed.*the next try is in \d s"):
            await services.backend("toy")


async def test_what_nobody_uses_is_dropped_and_comes_again(tmp_path: Path) -> None:
    """After idle_s without a request its process is gone; one that works is never idle."""
    async with running(tmp_path, idle_s=0.5) as services:
        at = await services.backend("toy")
        pid = await pid_of(at)
        assert (await ask(at, {"do": "sleep", "s": 1.5})).status == 200
        await until(lambda: services.state("toy").phase == "idle")
        await until(lambda: not psutil.pid_exists(pid))
        assert services.state("toy").falls == 0
        assert await pid_of(await services.backend("toy")) != pid


async def test_changed_settings_hold_from_the_next_request(tmp_path: Path) -> None:
    """A running service ends what it does, and is started anew with the new settings; a change
    that is none leaves it alone."""
    async with running(tmp_path, max_body=1000) as services:
        at = await services.backend("toy")
        pid = await pid_of(at)
        services.configure(Options(tmp_path, max_body=1000))
        working = asyncio.ensure_future(ask(at, {"do": "sleep", "s": 1.5}))
        await until(lambda: services.state("toy").busy == 1)
        services.configure(Options(tmp_path, max_body=100))
        assert services.state("toy").pid == pid
        assert (await working).status == 200
        await until(lambda: services.state("toy").phase == "idle")
        at = await services.backend("toy")
        assert (await ask(at, {"do": "x" * 200})).status == 413
        assert services.state("toy").falls == 0


async def test_what_does_not_come_up_says_why(tmp_path: Path) -> None:
    """A model that cannot be loaded, a library that crashes, one that never gets ready: each is
    told in words to who asked, and nothing is left running."""
    async with running(tmp_path, toy.kind("unusable")) as services:
        with pytest.raises(ServiceNotReady, match="its spring is missing"):
            await services.backend("toy")
        assert services.state("toy").phase == "failed"
    async with running(tmp_path, toy.kind("crashes")) as services:
        with pytest.raises(ServiceNotReady, match="no such processor"):
            await services.backend("toy")
    async with running(tmp_path, toy.kind("slow"), start_s=2.0) as services:
        with pytest.raises(ServiceNotReady, match="start_s"):
            await services.backend("toy")
        assert services.state("toy").pid == 0
    async with running(tmp_path, toy.kind("nothing_here")) as services:
        with pytest.raises(ServiceNotReady, match="nothing_here"):
            await services.backend("toy")


async def test_a_failed_start_is_tried_again(tmp_path: Path) -> None:
    """One bad start is not the end: the next request starts it."""
    async with running(tmp_path, toy.kind("once")) as services:
        with pytest.raises(ServiceNotReady):
            await services.backend("toy")
        assert (await ask(await services.backend("toy"), {})).status == 200


async def test_what_is_missing_is_said_with_the_command(tmp_path: Path) -> None:
    """503 with the command that installs it, whether a package or a program is missing; what was
    switched off says so. States tell the same, and nothing else is kept from working."""
    package = toy.kind(modules=("no_such_package",), install="pip install 'stead[toy]'")
    async with running(tmp_path, package) as services:
        with pytest.raises(ServiceMissing, match="no_such_package") as raised:
            await services.backend("toy")
        assert (raised.value.status, raised.value.code) == (503, "service_missing")
        assert "`pip install 'stead[toy]'`" in raised.value.message
        state = services.state("toy")
        assert (state.phase, state.install) == ("missing", "pip install 'stead[toy]'")
        with pytest.raises(NotFound, match="there are: toy"):
            await services.backend("nothing")
    program = toy.kind(programs=("no-such-program",), install="apt install toys")
    async with running(tmp_path, program) as services:
        with pytest.raises(ServiceMissing, match="no-such-program"):
            await services.backend("toy")
    async with running(tmp_path, off=("toy",)) as services:
        with pytest.raises(ServiceOff, match=r"services\.off"):
            await services.backend("toy")
        assert services.state("toy").phase == "off"


async def test_memory_is_bounded(tmp_path: Path) -> None:
    """One that takes more than it may is ended, and its state says why."""
    async with running(tmp_path, memory_mb=200) as services:
        at = await services.backend("toy")
        try:
            assert (await ask(at, {"do": "eat", "mb": 2000})).status == 413
        except HttpFailed:
            pytest.fail("an allocation beyond the bound is refused, not fatal")
        at = await services.backend("toy")
        with pytest.raises(HttpFailed):
            for _ in range(10):
                await ask(at, {"do": "eat", "mb": 60})
                await asyncio.sleep(0.3)
        await until(lambda: services.state("toy").falls == 1)


async def test_a_request_has_a_time_and_a_stuck_library_an_end(tmp_path: Path) -> None:
    """What takes too long is a 504; a library that does not come back takes only itself down."""
    async with running(tmp_path, request_s=0.5) as services:
        at = await services.backend("toy")
        answer = await ask(at, {"do": "sleep", "s": 60})
        assert answer.status == 504
        assert msgspec.json.decode(answer.body)["error"]["code"] == "service_timeout"
        assert (await ask(at, {})).status == 200
        assert services.state("toy").falls == 0
        assert (await ask(at, {"do": "hang", "s": 600})).status == 504
        await until(lambda: services.state("toy").falls == 1)
        assert (await ask(await services.backend("toy"), {})).status == 200


async def test_a_client_that_leaves_ends_its_request(tmp_path: Path) -> None:
    """Nobody's request is worked on."""
    async with running(tmp_path) as services:
        at = await services.backend("toy")
        async with Client(at.url, headers={"authorization": f"Bearer {at.key}"}) as client:
            body = msgspec.json.encode({"do": "sleep", "s": 600})
            asking = asyncio.ensure_future(client.request("POST", "/do", body=body, timeout=None))
            await until(lambda: services.state("toy").busy == 1)
            asking.cancel()
            await until(lambda: services.state("toy").busy == 0)


async def test_errors_have_the_shape_of_the_api(tmp_path: Path) -> None:
    """Bad input, an unknown path, a body too large and a failure inside: an error object each,
    and the service goes on."""
    async with running(tmp_path, max_body=1000) as services:
        at = await services.backend("toy")
        async with Client(at.url, headers={"authorization": f"Bearer {at.key}"}) as client:
            for path, body, status in (
                ("/do", b"{", 400),
                ("/do", b"[]", 400),
                ("/do", b"[" * 900, 400),
                ("/do", b"x" * 2000, 413),
                ("/nothing", b"{}", 404),
                ("/do", b'{"do": "fail"}', 500),
                ("/do", b'{"do": "stream", "n": 3}', 200),
            ):
                answer = await client.request("POST", path, body=body)
                assert answer.status == status, (path, body[:40])
                if status != 200:
                    assert msgspec.json.decode(answer.body)["error"]["message"]
            assert answer.body == b"0 1 2 "
            models = await client.request("GET", "/models")
            assert msgspec.json.decode(models.body)["data"][0]["id"] == "toy-1"
        assert services.state("toy").falls == 0


_GATEWAY = """
import asyncio, sys
from pathlib import Path
from stead.services.kinds import Options
from stead.services.supervisor import Services
from tests.unit.services import toy
from tests.unit.services.test_supervisor import ask, pid_of
import msgspec

async def main():
    services = Services(Options(Path(sys.argv[1])), [toy.kind()])
    at = await services.backend("toy")
    child = msgspec.json.decode((await ask(at, {"do": "child"})).body)["pid"]
    print(await pid_of(at), child, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_it_dies_with_the_gateway(tmp_path: Path) -> None:
    """kill -9 of the gateway leaves neither a service nor what a service has started."""
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _GATEWAY, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert gateway.stdout is not None
        pids = [int(word) for word in (await gateway.stdout.readline()).split()]
        assert len(pids) == 2
        assert all(psutil.pid_exists(pid) for pid in pids)
    finally:
        gateway.kill()
        await gateway.wait()
    await until(lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
