"""Engines for tests of the machinery: real processes that do what a test asks of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from stead.core.errors import ModelUnusable
from stead.services.kinds import Kind, Means
from stead.services.orders import Orders, Word
from stead.services.web import Answer, Call, Teller


class Toy:
    """``POST /v1/do`` with ``{"do": ...}``."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._kept: list[bytearray] = []

    def paths(self) -> Mapping[str, Callable[[Call], Awaitable[Answer]]]:
        return {"do": self.do, "embeddings": self.do}

    async def do(self, call: Call) -> Answer:
        what = call.json(dict[str, object])
        do = what.get("do")
        if do == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "sleep":
            await asyncio.sleep(float(str(what["s"])))
        if do == "hang":  # in the worker, where nothing can reach it
            await call.worker.run(time.sleep, float(str(what["s"])))
        if do == "eat":
            self._kept.append(bytearray(os.urandom(1_000_000)) * int(str(what["mb"])))
        if do == "fail":
            raise RuntimeError("the toy is broken")
        if do == "stream":
            return Answer(self._pieces(int(str(what["n"]))), "text/plain")
        if do == "child":
            child = await asyncio.create_subprocess_exec("sleep", "600")
            return Answer(msgspec.json.encode({"pid": child.pid}))
        return Answer(msgspec.json.encode({"pid": os.getpid(), "env": dict(os.environ)}))

    async def _pieces(self, count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield f"{number} ".encode()
            await asyncio.sleep(0.01)


def load(orders: Orders, voice: Teller) -> Toy:
    voice.say(Word("loading", words="winding up the toy"))
    sys.stdout.write("a library that writes where it likes\n")
    sys.stdout.flush()
    return Toy(orders)


def slow(orders: Orders, voice: Teller) -> Toy:
    time.sleep(600)
    return Toy(orders)


def unusable(orders: Orders, voice: Teller) -> Toy:
    raise ModelUnusable(name="toy", why="its spring is missing")


def crashes(orders: Orders, voice: Teller) -> Toy:
    sys.stderr.write("a library says: no such processor\n")
    sys.stderr.flush()
    os.abort()


def once(orders: Orders, voice: Teller) -> Toy:
    """Comes up at the second try only."""
    marker = Path(orders.home) / "tried"
    if not marker.exists():
        marker.write_text("1")
        os.abort()
    return Toy(orders)


def kind(
    engine: str = "load",
    *,
    modules: tuple[str, ...] = (),
    programs: tuple[str, ...] = (),
    install: str = "",
) -> Kind:
    """A kind of service made of one of the engines above."""
    # By its full name: how pytest calls this module is of no use to another process.
    means = Means("toy", f"tests.unit.services.toy:{engine}", "toy-1", modules, programs, install)
    return Kind("toy", "toying", ("do", "embeddings"), (means,), ("toy", "play"))
