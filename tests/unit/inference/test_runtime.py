"""The model process: real processes, the scripted model, and real models where marked."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from stead.core.keys import read_key
from stead.inference import catalogue, modelstate, runtime, weights
from stead.inference.modelstate import ModelState
from stead.inference.plane.outlet import Pipe
from stead.inference.seam import Api, Who
from tests import real
from tests.unit.inference.doors import door_to
from tests.unit.inference.parts import alive, reach, serving, stop_in_time, until

TINY = "smollm2-135m"
STOP_S = 2.0


def ask(state: ModelState, path: str, body: object = None, key: str | None = None) -> Any:
    """One call of the model's API; returns (status, parsed JSON or text)."""
    url = urllib.parse.urlsplit(state.url)
    assert url.port is not None
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=120)
    key = read_key(Path(state.key_file)) if key is None else key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = None if body is None else json.dumps(body).encode()
    connection.request("GET" if data is None else "POST", path, data, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def chat(text: str, **more: object) -> dict[str, object]:
    messages = [{"role": "user", "content": text}]
    return {"model": "local", "messages": messages, "temperature": 0, **more}


# --- without a model ---------------------------------------------------------


def test_off_says_so_and_ends(tmp_path: Path) -> None:
    """Where no local model is wanted the process ends well and the state says so."""
    with serving(tmp_path, "off") as process:
        assert process.wait(30) == runtime.OK
    assert modelstate.read(tmp_path).phase == "off"


def test_missing_offline_says_what_to_do(tmp_path: Path) -> None:
    """Offline with nothing on the disk is no failure to be tried again, but a word to the owner."""
    with serving(tmp_path, TINY) as process:
        assert process.wait(30) == runtime.STAYS
        assert process.stderr is not None
        assert b"`stead model pull smollm2-135m`" in process.stderr.read()
    state = modelstate.read(tmp_path)
    assert (state.phase, state.model) == ("missing", TINY)
    assert "offline" in state.why


def test_unknown_model_is_said(tmp_path: Path) -> None:
    """A misspelt model ends the process with the names there are."""
    with serving(tmp_path, "qwen") as process:
        assert process.wait(30) == runtime.STAYS
    state = modelstate.read(tmp_path)
    assert state.phase == "failed"
    assert "There are: qwen2.5-coder-1.5b" in state.why


@pytest.mark.parametrize("cut", [1000, 0])
def test_damaged_file_is_said_and_left_alone(tmp_path: Path, cut: int) -> None:
    """A file too short, or of the right size with wrong content: what it is, and what to do."""
    models, model = weights.folder(tmp_path), catalogue.load().get(TINY)
    models.mkdir()
    file = weights.file_of(models, model)
    with file.open("wb") as bad:
        bad.write(b"GGUF")
        bad.truncate(model.bytes - cut)
    with serving(tmp_path, TINY) as process:
        assert process.wait(60) == runtime.STAYS
    state = modelstate.read(tmp_path)
    assert state.phase == "failed"
    assert f"{file} is damaged" in state.why
    assert state.why.endswith("Fetch it again with `stead model pull smollm2-135m`.")
    assert file.exists()


def test_missing_runtime_says_how_to_install_it(tmp_path: Path) -> None:
    """Without the extra the state names the command that brings it."""
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"GGUF")
    with serving(tmp_path, str(mine), "sys.modules['xllamacpp'] = None") as process:
        assert process.wait(30) == runtime.STAYS
    state = modelstate.read(tmp_path)
    assert state.phase == "failed"
    assert "pip install 'stead[local]'" in state.why


def test_file_that_is_no_model_is_said(tmp_path: Path) -> None:
    """A file of the owner's own that cannot be loaded fails with llama.cpp's reason."""
    pytest.importorskip("xllamacpp")
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"<html>not found</html>" * 100)
    with serving(tmp_path, str(mine)) as process:
        assert process.wait(60) == runtime.FAILED
    assert "mine.gguf is not a GGUF file" in modelstate.read(tmp_path).why
    mine.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 1000)
    with serving(tmp_path, str(mine)) as process:
        assert process.wait(60) == runtime.FAILED
    assert "llama.cpp could not load" in modelstate.read(tmp_path).why


