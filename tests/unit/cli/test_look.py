"""The commands that look: status, jobs, why, where, logs."""

from __future__ import annotations

import json
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stead.app
from stead.cli.logs import Tail, last_lines
from stead.core.errors import NotFound
from stead.core.home import PLACES
from stead.core.logs import setup
from tests.unit.cli.conftest import Run
from tests.unit.cli.gateway import JOB, MESSAGE, Gateway

STATUS: dict[str, Any] = {
    "ok": True,
    "version": "0.1.0",
    "home": "/home/me/.stead",
    "url": "http://127.0.0.1:7832",
    "works": ["messages are recorded"],
    "not_yet": ["backups"],
    "model": {"phase": "loading", "words": "loading qwen (40%)"},
    "nodes": [
        {"name": "box", "alive": True, "last_seen": 1, "running": 2, "labels": ["gpu"]},
        {"name": "nas", "alive": False, "last_seen": 1_700_000_000_000, "running": 0},
    ],
    "queue": {"queued": 3, "running": 2, "waiting": 0, "dead": 1, "oldest_ms": 65_000},
    "today": {"calls": 4, "tokens": 900, "cost_micro": 12_345},
    "outbox": {"pending": 2},
}
ROW: dict[str, Any] = {
    "id": JOB,
    "state": "dead",
    "lane": "chat",
    "created_at": 1_700_000_000_000,
    "started_at": 1_700_000_000_100,
    "waited_ms": 100,
    "worked_ms": 2500,
    "node": "box",
    "error": "the model is gone",
    "waiting_for": "",
    "text": "hi",
    "tries": 3,
    "crashes": 1,
    "max_tries": 3,
    "max_crashes": 5,
}
STORY: dict[str, Any] = {
    "message": {
        "id": MESSAGE, "at": 1_700_000_000_000, "role": "owner", "channel": "cli",
        "session": "main", "external_id": "x", "text": "how full is the disk?",
    },
    "job": ROW,
    "route": {"to": "node", "rule": "everything else", "needs": "gpu", "lane": "chat"},
    "attempts": [
        {"epoch": 1, "node": "box", "started_at": 1_700_000_000_100,
         "ended_at": 1_700_000_001_100, "outcome": "crashed", "error": "lease ran out"},
        {"epoch": 2, "node": "box", "started_at": 1_700_000_002_000, "ended_at": 0,
         "outcome": ""},
    ],
    "steps": [
        {"seq": 1, "epoch": 1, "name": "model:main", "state": "done", "rule": "repeat",
         "prompt_tokens": 300, "completion_tokens": 12, "cost_micro": 1500,
         "started_at": 1_700_000_000_200, "ended_at": 1_700_000_000_900, "replayed": True,
         "replays": [{"seq": 1, "epoch": 2, "at": 1_700_000_001_000,
                      "note": "changed since: the model"}]},
        {"seq": 2, "epoch": 1, "name": "tool:mail", "state": "unknown", "rule": "ask",
         "input": "to anna"},
    ],
    "calls": [
        {"model": "qwen", "backend": "local", "prompt_tokens": 300, "cached_tokens": 200,
         "completion_tokens": 12, "cost_micro": 1500, "state": "unknown", "status": 0,
         "reserved_micro": 2000, "first_ms": 80, "total_ms": 700, "reason": "role main"},
    ],
    "reply": {"id": "r", "at": 1_700_000_003_000, "text": "half full"},
    "delivery": [{"channel": "cli", "state": "sent", "tries": 2, "note": "read by the asker"}],
    "cost": {"calls": 1, "prompt_tokens": 300, "cached_tokens": 200, "completion_tokens": 12,
             "cost_micro": 1500},
    "times": {"received_at": 1_700_000_000_000, "waited_ms": 100, "worked_ms": 2500},
}  # fmt: skip


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Stands where the reading of a stopped stead's database is, and says it was asked."""
    module = types.ModuleType("stead.app.offline")

    def why(home: Path, ident: str) -> dict[str, Any]:
        if ident != JOB:
            raise NotFound(what=f"job or message {ident!r}")
        return STORY

    module.__dict__.update(
        status=lambda home: {"home": str(home), "queue": {"queued": 3}},
        jobs=lambda home, **filters: {"jobs": [{**ROW, "text": filters}], "more": False},
        why=why,
    )
    monkeypatch.setitem(sys.modules, "stead.app.offline", module)
    monkeypatch.setattr(stead.app, "offline", module, raising=False)
    yield module


