"""The door and the local model, which comes and goes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stead.core.errors import BackendFailed, ModelNotReady, UnknownModel
from stead.core.nouns import ModelProfile, Usage
from stead.core.states import Failure
from stead.inference import modelstate
from stead.inference.modelstate import ModelState
from stead.inference.scripted import Running
from tests.unit.inference.doors import CHAT, chat, door_to, events, read, table, text_of

ROOT = Path(__file__).parents[3]


def put(
    home: Path,
    phase: str,
    *,
    pid: int = 0,
    url: str = "",
    key: str = "",
    done: int = 0,
    total: int = 0,
) -> None:
    """Write the state as the model process would."""
    key_file = home / "runtime.key"
    key_file.write_text(key)
    state = ModelState(phase, "tiny-1", done, total, url, str(key_file), pid or os.getpid())
    modelstate.write(home, state)


@contextmanager
def process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scripted model in a process of its own, to be killed; and its URL."""
    command = [sys.executable, "-m", "stead.inference.scripted", "--key", "k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout.readline().split("at ")[1].split(",")[0]
        finally:
            child.kill()


async def test_a_ready_model(tmp_path: Path, scripted: Running) -> None:
    """Promise: the local model answers to its name, to `local`, `auto` and its roles."""
    put(tmp_path, "ready", url=scripted.url, key=scripted.key)
    async with door_to(table(scripted), home=tmp_path) as made:
        for name in ("tiny-1", "local", "auto", "main", "light"):
            await read(await made.door.chat(chat("hello", name), CHAT))
            assert scripted.calls[-1].model == "tiny-1"
        assert {(row["model"], row["backend"]) for row in made.purse.rows} == {("tiny-1", "local")}
        assert made.door.profile("main") == ModelProfile("tiny-1", "schema", "small", 8192)
        models = [entry["id"] for entry in made.door.models()]
        assert models[:4] == ["free", "paid", "tiny-1", "main"]
        with pytest.raises(UnknownModel, match="tiny-1"):
            await made.door.chat(chat("hello", "tiny-2"), CHAT)


async def test_a_stream_waits_and_says_for_what(tmp_path: Path, scripted: Running) -> None:
    """Promise: asked too early, a stream says in comments what it waits for, and then answers."""
    put(tmp_path, "fetching", done=412_000_000, total=1_117_000_000)
    async with door_to([], home=tmp_path) as made:
        assert made.door.profile("main").name == "tiny-1"
        answer = await made.door.chat(chat("[[say at last]]", "main", stream=True), CHAT)
        assert (answer.status, dict(answer.headers)["content-type"]) == (200, "text/event-stream")
        first = await anext(answer.body)
        words = b"waiting for model tiny-1: fetching 412 of 1117 MB (36%)"
        assert first == b": stead " + words + b"\n\n"
        assert made.purse.rows == []
        put(tmp_path, "loading")
        second = await anext(answer.body)
        assert second == b": stead waiting for model tiny-1: loading into memory\n\n"
        put(tmp_path, "ready", url=scripted.url, key=scripted.key)
        rest = await read(answer)
        assert text_of(rest) == "at last" and b": stead" not in rest
        assert made.purse.one().status == 200


async def test_a_whole_answer_just_waits(tmp_path: Path, scripted: Running) -> None:
    """Promise: an unstreamed call waits until the model is there."""
    async with door_to([], home=tmp_path) as made:
        task = asyncio.create_task(made.door.chat(chat("[[say here]]", "main"), CHAT))
        await asyncio.sleep(0.05)
        put(tmp_path, "ready", url=scripted.url, key=scripted.key)
        assert b"here" in await read(await task)
        assert made.purse.rows[0]["model"] == "tiny-1"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_wait_has_an_end(tmp_path: Path, stream: bool) -> None:
    """Promise: after model.wait_s the call fails and says so."""
    put(tmp_path, "loading")
    async with door_to([], home=tmp_path, wait_s=0.15) as made:
        if stream:
            body = await read(await made.door.chat(chat("hello", "main", stream=True), CHAT))
            error = events(body)[-1]["error"]
            assert error["code"] == "model_not_ready" and "wait_s" in error["message"]
            assert b"[DONE]" not in body
        else:
            with pytest.raises(ModelNotReady, match="wait_s"):
                await made.door.chat(chat("hello", "main"), CHAT)
        booked = made.purse.one()
        assert (booked.status, booked.usage) == (503, Usage())


@pytest.mark.parametrize("phase", ["failed", "missing"])
async def test_what_will_not_come_is_not_waited_for(tmp_path: Path, phase: str) -> None:
    """Promise: a model that failed is told at once, with the reason."""
    modelstate.write(tmp_path, ModelState(phase, "tiny-1", why="its file is damaged"))
    async with door_to([], home=tmp_path) as made:
        with pytest.raises(ModelNotReady, match="its file is damaged"):
            await made.door.chat(chat("hello", "main"), CHAT)


async def test_off(tmp_path: Path, scripted: Running) -> None:
    """Promise: with the local model off, `auto` is a backend's model; `local` says what to do."""
    modelstate.write(tmp_path, ModelState("off"))
    async with door_to(table(scripted), home=tmp_path) as made:
        await read(await made.door.chat(chat("hello", "main"), CHAT))
        assert scripted.calls[-1].model == "free"
        with pytest.raises(ModelNotReady, match="off"):
            await made.door.chat(chat("hello", "local"), CHAT)


@pytest.mark.parametrize("stream", [False, True])
async def test_killed_in_mid_call(tmp_path: Path, scripted: Running, stream: bool) -> None:
    """Promise: when the model process is killed, its call fails as a network failure, and the next
    call waits until it is back."""
    async with door_to([], home=tmp_path) as made:
        with process() as (child, url):
            put(tmp_path, "ready", pid=child.pid, url=url, key="k")
            body = chat("[[tokens 5]] [[stall 2]]", "main", stream=stream)
            task = asyncio.create_task(made.door.chat(body, CHAT))
            if stream:
                answer = await task
                await anext(answer.body)
                child.send_signal(signal.SIGKILL)
                error = events(await read(answer))[-1]["error"]
                assert error["code"] == "backend_failed" and "local" in error["message"]
            else:
                await asyncio.sleep(0.3)
                child.send_signal(signal.SIGKILL)
                with pytest.raises(BackendFailed) as caught:
                    await task
                assert caught.value.failure is Failure.NETWORK
            assert made.purse.one().status == 502
            answer = await made.door.chat(chat("[[say back]]", "main", stream=True), CHAT)
            first = await anext(answer.body)
            assert b": stead waiting: model tiny-1 is not running" in first
            put(tmp_path, "ready", url=scripted.url, key=scripted.key)
            assert text_of(await read(answer)) == "back"


async def test_killed_a_moment_ago(tmp_path: Path, scripted: Running) -> None:
    """Promise: a model that says it is ready but refuses is asked again, and booked once."""
    put(tmp_path, "ready", url="http://127.0.0.1:1/v1")
    async with door_to([], home=tmp_path) as made:
        task = asyncio.create_task(made.door.chat(chat("[[say here]]", "main"), CHAT))
        await asyncio.sleep(0.1)
        put(tmp_path, "ready", url=scripted.url, key=scripted.key)
        assert b"here" in await read(await task)
        assert made.purse.one().status == 200


async def test_leaving_while_it_waits(tmp_path: Path) -> None:
    """Promise: a client that leaves before the model is there has cost nothing."""
    put(tmp_path, "loading")
    async with door_to([], home=tmp_path) as made:
        for pieces in (0, 1):
            answer = await made.door.chat(chat("hello", "main", stream=True), CHAT)
            for _ in range(pieces):
                await anext(answer.body)
            await answer.aclose()
        assert [booked.usage for booked in made.purse.settled] == [Usage()] * 2
        assert {booked.status for booked in made.purse.settled} == {499}