# --- the scripted model ------------------------------------------------------


def test_scripted_model_is_served_like_a_real_one(tmp_path: Path) -> None:
    """It is announced with URL and key file, wants the key, and stops in time on SIGTERM."""
    with serving(tmp_path, "scripted") as process:
        state = reach(tmp_path, "ready", "failed")
        assert (state.phase, state.model, state.pid) == ("ready", "scripted", process.pid)
        assert Path(state.key_file).stat().st_mode & 0o777 == 0o600
        asked = chat("[[say hello]]", model="scripted")
        assert ask(state, "/v1/chat/completions", asked, key="wrong")[0] == 401
        status, answer = ask(state, "/v1/chat/completions", asked)
        assert status == 200
        assert answer["choices"][0]["message"]["content"] == "hello"
        assert stop_in_time(process, STOP_S + 1) < STOP_S
        assert process.returncode == runtime.OK
    state = modelstate.read(tmp_path)
    assert (state.phase, state.url) == ("stopped", "")


def test_killed_process_is_not_ready(tmp_path: Path) -> None:
    """After kill -9 every reader sees stopped at once."""
    with serving(tmp_path, "scripted") as process:
        reach(tmp_path, "ready")
        process.kill()
        assert until(lambda: modelstate.read(tmp_path).phase == "stopped", 5)


def test_second_process_of_one_home_is_refused(tmp_path: Path) -> None:
    """Two model processes never fight over one state: the second leaves, the first goes on."""
    with serving(tmp_path, "scripted") as first:
        reach(tmp_path, "ready")
        with serving(tmp_path, "scripted") as second:
            assert second.wait(30) == runtime.STAYS
            assert second.stderr is not None
            assert f"pid {first.pid}".encode() in second.stderr.read()
        assert modelstate.read(tmp_path).phase == "ready"


_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_process_ends_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    """However its parent ends, the model process is not left behind."""
    code = (
        "import sys; from pathlib import Path; from stead.inference import runtime;"
        f"sys.exit(runtime.serve(Path({str(tmp_path)!r}), model='scripted', context=512,"
        " threads=1, offline=True))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert reach(tmp_path, "ready").pid == child
        parent.send_signal(number)
        parent.wait(10)
        assert until(lambda: not alive(child), STOP_S + 1)
    finally:
        parent.kill()
        parent.communicate()
    assert modelstate.read(tmp_path).phase == "stopped"


# --- real models -------------------------------------------------------------


@pytest.mark.real_model
def test_real_model_answers(tmp_path: Path) -> None:
    """A real model answers with the key only, streamed and not, in a schema too; no page."""
    real.give(tmp_path, TINY)
    with serving(tmp_path, TINY) as process:
        state = reach(tmp_path, "ready", "failed")
        assert state.phase == "ready", state.why
        assert ask(state, "/v1/chat/completions", chat("Hi", max_tokens=1), key="")[0] == 401
        assert ask(state, "/")[0] == 404
        assert ask(state, "/slots")[0] in (404, 501)
        status, answer = ask(state, "/v1/chat/completions", chat("Say hello.", max_tokens=8))
        assert status == 200
        assert answer["choices"][0]["message"]["content"]
        assert answer["model"] == TINY
        asked = chat("Say hello.", max_tokens=8, stream=True)
        status, text = ask(state, "/v1/chat/completions", asked)
        assert status == 200
        assert text.startswith("data: {")
        assert text.rstrip().endswith("data: [DONE]")
        schema = {
            "type": "object",
            "properties": {"reply": {"type": "string", "maxLength": 40}},
            "required": ["reply"],
            "additionalProperties": False,
        }
        shaped = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        asked = chat("Capital of France?", max_tokens=64, response_format=shaped)
        status, answer = ask(state, "/v1/chat/completions", asked)
        assert status == 200
        assert set(json.loads(answer["choices"][0]["message"]["content"])) == {"reply"}
        assert process.poll() is None


@pytest.mark.real_model
async def test_real_model_counts_tokens(tmp_path: Path) -> None:
    """What llama.cpp counts for an Anthropic client is what a call is then counted at, to the
    token; before the model is there, the answer is an estimate and does not wait."""
    real.give(tmp_path, TINY)
    said = {
        "model": "local",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Wie geht es? 你好, <b>world</b>!"}],
    }

    async def through(api: Api, **more: object) -> Any:
        pipe = Pipe()
        record = made.door.plane.read(api, Who("owner"), json.dumps(said | more).encode())
        answer = await pipe.answer(made.door.plane.answer(record, pipe))
        return json.loads(b"".join([piece async for piece in answer.body]))

    async with door_to([], home=tmp_path) as made:
        assert (await through(Api.COUNT_TOKENS))["stead"]["estimated"]
        with serving(tmp_path, TINY):
            state = await asyncio.to_thread(reach, tmp_path, "ready", "failed")
            assert state.phase == "ready", state.why
            counted = await through(Api.COUNT_TOKENS)
            answered = await through(Api.MESSAGES, max_tokens=1)
    usage = answered["usage"]
    all_of_it = usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)
    assert counted == {"input_tokens": all_of_it}


