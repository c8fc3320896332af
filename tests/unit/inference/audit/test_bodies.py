"""Bodies are kept apart, by rule, for a time; never more, and never what was blacked out."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from stead.core.ids import uuid7
from stead.core.nouns import Call, Usage
from stead.inference.audit import shown
from stead.inference.audit.bodies import Bodies, Keep, KeepRule, Terms, place, read
from stead.inference.audit.redact import Redactor
from stead.inference.audit.words import words

JSON = ("application/json", "application/json")
DAY_MS = 86_400_000


def call(outcome: str = "ok", caller: str = "owner", lane: str = "", ident: str = "") -> Call:
    return Call(
        ident or uuid7(), 0, "m", "b", caller, None, "chat", Usage(), 0, "settled", 200, 1.0, 2.0,
        "", outcome=outcome, lane=lane, api="chat/completions",
    )  # fmt: skip


def aged(days: float) -> str:
    """The id of a call of so many days ago."""
    text = f"{int(time.time() * 1000 - days * DAY_MS):012x}"
    return f"{text[:8]}-{text[8:]}{uuid7()[13:]}"


Maker = Callable[..., Bodies]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Maker]:
    made: list[Bodies] = []

    def maker(keep: Keep = Keep.ALL, redact: Any = None, **more: Any) -> Bodies:
        made.append(Bodies(tmp_path / "audit", Terms(keep=keep, **more), redact))
        return made[-1]

    yield maker
    for one in made:
        await one.aclose()


async def kept(bodies: Bodies, one: Call, request: bytes, *answer: bytes, **more: Any) -> Any:
    types = (JSON[0], more.pop("type_", JSON[1]))
    bodies.keep(one, request, answer, types=types, **more)
    await bodies.aclose()
    return read(bodies.folder, one.id)


async def test_what_was_kept_is_read_again(make: Maker) -> None:
    """Bytes come back as they were, whatever they are, in a file that is the owner's alone."""
    one, request = call(), bytes(range(256)) * 40
    found = await kept(make(), one, request, b"a\x00b", b"", b"\xff\n{}")
    assert (found.request_bytes, found.answer_bytes) == (request, b"a\x00b\xff\n{}")
    assert (found.api, found.request.type) == ("chat/completions", "application/json")
    assert not (found.request.cut or found.answer.cut or found.request.redacted)
    path = place(make().folder, one.id)
    assert path is not None and path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_size < len(request) / 3
    assert [name for name in os.listdir(path.parent) if name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    ("keep", "outcome", "is_kept"),
    [
        (Keep.NONE, "ok", False), (Keep.NONE, "timeout", False), (Keep.ERRORS, "ok", False),
        (Keep.ERRORS, "timeout", True), (Keep.ERRORS, "left", True), (Keep.ALL, "ok", True),
    ],
)  # fmt: skip
async def test_what_is_kept(make: Maker, keep: Keep, outcome: str, is_kept: bool) -> None:
    """Nothing, what came to no good end, or all."""
    assert (await kept(make(keep), call(outcome), b"{}", b"{}") is not None) is is_kept


async def test_rules_by_key_and_lane(make: Maker) -> None:
    """The first rule that fits decides; what none fits follows the general word."""
    rules = (
        KeepRule(Keep.NONE, key="diary"), KeepRule(Keep.ALL, lane="review"),
        KeepRule(Keep.ALL, key="tests", lane="cron"),
    )  # fmt: skip
    bodies = make(Keep.ERRORS, rules=rules)
    assert bodies.keeps
    wanted = {
        ("diary", "review"): Keep.NONE, ("owner", "review"): Keep.ALL,
        ("tests", "cron"): Keep.ALL, ("tests", "main"): Keep.ERRORS,
    }  # fmt: skip
    for _ in range(2):
        assert {pair: bodies.wanted(*pair) for pair in wanted} == wanted
    bodies.use(Terms())
    assert bodies.wanted("owner", "review") is Keep.NONE and not bodies.keeps


async def test_long_bodies_are_cut(make: Maker) -> None:
    """Of a long body the beginning is kept, and it is said that there was more."""
    found = await kept(
        make(most_bytes=100), call(), b"q" * 1000, b"a" * 60, b"b" * 60, answer_size=5000
    )
    assert found.request_bytes == b"q" * 100 and found.request.size == 1000
    assert found.answer_bytes == b"a" * 60 + b"b" * 40 and found.answer.size == 5000
    assert found.request.cut and found.answer.cut


