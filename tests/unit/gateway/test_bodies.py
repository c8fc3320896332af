"""Bad input gets a clear error in the OpenAI shape, and does nothing."""

from __future__ import annotations

import json
from typing import Any

from stead.core.wire import Claim
from tests.unit.gateway.parts import MAX_BODY, Answer, Gate

_MESSAGE = "/api/v1/messages"
_CHAT = "/v1/chat/completions"
_USER = {"role": "user", "content": "hello"}


_FAULTS: list[tuple[str, Any, str | None]] = [
    (_MESSAGE, {}, "text"),
    (_MESSAGE, {"text": 5}, "text"),
    (_MESSAGE, {"text": None}, "text"),
    (_MESSAGE, {"text": ""}, "text"),
    (_MESSAGE, {"text": " \n\t\u2003"}, "text"),
    (_MESSAGE, {"text": "x", "mark": "urgent"}, "mark"),
    (_MESSAGE, {"text": "x", "lane": "fast"}, "lane"),
    (_MESSAGE, {"text": "x", "session": ["a"]}, "session"),
    (_MESSAGE, {"text": "x", "session": "s" * 201}, "session"),
    (_MESSAGE, {"text": "x", "channel": "c" * 65}, "channel"),
    (_MESSAGE, [], None),
    (_MESSAGE, "text", None),
    (_CHAT, {}, "model"),
    (_CHAT, {"model": "stead"}, "messages"),
    (_CHAT, {"model": 1, "messages": []}, "model"),
    (_CHAT, {"model": "stead", "messages": {}}, "messages"),
    (_CHAT, {"model": "stead", "messages": []}, "messages"),
    (_CHAT, {"model": "stead", "messages": ["hi"]}, "messages[0]"),
    (_CHAT, {"model": "stead", "messages": [{"content": "x"}]}, "messages[0].role"),
    (_CHAT, {"model": "stead", "messages": [{"role": "system", "content": "x"}]}, "messages"),
    (_CHAT, {"model": "stead", "messages": [{**_USER, "content": ""}]}, "messages[0].content"),
    (_CHAT, {"model": "stead", "messages": [{**_USER, "content": 7}]}, "messages[0].content"),
    (
        _CHAT,
        {"model": "stead", "messages": [{**_USER, "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].image_url",
    ),
    (
        _CHAT,
        {"model": "stead", "messages": [{**_USER, "content": [{"type": "hologram"}]}]},
        "messages[0].content[0]",
    ),
    (
        _CHAT,
        {
            "model": "stead",
            "messages": [
                {
                    **_USER,
                    "content": [
                        {"type": "input_audio", "input_audio": {"data": "@@@", "format": "wav"}}
                    ],
                }
            ],
        },
        "messages[0].content[0].input_audio.data",
    ),
    (
        _CHAT,
        {"model": "stead", "messages": [{**_USER, "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
    ),
    (_CHAT, {"model": "stead", "messages": [_USER], "stream": "yes"}, "stream"),
    (_CHAT, {"model": "stead", "messages": [_USER], "n": 2}, "n"),
    (_CHAT, {"model": "stead", "messages": [_USER], "max_tokens": "9"}, "max_tokens"),
    (_CHAT, {"model": "stead", "messages": [_USER], "temperature": "hot"}, "temperature"),
    (
        _CHAT,
        {"model": "stead", "messages": [_USER], "tools": [{"type": "function"}]},
        "tools",
    ),
    (
        _CHAT,
        {"model": "stead", "messages": [_USER], "metadata": {"session": {"a": 1}}},
        "metadata.session",
    ),
    (
        _CHAT,
        {"model": "stead", "messages": [_USER], "metadata": {"mark": "urgent"}},
        "metadata.mark",
    ),
]


async def test_the_fault_is_named_by_its_path(gate: Gate) -> None:
    """Wrong types and missing fields: 400 with the path of the fault in `param`, and no job."""
    for path, body, param in _FAULTS:
        answer = await gate.ask("POST", path, body)
        assert (answer.status, answer.error["param"]) == (400, param), (body, answer.raw)
        assert answer.error["type"] == "invalid_request_error"
    assert (await gate.ask("GET", "/api/v1/jobs")).data["jobs"] == []


_NO_JSON = [
    b"",
    b"{",
    b"text=hello",
    b'{"text": "a",}',
    b'{"text": NaN}',
    b"\xef\xbb\xbf{}",
    b'{"text": "\xff\xfe"}',
    b'{"text": "\xed\xa0\x80"}',
    b'{"text": "\\ud800"}',
    b'{"text": "a" "b"}',
    b"\x00",
    b"[" * 20_000,
    b'{"text": "x", "model": "stead", "messages": [' + b'{"a":' * 7000,
]


async def test_what_is_not_json(gate: Gate) -> None:
    """Broken JSON, broken UTF-8, half surrogates and deep nesting are 400, never 500."""
    for path in (_MESSAGE, _CHAT):
        for body in _NO_JSON:
            answer = await gate.ask("POST", path, body)
            assert (answer.status, answer.error["code"]) == (400, "bad_request"), body[:60]
    deep = b'{"model": "stead", "messages": [{"a":' + b"[" * 5000 + b"]" * 5000 + b"}]}"
    answer = await gate.ask("POST", _CHAT, deep)
    assert (answer.status, answer.error["code"]) == (400, "bad_request"), answer.raw
    assert (await gate.ask("GET", "/api/v1/jobs")).data["jobs"] == []


async def test_odd_text_is_kept_as_it_is(gate: Gate) -> None:
    """NUL, astral characters, line separators and markup come back as they were sent."""
    texts = [
        "a\x00b",
        "\x00",
        "🦉 \u2028 \u202e x",
        "'; DROP TABLE job; --",
        "<!-- 1 -->",
        "e\u0301",
    ]
    for text in texts:
        job_id = await gate.say(text)
        story = await gate.why(job_id)
        assert story["message"]["text"] == text
    got = await gate.ask("GET", "/api/v1/messages?after=0")
    assert [message["text"] for message in got.data["messages"]] == texts
    assert len((await gate.ask("GET", "/api/v1/jobs")).data["jobs"]) == len(texts)


async def test_too_large(gate: Gate) -> None:
    """A body over the limit is 413 with the limit, with and without a length said before."""
    large = json.dumps({"text": "x" * MAX_BODY}).encode()
    for path in (_MESSAGE, _CHAT, "/node/v1/events"):
        key = gate.node_key if path.startswith("/node") else gate.key
        answer = await gate.ask("POST", path, large, key=key)
        assert (answer.status, answer.error["code"]) == (413, "body_too_large")
        assert str(MAX_BODY) in answer.error["message"]

    head = (
        f"POST {_MESSAGE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gate.key}\r\n"
        "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in _cut(large, 5000)) + b"0\r\n\r\n"
    answer = _parse(await gate.raw(head + chunks))
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    # Without reading on: the refusal comes though the rest never does.
    answer = _parse(await gate.raw(head + chunks[: MAX_BODY + 200] + b"0\r\n\r\n"))
    assert answer.status == 413

    within = json.dumps({"text": "x" * (MAX_BODY - 20)}).encode()
    small = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(within), within)
    assert b" 202 " in (await gate.raw(small)).split(b"\r\n")[0]


async def test_a_length_that_lies(gate: Gate) -> None:
    """A client that announces more than it sends leaves nothing behind."""
    head = (
        f"POST {_MESSAGE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gate.key}\r\n"
        'Content-Length: 100\r\n\r\n{"text": "half"'
    ).encode()
    await gate.hang_up(head)
    assert (await gate.ask("GET", "/api/v1/jobs")).data["jobs"] == []


async def test_paths_and_methods_there_are_not(gate: Gate) -> None:
    """Unknown paths are 404 and wrong methods 405 in the one shape, with `Allow`."""
    for path in (
        "/v1",
        "/api/v1/nothing",
        "/v2/chat",
        "/node/v1/x",
        "/api/v1/why/a/b",
        "/%00",
    ):
        answer = await gate.ask("GET", path)
        assert (answer.status, answer.error["code"]) == (404, "not_found"), path
    for method, path, allow in (
        ("GET", _CHAT, {"POST"}),
        ("DELETE", _MESSAGE, {"POST", "GET", "HEAD"}),
        ("PUT", "/healthz", {"GET", "HEAD"}),
        ("GET", "/node/v1/claim", {"POST"}),
    ):
        answer = await gate.ask(method, path)
        assert (answer.status, answer.error["code"]) == (405, "method_not_allowed"), path
        assert set(answer.headers["allow"].split(", ")) <= allow


async def test_numbers_out_of_range(gate: Gate) -> None:
    """Numbers that no database could hold are the client's fault, not a failure inside."""
    huge = "9" * 40
    for query in (f"messages?after={huge}", f"messages?limit=-{huge}", "jobs?limit=x"):
        answer = await gate.ask("GET", f"/api/v1/{query}")
        assert answer.status == 400, query
    assert (await gate.ask("GET", "/api/v1/jobs?limit=-3")).status == 200
    assert (await gate.ask("GET", "/api/v1/jobs?state=asleep")).status == 400

    await gate.accept("hello")
    job = await gate.claim()
    assert job is not None
    for call, body in (
        ("events", {"id": "e", "job_id": job.id, "epoch": int(huge)}),
        ("finish", {"id": "f", "job_id": job.id, "epoch": int(huge), "outcome": "done"}),
        ("heartbeat", {"boot": "b", "jobs": [{"job_id": job.id, "epoch": int(huge)}]}),
    ):
        answer = await gate.ask("POST", f"/node/v1/{call}", body, key=gate.node_key)
        assert (answer.status, answer.error["code"]) == (400, "bad_request"), call
    body = {"id": "f", "job_id": job.id, "epoch": job.epoch, "outcome": "done", "worked_ms": 2**70}
    assert (await gate.ask("POST", "/node/v1/finish", body, key=gate.node_key)).status == 400
    assert (await gate.finish(job)).status == 200


async def test_node_bodies(gate: Gate) -> None:
    """The node protocol names faults by their path too."""
    for call, body, param in (
        ("claim", {}, "request_id"),
        ("claim", {"request_id": "r", "boot": "b", "lanes": [1]}, "lanes[0]"),
        ("claim", {"request_id": "r", "boot": "b", "wait_s": "long"}, "wait_s"),
        ("events", {"id": "e", "job_id": "j", "epoch": "1"}, "epoch"),
        (
            "events",
            {"id": "e", "job_id": "j", "epoch": 1, "events": [{"seq": 1}]},
            "events[0].type",
        ),
        ("finish", {"id": "f", "job_id": "j", "epoch": 1}, "outcome"),
        ("heartbeat", [], None),
    ):
        answer = await gate.ask("POST", f"/node/v1/{call}", body, key=gate.node_key)
        assert (answer.status, answer.error["param"]) == (400, param), (call, answer.raw)
    # Times that make no sense are brought into range: this comes back at once.
    assert (await gate.node("claim", Claim("r", "b", wait_s=-5.0))).data["job"] is None
    outcome = {"id": "f", "job_id": "j", "epoch": 1, "outcome": "splendid"}
    answer = await gate.ask("POST", "/node/v1/finish", outcome, key=gate.node_key)
    assert (answer.status, answer.error["param"]) == (400, "outcome")


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)
