"""`stead calls`: what was asked, by whom, what it cost and why it went there."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stead.app import replays
from stead.cli.when import moment
from stead.core.errors import BadRequest
from stead.core.ids import uuid7
from stead.core.nouns import Call, Usage
from stead.inference.audit.bodies import Bodies, Keep, Terms
from stead.store.sqlite import SqliteStore
from tests.unit.cli.conftest import Run
from tests.unit.cli.gateway import Gateway

ID = "0199aaaa-0000-7000-8000-0000000000c3"
NEW = "0199aaaa-0000-7000-8000-0000000000d4"
ROW: dict[str, Any] = {
    "id": ID, "at": 1_700_000_000_000, "caller": "notes", "key_id": "0199-k1", "job_id": None,
    "share": "chat", "api": "chat/completions", "asked": "main", "lane": "main", "model": "big",
    "backend": "cloud", "instance": "models.example:443", "stream": True,
    "reason": "lane main: the first that is well", "tried": ["small at home: it answered 503"],
    "shadow_of": None, "state": "settled", "status": 200, "outcome": "ok", "error": "",
    "prompt_tokens": 1200, "cached_tokens": 1000, "cache_write_tokens": 100,
    "completion_tokens": 80, "reasoning_tokens": 30, "estimated": True, "cost_micro": 12_300,
    "reserved_micro": 50_000, "waited_ms": 12.0, "first_ms": 400.0, "total_ms": 2500.0,
    "bytes_in": 5000, "bytes_out": 900,
}  # fmt: skip
FAILED = {**ROW, "id": NEW, "status": 429, "outcome": "over_budget", "error": "no money left",
          "backend": "", "model": "", "tried": [], "estimated": False}  # fmt: skip
KEPT: dict[str, Any] = {
    "call": ID, "api": "chat/completions",
    "request": {"type": "application/json", "size": 44, "cut": False, "redacted": False,
                "text": '{"model":"main","messages":[{"role":"user","content":"hi"}]}'},
    "answer": {"type": "text/event-stream", "size": 9, "cut": False, "redacted": False,
               "text": "data: ...", "words": "hello from big"},
}  # fmt: skip


def test_a_list(run: Run, gateway: Gateway) -> None:
    """Calls are a table, the newest first: whose, where, tokens, cost, time, end; more is
    announced with the way to it."""
    gateway.answers["/api/v1/calls"] = {"calls": [FAILED, ROW], "more": True}
    result = run("calls")
    assert result.code == 0
    head, failed, row, more = result.out.splitlines()
    assert head.split()[:3] == ["ID", "WHEN", "KEY"]
    for words in ("000000c3", "notes", "big", "cloud", "1200+80~", "$0.0123", "2.5 s",
                  "ok, after 1 that failed"):  # fmt: skip
        assert words in row
    assert "over_budget (429)" in failed
    assert more.endswith(f"--before {ID}")


def test_filters_are_passed_on(run: Run, gateway: Gateway) -> None:
    """What is asked for is what the gateway is asked for; times and sums in its own measures."""
    gateway.answers["/api/v1/calls"] = {"calls": [], "more": False}
    result = run(
        "calls", "--key", "notes", "--lane", "main", "--model", "big", "--backend", "cloud",
        "--api", "embeddings", "--status", "5xx", "--outcome", "error", "--slow", "1.5",
        "--cost-over", "0.02", "--job", "abcdef", "--since", "2h", "--until", "2026-11-21 14:00",
        "-n", "5", "--before", ID,
    )  # fmt: skip
    assert (result.code, result.out) == (0, "No such calls.\n")
    (asked,) = gateway.asked("GET", "/api/v1/calls")
    assert abs(int(asked.pop("since")) - (time.time() - 7200) * 1000) < 60_000
    assert int(asked.pop("until")) == moment("2026-11-21 14:00")
    assert asked == {
        "key": "notes", "lane": "main", "model": "big", "backend": "cloud", "api": "embeddings",
        "status": "5xx", "outcome": "error", "slow_ms": "1500", "cost_over": "20000",
        "job": "abcdef", "limit": "5", "before": ID,
    }  # fmt: skip
    assert run("calls").out == "No calls yet.\n"


def test_what_makes_no_sense_is_told(run: Run, gateway: Gateway) -> None:
    """A time that is none is refused before anything is asked."""
    result = run("calls", "--since", "soon")
    assert result.code == 2 and "'soon' is no time" in result.err
    assert gateway.requests == []


def test_json(run: Run, gateway: Gateway) -> None:
    """--json is what the gateway says."""
    gateway.answers["/api/v1/calls"] = {"calls": [ROW], "more": False}
    gateway.answers[f"/api/v1/calls/{ID}"] = {**ROW, "shadows": [], "bodies": None}
    gateway.answers["/api/v1/calls/sums"] = {"by": "model", "sums": []}
    assert json.loads(run("calls", "--json").out)["calls"] == [ROW]
    assert json.loads(run("calls", "show", ID, "--json").out)["id"] == ID
    assert json.loads(run("calls", "sum", "--json").out)["sums"] == []


def test_one_call(run: Run, gateway: Gateway) -> None:
    """All that is known: who, where and why, what failed before, tokens, cost, times, and what was
    said, with nothing in it that could move the cursor."""
    shadow = {**ROW, "id": NEW, "model": "small"}
    answer = {**KEPT["answer"], "words": "hel\x1b[2Jlo", "redacted": True}
    gateway.answers[f"/api/v1/calls/{ID}"] = {
        **ROW, "job_id": "0199-job-12345678", "shadows": [shadow],
        "bodies": {**KEPT, "answer": answer},
    }  # fmt: skip
    result = run("calls", "show", ID)
    assert result.code == 0
    for words in (
        "notes (key 0199-k1), paid from chat", "stead why 12345678", "main by /v1/chat/completions",
        "lane main: big at cloud (models.example:443)", "lane main: the first that is well",
        "tried 1   small at home: it answered 503",
        "1200 in (1000 from cache, 100 to cache), 80 out (30 reasoning), estimated",
        "$0.0123 of $0.0500 that were set aside", "2.5 s in all, 400 ms to the first byte",
        "5000 in, 900 out", "shadow    000000d4 at small: ok", "Asked (44 bytes, application/json)",
        '"content":"hi"', "blacked out in places",
    ):  # fmt: skip
        assert words in result.out, words


def test_one_call_without_bodies(run: Run, gateway: Gateway) -> None:
    """Where nothing was kept that is said, with where it is set; an error is told in its words."""
    gateway.answers[f"/api/v1/calls/{NEW}"] = {**FAILED, "shadows": [], "bodies": None}
    out = run("calls", "show", NEW).out
    assert "not kept ([audit] in stead.toml" in out and "no money left" in out


def test_long_bodies_are_cut_for_people(run: Run, gateway: Gateway) -> None:
    """A long body is shown in part, and whole when it is asked for."""
    answer = {**KEPT["answer"], "words": "x" * 5000}
    gateway.answers[f"/api/v1/calls/{ID}"] = {
        **ROW, "shadows": [], "bodies": {**KEPT, "answer": answer}
    }  # fmt: skip
    assert "3000 characters more: --full" in run("calls", "show", ID).out
    assert "x" * 5000 in run("calls", "show", ID, "--full").out


def test_sums(run: Run, gateway: Gateway) -> None:
    """Sums are a table with a line for all of them."""
    one = {
        "calls": 3, "errors": 1, "estimated": 0, "prompt_tokens": 10, "cached_tokens": 4,
        "cache_write_tokens": 0, "completion_tokens": 5, "reasoning_tokens": 0,
        "cost_micro": 20_000,
    }  # fmt: skip
    sums = [{"key": "notes", **one}, {"key": "owner", **one}]
    gateway.answers["/api/v1/calls/sums"] = {"by": "key", "sums": sums}
    head, _, _, total = run("calls", "sum", "--by", "key", "--since", "30d").out.splitlines()
    assert head.startswith("KEY") and total.split() == [
        "all", "6", "2", "20", "8", "10", "$0.0400"
    ]  # fmt: skip
    assert run("calls", "sum", "--by", "moon").code == 2


def test_follow(run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are printed as they end, each once, also one that began long ago."""
    under_way = {**ROW, "state": "reserved"}
    pages = [[under_way], [under_way, FAILED], [FAILED, {**ROW, "outcome": "left"}]]

    def sleep(seconds: float) -> None:
        if not pages:
            raise KeyboardInterrupt
        gateway.answers["/api/v1/calls"] = {"calls": pages.pop(0), "more": False}

    gateway.answers["/api/v1/calls"] = {"calls": [], "more": False}
    monkeypatch.setattr("stead.cli.calls.time.sleep", sleep)
    result = run("calls", "--follow", "--lane", "main", "--json")
    assert result.code == 130
    assert [json.loads(line)["id"] for line in result.out.splitlines()] == [NEW, ID]
    asked = gateway.asked("GET", "/api/v1/calls")
    assert all(one["lane"] == "main" for one in asked) and "ended_after" in asked[-1]


