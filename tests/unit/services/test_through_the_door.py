"""Requests at the model door that a light service answers, with the real plane and routing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stead.app import services as composed
from stead.config import Settings
from stead.core.errors import BackendFailed, ServiceMissing
from stead.inference.backends import Backend, BackendModel
from stead.inference.plane.outlet import Pipe
from stead.inference.plane.plane import Plane
from stead.inference.routing.routes import Routes
from stead.inference.routing.rules import Setup
from stead.inference.seam import Api, Asked, Who
from stead.services.kinds import KINDS, Kind, Options
from stead.services.supervisor import Services
from tests.unit.inference.doors import AllowAll, NotingPurse
from tests.unit.services import toy
from tests.unit.services.test_supervisor import until


class House:
    """A door with one light service, ``toy``, as the lane ``embed``."""

    def __init__(self, home: Path, kind: Kind) -> None:
        self.services = Services(Options(home), [kind])
        self.book = NotingPurse()
        backend = Backend(
            "toy", "", models=(BackendModel("toy-1"),), kind="service",
            apis=frozenset({"embeddings"}),
        )  # fmt: skip
        self.plane = Plane(
            policy=AllowAll(), routing=Routes(Setup(services={"embed": backend})), book=self.book,
            services=self.services,
        )  # fmt: skip

    async def ask(self, **what: Any) -> dict[str, Any]:
        body = msgspec.json.encode({"model": "embed", "input": "x", **what})
        pipe = Pipe()
        record = self.plane.read(Api.EMBEDDINGS, Who("owner"), body)
        answer = await pipe.answer(self.plane.answer(record, pipe))
        whole = b"".join([piece async for piece in answer.body])
        assert answer.status == 200, whole
        return dict(msgspec.json.decode(whole))


@asynccontextmanager
async def house(home: Path, kind: Kind) -> AsyncIterator[House]:
    there = House(home, kind)
    try:
        yield there
    finally:
        await there.plane.aclose()
        await there.services.aclose()


async def test_a_lane_starts_its_service(tmp_path: Path) -> None:
    """The first request starts it, the next ones find it, and after a stop it is found anew; each
    is written down as the service's."""
    async with house(tmp_path, toy.kind()) as there:
        first = await there.ask()
        assert (await there.ask())["pid"] == first["pid"]
        await there.services.stop("toy")
        assert (await there.ask())["pid"] != first["pid"]
        assert [row["backend"] for row in there.book.rows] == ["toy"] * 3
        assert [one.status for one in there.book.settled] == [200] * 3


async def test_a_kill_is_one_clear_error(tmp_path: Path) -> None:
    """kill -9 of a service that is answering: its request ends with an error that names it, once,
    and the next request is answered."""
    async with house(tmp_path, toy.kind()) as there:
        pid = (await there.ask())["pid"]
        asking = asyncio.ensure_future(there.ask(do="sleep", s=60))
        await until(lambda: there.services.state("toy").busy == 1)
        await asyncio.sleep(0.2)  # what dies at once is asked anew, and nobody is told
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackendFailed, match="toy"):
            await asking
        assert (await there.ask())["pid"] != pid
        assert [one.status for one in there.book.settled] == [200, 502, 200]
        assert there.book.twice == 0


async def test_a_missing_one_says_what_installs_it(tmp_path: Path) -> None:
    """503 with the command and a row, each time it is asked."""
    kind = toy.kind(modules=("no_such_package",), install="pip install 'stead[toy]'")
    async with house(tmp_path, kind) as there:
        for _ in range(6):
            with pytest.raises(ServiceMissing) as raised:
                await there.ask()
            assert raised.value.status == 503
            assert "pip install 'stead[toy]'" in raised.value.message
        assert [one.status for one in there.book.settled] == [503] * 6


def test_every_api_of_a_service_has_its_lane() -> None:
    """A request that names no model finds the service for each path that one serves."""
    routes = Routes(Setup(services=composed.backends(Settings())))
    who = Who("owner")
    for kind in KINDS:
        for path in kind.apis:
            api = Api(path)
            record = _asked(api)
            way = routes.plan(who, record, AllowAll().check(who, record)).ways[0]
            assert way.backend is not None
            assert (way.backend.name, way.backend.house) == (kind.name, True)


def _asked(api: Api) -> Asked:
    return Asked(api, b"{}", "application/json", "")