def _conversation(name: str, turns: int) -> dict[str, object]:
    rules = " ".join(f"Rule {i} of {name} is number {i * 7}." for i in range(40))
    messages = [{"role": "system", "content": f"You are {name}. {rules}"}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Question {turn}?"})
        messages.append({"role": "assistant", "content": f"Answer {turn}."})
    messages.append({"role": "user", "content": "Say yes."})
    return {"messages": messages, "max_tokens": 1, "temperature": 0}


@pytest.mark.real_model
def test_beginning_of_a_conversation_is_read_once(tmp_path: Path) -> None:
    """Conversations that take turns, even more of them than slots, are read from the cache."""
    real.give(tmp_path, TINY)
    with serving(tmp_path, TINY):
        state = reach(tmp_path, "ready", "failed")
        assert state.phase == "ready", state.why
        for turn in range(3):
            for name in ("Ann", "Bob", "Cleo"):
                status, answer = ask(state, "/v1/chat/completions", _conversation(name, turn))
                assert status == 200
                usage = answer["usage"]
                fresh = usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]
                if turn:
                    assert fresh < 60, (name, turn, usage)


@pytest.mark.real_model
def test_real_model_stops_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    """SIGTERM while it writes a long answer ends it in time."""
    real.give(tmp_path, TINY)
    with serving(tmp_path, TINY) as process:
        state = reach(tmp_path, "ready", "failed")
        url = urllib.parse.urlsplit(state.url)
        connection = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=60)
        body = json.dumps(chat("Tell a very long story.", stream=True, max_tokens=1500))
        key = read_key(Path(state.key_file))
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
        connection.getresponse().readline()  # it has begun
        assert stop_in_time(process, STOP_S + 1) < STOP_S
        connection.close()
    assert modelstate.read(tmp_path).phase == "stopped"


@pytest.mark.real_model
def test_interrupted_load_has_the_file_read_again(tmp_path: Path) -> None:
    """After a process that died while loading, a stamp is not believed."""
    file = real.give(tmp_path, TINY)
    model = catalogue.load().get(TINY)
    content = bytearray(file.read_bytes())
    content[50_000_000] ^= 0xFF
    file.unlink()
    file.write_bytes(content)
    weights.stamp(file, model.sha256)  # as if it went bad without a trace
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    modelstate.write(tmp_path, ModelState("loading", model=TINY, pid=gone.pid))
    with serving(tmp_path, TINY) as process:
        assert process.wait(60) == runtime.STAYS
    assert "is damaged" in modelstate.read(tmp_path).why


@pytest.mark.real_model
@pytest.mark.slow
def test_half_billion_model_knows_a_fact(tmp_path: Path) -> None:
    """The 0.5B model is fetched, loaded and answers sensibly."""
    name = "qwen2.5-coder-0.5b"
    real.give(tmp_path, name)
    with serving(tmp_path, name):
        state = reach(tmp_path, "ready", "failed")
        assert state.phase == "ready", state.why
        question = chat("What is the capital of France? One word.", max_tokens=8)
        status, answer = ask(state, "/v1/chat/completions", question)
        assert status == 200
        assert "Paris" in answer["choices"][0]["message"]["content"]