async def test_secrets_are_blacked_out_before_they_are_written(make: Maker) -> None:
    """Nothing of a secret reaches the disk: not in the request, nor in the answer, nor the part of
    one that the cut goes through."""

    async def redact(body: bytes, type_: str) -> tuple[bytes, str]:
        await asyncio.sleep(0)
        return body.replace(b"hunter2", b"[gone]"), "text/plain" if body == b"stream" else type_

    bodies = make(redact=redact, most_bytes=50)
    found = await kept(bodies, call(), "päss hunter2".encode(), b"it is hun", b"ter2")
    assert found.request_bytes.decode() == "päss [gone]" and found.request.redacted
    assert found.answer_bytes == b"it is [gone]"
    found = await kept(bodies, call(), b"x" * 46 + b"hunter2", b"stream")
    assert found.request_bytes == b"x" * 46 + b"[gon" and found.request.cut
    assert (found.answer.type, found.answer.cut) == ("text/plain", False)
    assert not (await kept(bodies, call(), b"all is well", b"")).request.redacted


async def test_what_cannot_be_looked_at_is_not_kept(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the detector is missing or fails, or a body is too long for it, nothing is kept, and
    that is counted."""

    async def cannot(body: bytes, type_: str) -> tuple[bytes, str] | None:
        if body == b"odd":
            raise OSError("the detector fell")
        return None

    async def fine(body: bytes, type_: str) -> tuple[bytes, str]:
        return body, type_

    bodies = make(redact=cannot)
    assert await kept(bodies, call(), b"{}", b"{}") is None
    assert await kept(bodies, call(), b"odd", b"{}") is None
    assert bodies.left_out == 2
    monkeypatch.setattr("stead.inference.audit.bodies._MOST_LOOKED_AT", 10)
    bodies = make(redact=fine)
    assert await kept(bodies, call(), b"x" * 10, b"") is not None
    assert await kept(bodies, call(), b"x" * 11, b"") is None


async def test_the_detector_of_the_house(make: Maker) -> None:
    """The owner's words are blacked out by the same process that looks for them in requests: in
    JSON, in text, and in the words of a stream, wherever its events cut them."""
    redactor = Redactor((), ("Anna Blume",), (r"\bK-\d{4}\b",))
    try:
        found = await kept(
            make(redact=redactor), call(), b'{"a": "ask anna blume", "n": 1.50}',
            b'data: {"choices":[{"delta":{"content":"it is K-1"}}]}\n\n'
            b'data: {"choices":[{"delta":{"content":"234."}}]}\n\n',
            type_="text/event-stream",
        )  # fmt: skip
        assert b"anna" not in found.request_bytes and b'"n": 1.50' in found.request_bytes
        assert b"1234" not in found.answer_bytes and found.answer_bytes.startswith(b"it is [")
        assert found.answer.type.startswith("text/plain") and redactor.trouble == ""
        assert await redactor(b"\xff K-1234", "multipart/form-data; boundary=x") is None
        assert "cannot" in redactor.trouble or "no JSON" in redactor.trouble
        assert await redactor(b"nothing here", "multipart/form-data; boundary=x") is not None
        found = await redactor(b"about Anna Blume", "text/plain")
        assert found is not None and b"Anna" not in found[0] and found[0].startswith(b"about [")
    finally:
        await redactor.aclose()


async def test_age(make: Maker) -> None:
    """What is older than is wanted goes, with the folders of its days; the rest stays."""
    bodies = make(days=7.0)
    old, new = call(ident=aged(8)), call(ident=aged(6))
    for one in (old, new):
        bodies.keep(one, b"{}", [b"{}"], types=JSON)
    assert await bodies.prune() == 1
    assert read(bodies.folder, old.id) is None and read(bodies.folder, new.id) is not None
    assert len(os.listdir(bodies.folder)) == 1
    assert await bodies.prune() == 0
    assert await bodies.prune(before=int(time.time() * 1000)) == 1
    assert os.listdir(bodies.folder) == []


async def test_for_ever(make: Maker) -> None:
    """0 days: for ever."""
    bodies = make(days=0.0)
    assert await kept(bodies, call(ident=aged(5000)), b"{}", b"{}") is not None
    assert await bodies.prune() == 0


async def test_size(make: Maker) -> None:
    """All together never grows far beyond its limit: the oldest go first."""
    bodies = make(total_bytes=20_000)
    many = [call(ident=aged(20 - n * 0.5)) for n in range(40)]
    for one in many:
        bodies.keep(one, os.urandom(1000), [b""], types=JSON)
    await bodies.aclose()
    there = [read(bodies.folder, one.id) is not None for one in many]
    assert there[-5:] == [True] * 5 and there[:5] == [False] * 5
    size = sum(path.stat().st_size for path in bodies.folder.rglob("*.z"))
    assert 10_000 < size <= 20_000


async def test_a_slow_disk_costs_bodies_and_no_memory(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a disk cannot keep up with is left out, and counted; nobody waits."""
    monkeypatch.setattr("stead.inference.audit.bodies._MOST_WAITING", 1000)
    bodies = make()
    for _ in range(50):
        bodies.keep(call(), b"x" * 900, [b""], types=JSON)
    assert bodies.left_out > 0
    await bodies.aclose()
    assert bodies.left_out + len(list(bodies.folder.rglob("*.z"))) == 50


async def test_a_disk_that_fails_harms_nobody(make: Maker, tmp_path: Path) -> None:
    """A folder that cannot be written costs the bodies, and is counted."""
    (tmp_path / "audit").write_text("a file in the way")
    bodies = make()
    assert await kept(bodies, call(), b"{}", b"{}") is None
    assert bodies.left_out == 1
    assert await bodies.prune() == 0


async def test_damage_is_no_answer(make: Maker) -> None:
    """A file that cannot be read counts as nothing kept; an id that is none names no file."""
    bodies, one = make(), call()
    assert await kept(bodies, one, b"{}", b"{}") is not None
    path = place(bodies.folder, one.id)
    assert path is not None
    for damaged in (path.read_bytes()[:-3], b"", b"\x00" * 50, zlib.compress(b"no head")):
        path.write_bytes(damaged)
        assert read(bodies.folder, one.id) is None
    for ident in ("../../etc/passwd", "", "x" * 36, one.id.upper() + "\n"):
        assert place(bodies.folder, ident) is None


async def test_how_it_is_shown(make: Maker) -> None:
    """As text, or where it is none in base64; with what the answer says in words."""
    bodies, one = make(), call()
    assert shown.bodies(bodies.folder, one.id) is None
    await kept(bodies, one, b"\xff\x00", b'{"choices":[{"message":{"content":"hi"}}]}')
    view = shown.bodies(bodies.folder, one.id)
    assert view is not None
    assert view["request"] == {
        "type": "application/json", "size": 2, "cut": False, "redacted": False, "base64": "/wA="
    }  # fmt: skip
    assert view["answer"]["words"] == "hi" and view["call"] == one.id


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}', "a\n---\nb"),
        (b'{"choices":[{"message":{"content":[{"type":"text","text":"a"}]}}]}', "a"),
        (b'{"choices":[{"message":{"content":null,"tool_calls":[{"function":'
         b'{"name":"f","arguments":"{}"}}]}}]}', "[f({})]"),
        (b'{"choices":[{"text":"old"}]}', "old"),
        (b'{"type":"message","content":[{"type":"text","text":"a"},{"type":"tool_use","name":"f",'
         b'"input":{"x":1}}]}', 'a[f({"x":1})]'),
        (b'{"output":[{"type":"message","content":[{"type":"output_text","text":"r"}]},'
         b'{"type":"function_call","name":"f","arguments":"{}"}]}', "r[f({})]"),
        (b'{"data":[{"embedding":[1,2,3]},{"embedding":[1,2,3]}]}', "[2 embeddings of 3 numbers]"),
        (b'{"text":"what was said"}', "what was said"),
        (b'{"error":{"message":"no"}}', "[error: no]"),
        (b"plain words", "plain words"),
        (b"\xff\xfe\x00", "[3 bytes that are no text]"),
        (b"[1,2]", "[1,2]"),
        (b"", ""),
        (b'{"choices":7,"content":"x"}', '{"choices":7,"content":"x"}'),
        (b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n: x\n\n'
         b'data: {"choices":[{"delta":{"content":"b"}}]}\n\ndata: [DONE]\n\n', "ab"),
        (b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":"{"}}]}}]}'
         b"\r\n\r\n"
         b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"}"}}]}}]}\n\n',
         "[f] {}"),
        (b'data: {"choices":[{"text":"old"}]}\n\n', "old"),
        (b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":'
         b'"text_delta","text":"a"}}\n\n', "a"),
        (b'event: x\ndata: {"type":"response.output_text.delta","delta":"r"}\n\n', "r"),
        (b'data: {"error":{"message":"broke"}}\n\n', "[error: broke]"),
        (b'data: {not json\n\ndata: [1]\n\ndata: {"choices":[1,{"delta":3}]}\n\n', ""),
    ],
)  # fmt: skip
def test_words(body: bytes, said: str) -> None:
    """What an answer says is found in every shape; what is odd breaks nothing."""
    assert words(body) == said