def test_status(run: Run, gateway: Gateway) -> None:
    """The status is words: what works, what not yet, model, nodes, jobs, money, replies."""
    gateway.answers["/api/v1/status"] = STATUS
    result = run("status")
    assert result.code == 0
    for words in (
        "stead 0.1.0", "http://127.0.0.1:7832", "messages are recorded", "backups",
        "loading qwen (40%)", "box is here, working on 2 jobs (gpu)",
        "nas is away, last seen 2023-11-1", "3 queued, 2 running, 1 dead",
        "the oldest has waited 1 min 5 s", "4 model calls, 900 tokens, $0.0123",
        "2 still to be delivered",
    ):  # fmt: skip
        assert words in result.out


def test_status_says_nothing_twice(run: Run, gateway: Gateway) -> None:
    """What the gateway's own sentences say of the model and the nodes is not said again."""
    model = {"phase": "ready", "words": "model qwen is ready"}
    works = ["model qwen is ready", "node box is connected"]
    nodes = [{"name": "box", "alive": True}]
    gateway.answers["/api/v1/status"] = {"works": works, "model": model, "nodes": nodes}
    out = run("status").out
    assert out.count("qwen") == out.count("box") == 1


def test_status_of_a_bare_gateway(run: Run, gateway: Gateway) -> None:
    """What a gateway leaves out is left out, and breaks nothing."""
    gateway.answers["/api/v1/status"] = {"ok": True}
    assert run("status").code == 0


def test_status_json(run: Run, gateway: Gateway) -> None:
    """--json is what the gateway says, untouched, even when it comes in chunks."""
    gateway.answers["/api/v1/status"] = STATUS
    gateway.chunked = True
    assert json.loads(run("status", "--json").out) == STATUS


def test_status_when_down(run: Run, offline: types.ModuleType) -> None:
    """A gateway that is down is said to be, and the home directory is read; exit code 3."""
    result = run("status")
    assert result.code == 3
    assert "cannot be reached" in result.out
    assert "3 queued" in result.out
    data = json.loads(run("status", "--json").out)
    assert "cannot be reached" in data["gateway_error"]


def test_something_else_listens(run: Run, gateway: Gateway, home: Path) -> None:
    """A page of another program on our port is told from stead."""
    gateway.answers["/api/v1/status"] = (500, ["not", "ours"])
    result = run("status")
    assert (result.code, result.out) == (1, "")
    assert "500" in result.err


def test_jobs(run: Run, gateway: Gateway) -> None:
    """Jobs are a table; filters are passed on; more is announced with the way to it; what a job
    died of is told in full."""
    gateway.answers["/api/v1/jobs"] = {"jobs": [ROW], "more": True}
    result = run("jobs", "--state", "dead", "--lane", "chat", "-n", "5")
    assert result.code == 0
    head, row, told, more = result.out.splitlines()
    assert head.split() == ["ID", "STATE", "LANE", "WAITED", "WORKED", "NODE", "TEXT"]
    assert row.split()[:3] == ["000000a1", "dead", "chat"]
    assert "the model is gone" in row and told == "000000a1: the model is gone"
    assert f"--before {JOB}" in more
    assert gateway.asked("GET", "/api/v1/jobs") == [{"state": "dead", "lane": "chat", "limit": "5"}]


def test_jobs_when_down(run: Run, offline: types.ModuleType) -> None:
    """With the gateway down jobs are read from the home directory, with the same filters."""
    result = run("jobs", "--state", "dead", "--json")
    assert result.code == 3
    assert json.loads(result.out)["jobs"][0]["text"] == {"limit": 20, "state": "dead"}
    assert "From the home directory" in result.err