# --- asked again -------------------------------------------------------------------------------


def test_replay_without_a_body(run: Run, gateway: Gateway) -> None:
    """Where nothing was kept, nothing is asked, and it is said what to set."""
    gateway.answers[f"/api/v1/calls/{ID}"] = {**ROW, "shadows": [], "bodies": None}
    result = run("calls", "replay", ID, "--model", "small")
    assert result.code == 1
    assert "cannot be asked again" in result.err and "[audit]" in result.err
    assert gateway.asked("POST", "/v1/chat/completions") == []


def test_replay(run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same is asked of the other model, and both answers stand side by side with tokens, times
    and costs."""
    monkeypatch.setenv("COLUMNS", "120")
    gateway.answers[f"/api/v1/calls/{ID}"] = {**ROW, "shadows": [], "bodies": KEPT}
    gateway.answers["/v1/chat/completions"] = {
        "choices": [{"message": {"role": "assistant", "content": "hello from small"}}]
    }
    gateway.headers["x-stead-call"] = NEW
    gateway.answers[f"/api/v1/calls/{NEW}"] = {
        **ROW, "id": NEW, "model": "small", "cost_micro": 100, "bodies": None
    }  # fmt: skip
    result = run("calls", "replay", ID, "--model", "small")
    assert result.code == 0
    (body,) = gateway.asked("POST", "/v1/chat/completions")
    assert body == {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
    assert "big at cloud" in result.out.splitlines()[0] and "small at cloud" in result.out
    line = next(one for one in result.out.splitlines() if "hello from big" in one)
    assert line.split(" | ")[1] == "hello from small"
    assert "$0.0123" in result.out and "$0.0001" in result.out
    data = json.loads(run("calls", "replay", ID, "--model", "small", "--json").out)
    assert data["second"]["words"] == "hello from small"
    assert data["second"]["call"]["id"] == NEW and "bodies" not in data["first"]["call"]


def test_replay_that_is_refused(run: Run, gateway: Gateway) -> None:
    """An error of the door is the answer that is shown, and the exit code says so."""
    gateway.answers[f"/api/v1/calls/{ID}"] = {**ROW, "shadows": [], "bodies": KEPT}
    gateway.answers["/v1/chat/completions"] = (404, {"error": {"message": "no model nope"}})
    result = run("calls", "replay", ID, "--model", "nope")
    assert result.code == 1 and "[error: no model nope]" in result.out


def test_what_is_asked_again() -> None:
    """Only the model is changed, in JSON and in forms; what was cut cannot be asked again, and of
    what was blacked out that is said."""

    def kept(text: str, type_: str = "application/json", **more: Any) -> dict[str, Any]:
        part = {"type": type_, "size": 9, "cut": False, "redacted": False, "text": text, **more}
        return {"api": "audio/transcriptions", "request": part}

    ready = replays.prepare(kept('{"a":1.50,"model":"x","b":{"model":"y"}}', redacted=True), "m")
    assert ready.body == b'{"a":1.50,"model":"m","b":{"model":"y"}}'
    assert ready.path == "/v1/audio/transcriptions" and "blacked out" in ready.warnings[0]
    assert replays.prepare(kept('{"input":"x"}'), "m").body == b'{"input":"x","model":"m"}'
    form = (
        '--b\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n\r\nX\r\n--b\r\n'
        'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain\r\n\r\nold\r\n'
        '--b--\r\n'
    )  # fmt: skip
    ready = replays.prepare(kept(form, "multipart/form-data; boundary=b"), "new")
    assert ready.body.decode() == form.replace("old", "new")
    for bad in (
        kept("{", "application/json"), kept("[1]"), kept("{}", cut=True),
        kept("--b--", "multipart/form-data; boundary=b"),
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            replays.prepare(bad, "m")


# --- with no gateway ---------------------------------------------------------------------------


@pytest.fixture
def written(home: Path) -> str:
    """A home whose database holds a call with its bodies; nobody serves it."""
    one = Call(
        uuid7(), 0, "m", "b", "owner", None, "chat", Usage(5, 0, 5, 70), 0, "settled", 200, 1.0,
        2.0, "why not", outcome="ok", api="chat/completions", asked="m",
    )  # fmt: skip

    async def write() -> None:
        store = SqliteStore(home / "state.db", home / "backups")
        await store.record_calls([], [one])
        store.close()
        bodies = Bodies(home / "audit", Terms(keep=Keep.ALL))
        bodies.keep(one, b'{"model":"m"}', [b'{"text":"it was said"}'], types=("a/b", "a/b"))
        await bodies.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(write()))
    thread.start()
    thread.join()
    return one.id


def test_without_a_gateway(run: Run, home: Path, written: str) -> None:
    """While the gateway is away, list, story and sums come from the home directory; exit code 3."""
    listed = run("calls", "--model", "m", "--since", "1h")
    assert listed.code == 3 and written[-8:] in listed.out and "cannot be reached" in listed.err
    story = run("calls", "show", written[-8:])
    assert story.code == 3 and "it was said" in story.out and "why not" in story.out
    sums = run("calls", "sum", "--by", "key", "--json")
    assert sums.code == 3 and json.loads(sums.out)["sums"][0]["cost_micro"] == 70
    assert run("calls", "show", "ffffffff").code == 1
    assert run("calls", "--status", "odd").code == 1


def test_moments() -> None:
    """A moment may be said as an age, a time of the day, a day, or both."""
    now = time.time() * 1000
    for text, ago in (("90s", 90), ("5m", 300), ("5 min", 300), ("1.5h", 5400), ("2w", 1209600)):
        found = moment(text)
        assert found is not None and abs(now - ago * 1000 - found) < 60_000
    for text in ("2026-11-21", "2026-11-21 14:00", "2026-11-21T14:00:00", "today", "yesterday"):
        assert moment(text) is not None
    clock = moment("00:00")
    assert clock is not None and now - 86_400_000 - 60_000 < clock <= now
    for text in ("", "soon", "25:00", "12:61", "2026-13-01", "-5h", "h", "9" * 400 + "h", "5y"):
        assert moment(text) is None
