"""Background calls at the local model: one at a time, so that a chat finds room."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from stead.core.ports import Caller
from stead.inference import modelstate
from stead.inference.door import Door
from stead.inference.modelstate import ModelState
from stead.inference.scripted import Running
from tests.unit.inference.doors import door_to

CHAT = Caller("job", "j1", "chat")
WORK = Caller("job", "j2", "background")


@pytest.fixture
def home(tmp_path: Path, scripted: Running) -> Path:
    """A home whose local model is no scripted one by its name."""
    key_file = tmp_path / "runtime.key"
    key_file.write_text(scripted.key)
    state = ModelState("ready", "tiny-1", 0, 0, scripted.url, str(key_file), os.getpid())
    modelstate.write(tmp_path, state)
    return tmp_path


def body(text: str, *, stream: bool = True) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "local", "messages": messages, "stream": stream}).encode()


async def answered(door: Door, text: str, caller: Caller, order: list[str], **more: Any) -> str:
    """The whole body; its caller's word is put into the order when it ends."""
    answer = await door.chat(body(text, **more), caller)
    try:
        whole = b"".join([piece async for piece in answer.body]).decode()
    finally:
        await answer.aclose()
    order.append(text.split()[-1])
    return whole


async def test_a_chat_is_not_behind_background_work(home: Path) -> None:
    """Of ten background calls one is at work and the others wait in their order; a chat asked
    last is answered first."""
    order: list[str] = []
    async with door_to([], home=home) as made:
        work = [
            asyncio.create_task(
                answered(made.door, f"[[first 200]] w{n}", WORK, order, stream=bool(n % 2))
            )
            for n in range(6)
        ]
        await asyncio.sleep(0.05)
        assert "c" in await answered(made.door, "[[say hi]] c", CHAT, order)
        assert order == ["c"]
        await asyncio.gather(*work)
        assert order == ["c", "w0", "w1", "w2", "w3", "w4", "w5"]


async def test_who_leaves_holds_nobody_up(home: Path) -> None:
    """A caller that is cancelled, waiting or at work, or never reads its answer, gives its turn
    to the next."""
    order: list[str] = []
    async with door_to([], home=home) as made:
        unread = await made.door.chat(body("never"), WORK)
        await unread.aclose()
        for stream in (True, False):
            work = [
                asyncio.create_task(
                    answered(made.door, f"[[first 60000]] w{n}", WORK, order, stream=stream)
                )
                for n in range(3)
            ]
            last = asyncio.create_task(answered(made.door, "[[say hi]] last", WORK, order))
            await asyncio.sleep(0.1)
            for task in work[::-1]:
                task.cancel()
            async with asyncio.timeout(30):
                await last
            await asyncio.gather(*work, return_exceptions=True)
        assert order == ["last", "last"]


async def test_a_failure_ends_a_turn(home: Path) -> None:
    """A call that fails gives its turn to the next as well."""
    order: list[str] = []
    async with door_to([], home=home) as made:
        for fault in ("[[fail 500]]", "[[cut 0]]", "[[garbage]]"):
            await asyncio.gather(
                answered(made.door, f"{fault} x", WORK, order), return_exceptions=True
            )
        async with asyncio.timeout(30):
            await answered(made.door, "[[say hi]] y", WORK, order)
        assert order[-1] == "y"