@pytest.mark.parametrize(
    ("args", "verb", "body"),
    [
        (("cancel", "000000a1"), "cancel", {}),
        (("retry", "000000a1"), "retry", {}),
        (("answer", "000000a1", "done"), "answer", {"answer": "done"}),
    ],
)
def test_act_on_a_job(
    run: Run, gateway: Gateway, args: tuple[str, ...], verb: str, body: object
) -> None:
    """A job is cancelled, retried or answered by the piece of its id that lists show."""
    path = f"/api/v1/jobs/000000a1/{verb}"
    gateway.answers[path] = {"job_id": JOB, "state": "queued"}
    result = run("jobs", *args)
    assert (result.code, result.out) == (0, "000000a1 is queued now.\n")
    assert gateway.asked("POST", path) == [body]


def test_cancel_of_a_running_job(run: Run, gateway: Gateway) -> None:
    """A running job is only asked to stop, and that is what is said."""
    answer = {"job_id": JOB, "state": "running", "asked": True}
    gateway.answers[f"/api/v1/jobs/{JOB}/cancel"] = answer
    assert run("jobs", "cancel", JOB).out == "000000a1 was asked to stop.\n"


def test_refused_act(run: Run, gateway: Gateway) -> None:
    """What the gateway refuses is passed on in its words, exit code 1."""
    error = {"error": {"message": f"Job {JOB} is done; that cannot be done to it now."}}
    gateway.answers[f"/api/v1/jobs/{JOB}/retry"] = (409, error)
    result = run("jobs", "retry", JOB)
    assert result.code == 1
    assert result.err == f"Job {JOB} is done; that cannot be done to it now.\n"


def test_why(run: Run, gateway: Gateway) -> None:
    """The story names rule, claims, what was replayed, what is unknown, cost, delivery."""
    gateway.answers["/api/v1/why/000000a1"] = STORY
    result = run("why", "000000a1")
    assert result.code == 0
    for words in (
        "how full is the disk?", "sent to a node by the rule “everything else”, lane chat",
        "needs a node with: gpu", "the model is gone", "waited 0.1 s, worked 2.5 s",
        "failures reported: 3 of 3, workers lost: 1 of 5",
        "1. claimed by box at 2023-11-1", "crashed after 1.0 s (lease ran out)",
        "2. claimed by box", "under way",
        "1. model:main: done (attempt 1, 0.7 s), 312 tokens, $0.0015",
        "replayed by attempt 2",
        "attempt 2 found it different: changed since: the model",
        "whether it happened is not known", "ask the owner",
        "300 tokens in (200 from cache), 12 out", "reserved $0.0020", "half full",
        "delivery by cli: sent, tried 2 times (read by the asker)",
        "$0.0015 in 1 model call",
    ):  # fmt: skip
        assert words in result.out


def test_discarded_attempts(run: Run, gateway: Gateway) -> None:
    """What a node brought back too late is told in short by the story, and in full when asked."""
    long = "first line\n" + "x" * 400
    parts = [
        {"what": "step", "seq": 2, "name": "tool:mail", "state": "done", "text": "sent"},
        {"what": "end", "outcome": "done", "text": long, "left_out": 7},
    ]
    lost = {**STORY["attempts"][0], "discarded_at": 1_700_000_009_000, "discarded": parts}
    steps = [STORY["steps"][0], {**STORY["steps"][1], "came_late": True}]
    gateway.answers["/api/v1/why/000000a1"] = {**STORY, "attempts": [lost], "steps": steps}
    told = run("why", "000000a1").out
    assert "box came back at 2023-11-1" in told and "none of it was used" in told
    assert "step 2 (tool:mail): done" in told and "came too late" in told
    assert "stead why --attempts" in told and "x" * 400 not in told
    found = {"job_id": JOB, "state": "done", "attempts": [lost]}
    gateway.answers[f"/api/v1/jobs/{JOB}/attempts"] = found
    for command in (("why", "--attempts", JOB), ("jobs", "show", JOB)):
        told = run(*command).out
        assert "x" * 400 in told and "7 characters more were not kept" in told
        assert json.loads(run(*command, "--json").out) == found


