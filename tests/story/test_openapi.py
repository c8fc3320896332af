"""schemathesis reads what the gateway says of itself, and tries all of it, right and wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jsonschema_rs import validator_for  # schemathesis brings it

from stead.inference.scripted import Running, running
from tests.story.house import House, house_in

BACKENDS = """
[[backend]]
name = "scripted"
url = "{scripted}"
key_file = "secrets/model.key"
apis = ["chat/completions", "messages", "embeddings"]
models = [{{ name = "free" }}]

[[backend]]
name = "any"
url = "{any}"
apis = [
  "responses", "completions", "audio/speech", "audio/transcriptions", "ocr", "rerank",
  "messages/count_tokens", "embeddings",
]
models = [{{ name = "all-round" }}]
"""
LANES = ("speech", "transcription", "ocr", "rerank", "embed")
MODELS = ["free", "all-round", "stead", "main", "no such model"]


@contextmanager
def anything() -> Iterator[str]:
    """A server that takes every request and answers it with a JSON object; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"object": "list", "data": [], "results": [], "text": "", "input_tokens": 1}'
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = head.partition(b"content-length:")[2].split(b"\r\n")[0]
                await reader.readexactly(int(size or 0))
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n%b" % (len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, limit=2**26))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    scripted: Running
    with running() as scripted, anything() as any_url:
        more = BACKENDS.format(scripted=scripted.url, any=any_url)
        more += "".join(f'\n[[lane]]\nname = "{lane}"\nmodels = ["all-round"]\n' for lane in LANES)
        home = tmp_path_factory.mktemp("openapi")
        for house in house_in(home, model="scripted", more=more):
            (house.home / "secrets" / "model.key").write_text(scripted.key)
            house.all_up()
            yield house


def test_the_document_is_one(house: House) -> None:
    """What is served is an OpenAPI document, and every path of it is known to the gateway."""
    document = house.get("/openapi.json")
    assert document["openapi"].startswith("3.1") and len(document["paths"]) > 40
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], f"{method} {path} says nothing of itself"
            body = operation.get("requestBody", {}).get("content", {})
            for media in body.values():
                schema = {**media["schema"], "components": document["components"]}
                validator_for(schema)


def _made(house: House) -> dict[str, str]:
    """Things that are there, by the paths that lead to them."""
    _, said = house.call("POST", "/api/v1/messages", {"text": "[[say hello]]"})
    for path, name in (("nodes", "far"), ("keys", "program")):  # a second telling finds them there
        status, answer = house.call("POST", f"/api/v1/{path}", {"name": name})
        assert status == 201 or name in str(answer), answer
    job = said["job_id"]
    return {
        "/api/v1/jobs/": job,
        "/api/v1/why/": job,
        "/api/v1/nodes/": "far",
        "/api/v1/keys/": "program",
        "/v1/models/": "free",
    }


@pytest.mark.slow
def test_no_request_breaks_it(house: House, tmp_path: Path) -> None:
    """Whatever is sent to any path, right or wrong by its own description: no 5xx."""
    document = house.get("/openapi.json")
    for name in ("_Values", "_File"):  # other settings would be another house
        schema = document["components"]["schemas"][name]
        schema["properties"]["dry_run"] = {"const": True}
        schema["required"] = [*schema.get("required", []), "dry_run"]
    there = _made(house)
    for path, item in document["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    known = next((v for k, v in there.items() if path.startswith(k)), "nothing")
                    parameter["schema"] = {"enum": [known, "nothing"]}
            for media in operation.get("requestBody", {}).get("content", {}).values():
                model = media["schema"].get("properties", {}).get("model")
                if model is not None:  # else nearly all would end at a model that nobody knows
                    media["schema"]["properties"]["model"] = {"enum": MODELS}
    described = tmp_path / "openapi.json"
    described.write_text(json.dumps(document))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", str(described),
            "--url", f"http://127.0.0.1:{house.port}",
            "--header", f"Authorization: Bearer {house.key}",
            "--checks", "not_a_server_error", "--mode", "all",
            "--phases", "examples,coverage,fuzzing", "--max-examples", "12",
            "--workers", "1", "--request-timeout", "60", "--seed", "7", "--no-color",
            # 503 is what they have to say of what is not ready or not installed; and streams that
            # end only with who reads them are read elsewhere.
            "--exclude-path-regex", "^/(readyz|api/v1/services/.*|api/v1/(sessions/.*/)?events)$",
        ],
        capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert house.get("/healthz")["ok"]
