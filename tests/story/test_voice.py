"""Speaking with stead over the API of the page: words as sound, and sound as words."""

from __future__ import annotations

import http.client
import json
import re

import pytest

from tests.story.house import House


def asked(house: House, path: str, body: bytes, kind: str) -> tuple[int, str, bytes]:
    line = http.client.HTTPConnection("127.0.0.1", house.port, timeout=120)
    try:
        sent = {"Authorization": f"Bearer {house.key}", "Content-Type": kind}
        line.request("POST", path, body, sent)
        answer = line.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.read()
    finally:
        line.close()


def test_what_is_read_aloud_is_understood_again(lived_in: House) -> None:
    """A sentence as sound, and that sound as words: they are mostly the same ones. What is no
    recording is refused in words."""
    can = lived_in.get("/api/v1/voice")
    if not (can["listens"] and can["speaks"]):
        pytest.skip("the light services of speech are not installed")
    said = json.dumps({"text": "The quick brown fox jumps over the lazy dog."}).encode()
    status, kind, sound = asked(lived_in, "/api/v1/voice/sound", said, "application/json")
    assert (status, kind, sound[:4]) == (200, "audio/wav", b"RIFF"), sound[:300]
    status, _, told = asked(lived_in, "/api/v1/voice/words", sound, "audio/wav")
    assert status == 200, told
    words = {*re.findall("[a-z]+", json.loads(told)["text"].lower())}
    assert len(words & {"quick", "brown", "fox", "jumps", "over", "lazy", "dog"}) >= 4, words
    for path, body in (("words", b""), ("words", b"no sound"), ("sound", b'{"text": " "}')):
        status, _, told = asked(lived_in, f"/api/v1/voice/{path}", body, "application/json")
        assert 400 <= status < 500, told
        assert json.loads(told)["error"]["message"]