def test_why_of_nothing(run: Run, offline: types.ModuleType) -> None:
    """An id that nobody knows is one sentence, exit code 1, gateway or not."""
    result = run("why", "ffffffff")
    assert result.code == 1
    assert result.err.endswith("There is no job or message 'ffffffff'.\n")


def test_why_when_down(run: Run, offline: types.ModuleType) -> None:
    """The story can be read with the gateway down."""
    result = run("why", JOB)
    assert result.code == 3
    assert "how full is the disk?" in result.out


def test_where_lists_everything(run: Run, home: Path) -> None:
    """`where` alone names every place of the home directory."""
    result = run("where")
    assert result.code == 0
    for place in PLACES:
        assert str(home / place.path) in result.out


@pytest.mark.parametrize(
    ("thing", "path"),
    [
        ("settings", "stead.toml"),
        ("state.db", "state.db"),
        ("state.db-wal", "state.db"),
        ("job", "state.db"),
        ("logs/", "logs/"),
        ("memory/2026-11-21.md", "memory/2026-11-21.md"),
        ("daily log", "memory/"),
    ],
)
def test_where_of_a_thing(run: Run, home: Path, thing: str, path: str) -> None:
    """A file, a folder, a file within one, or an everyday word leads to its place."""
    result = run("where", *thing.split(" "), "--json")
    assert json.loads(result.out)[0]["path"] == str(home / path)


def test_where_of_nothing(run: Run) -> None:
    """A thing that is not here names the nearest that is."""
    result = run("where", "setings")
    assert result.code == 1
    assert "did you mean 'settings'" in result.err


def log_line(part: str, second: int, level: str = "info", msg: str = "m") -> str:
    return json.dumps({"at": f"2026-11-21T10:00:{second:02d}.000Z", "level": level, "msg": msg})


def test_logs_are_merged(run: Run, home: Path) -> None:
    """The newest lines of all parts come in the order of time, filtered by level."""
    rows = [("gateway", 1, "info", "one"), ("node", 2, "error", "two"), ("gateway", 3, "info", "3")]
    for part, second, level, msg in rows:
        with (home / "logs" / f"{part}.jsonl").open("a") as file:
            file.write(log_line(part, second, level, msg) + "\n")
    shown = [json.loads(line) for line in run("logs", "--json", "-n", "2").out.splitlines()]
    assert [(line["part"], line["msg"]) for line in shown] == [("node", "two"), ("gateway", "3")]
    assert run("logs", "--level", "error").out.count("\n") == 1
    assert "one" in run("logs", "--part", "gateway").out


def test_logs_of_nothing(run: Run) -> None:
    """No logs yet is said, not an error."""
    result = run("logs")
    assert result.code == 0
    assert "Nothing was logged" in result.err


def test_logs_that_are_not_json(run: Run, home: Path) -> None:
    """A line that is not JSON (of a crash) is shown as it is."""
    (home / "logs" / "node.jsonl").write_text("Fatal Python error\n")
    assert "Fatal Python error" in run("logs").out


def test_last_lines_reach_into_older_files(home: Path) -> None:
    """When the newest file is short, the rest comes from the one turned over before it."""
    path = home / "logs" / "node.jsonl"
    path.with_name("node.jsonl.1").write_text("".join(log_line("n", s) + "\n" for s in range(3)))
    path.write_text(log_line("n", 3) + "\n")
    assert [line.at[17:19] for line in last_lines(path, "node", 3)] == ["01", "02", "03"]


def test_following_goes_on_through_a_turn(home: Path) -> None:
    """Lines written before and after a log file is turned over are all seen, once."""
    setup(home / "logs", "node", max_mb=0.0005, keep=200)
    path = home / "logs" / "node.jsonl"
    tail = Tail(path, "node")
    tail.skip()
    seen: list[str] = []
    try:
        for number in range(100):
            logging.getLogger("t").info("line %d", number)
            seen += [str(line.data["msg"]) for line in tail.read()]
    finally:
        logging.getLogger().handlers.clear()
    assert path.with_name("node.jsonl.1").exists()
    assert seen == [f"line {number}" for number in range(100)]
