"""Streams over restarts: who watches an answer being written misses nothing of it and sees nothing
twice, whichever process is killed or restarted under it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.story.house import House

#: A beginning, a tool, and more words at some pace.
WORDS = " ".join(f"word{n}" for n in range(60))


class Follower:
    """A client of `/api/v1/jobs/ID/events` as a browser is one: it comes back with its last id."""

    def __init__(self, house: House, job_id: str) -> None:
        self.text = ""
        self.resets = 0
        self.connections = 0
        self.ids: list[str] = []
        self.end: dict[str, Any] | None = None
        self.retry = False
        self._house = house
        self._path = f"/api/v1/jobs/{job_id}/events"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self, most_s: float = 60.0) -> None:
        self._thread.join(most_s)
        assert self.end is not None, self._house.output()

    def _run(self) -> None:
        until = time.monotonic() + 60
        while self.end is None and time.monotonic() < until:
            try:
                self._once()
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)

    def _once(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._house.port, timeout=20)
        headers = {"Authorization": f"Bearer {self._house.key}"}
        if self.ids:
            headers["Last-Event-ID"] = self.ids[-1]
        connection.request("GET", self._path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        self.connections += 1
        event: dict[str, str] = {}
        for raw in answer:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "retry":
                self.retry = True
            elif name:
                event[name] = value
            elif "data" in event:
                self._take(event)
                event = {}

    def _take(self, event: dict[str, str]) -> None:
        data = json.loads(event["data"])
        if event["event"] == "end":
            self.end = data
            return
        self.ids.append(event["id"])
        if event["event"] == "token":
            self.text += data["text"]
        elif event["event"] == "reset":
            self.resets += 1
            self.text = ""


def _stopping(house: House) -> bool:
    """It says so: no answer may also come of a busy machine."""
    try:
        return "stopping" in str(house.call("GET", "/readyz", key="")[1])
    except OSError:
        return False


def _begun(follower: Follower) -> bool:
    return "word3" in follower.text


@pytest.mark.parametrize("victim", ["gateway", "node", "both", "model"])
def test_killed_under_a_stream(house: House, victim: str) -> None:
    """kill -9 of the gateway, the node or both in mid-answer: each client comes back with its last
    id and in the end has the text of the answer, each character once."""
    house.all_up()
    job_id = house.say(f"[[slow 25]] [[tool clock {{}}]] [[say {WORDS}]] tell me")
    first = Follower(house, job_id)
    house.until(lambda: _begun(first), 20, "the beginning")
    names = ("gateway", "node") if victim == "both" else (victim,)
    for name in names:
        house.kill(name)
    house.start(*names)
    house.until(house.ready, 20, "the gateway")
    late = Follower(house, job_id)
    for follower in (first, late):
        follower.join()
        assert follower.text == WORDS
        assert follower.end is not None and follower.end["text"] == WORDS
    assert (first.resets > 0) or victim == "gateway"
    assert first.connections >= (2 if victim in ("gateway", "both") else 1)
    after = Follower(house, job_id)  # all is over: the record has it
    after.join()
    assert after.text == WORDS


def test_a_gateway_killed_while_a_tool_runs(house: House) -> None:
    """What was said before a long tool is there again for who comes, though the node has nothing
    new to say; nothing begins anew, since the attempt lives on."""
    house.all_up()
    job_id = house.say(
        "[[say I am looking.]] [[first 2500]] [[tool clock {}]] [[say Found it.]] go"
    )
    house.until(
        lambda: house.rows("SELECT 1 FROM job WHERE state = 'running'"), 20, "the job to run"
    )
    first = Follower(house, job_id)
    house.kill("gateway")
    house.start("gateway")
    house.until(house.ready, 20, "the gateway")
    first.join()
    assert first.end is not None and first.text == first.end["text"]


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
@pytest.mark.parametrize("victim", ["gateway", "node"])
def test_an_asker_prints_nothing_twice(house: House, victim: str, stream: str) -> None:
    """`stead ask` goes on by itself when a process is killed or restarted under it, twice."""
    house.all_up()
    question = f"[[slow 30]] [[say {WORDS}]] tell me"
    out = house.home / "answer.txt"
    with out.open("wb") as file, (house.home / "asker.out").open("wb") as notes:
        asker = subprocess.Popen(
            [sys.executable, "-m", "stead", "--home", str(house.home), "ask", stream, question],
            stdin=subprocess.DEVNULL, stdout=file, stderr=notes,
        )  # fmt: skip
    house.until(lambda: house.rows("SELECT 1 FROM job WHERE state = 'running'"), 20, "the job")
    if stream == "--stream":
        house.until(lambda: "word2" in out.read_text(), 20, "the beginning")
    house.kill(victim)
    house.start(victim)
    house.until(house.whole, 20, "all")
    house.stop(victim)
    house.start(victim)
    assert asker.wait(60) == 0, house.output()
    assert out.read_text() == WORDS + "\n"


def test_a_planned_restart_lets_answers_end(house: House) -> None:
    """SIGTERM while answers are being streamed: those that end in time are whole, for clients of
    the API too, by the agent or straight from a model; no job is begun meanwhile, and messages are
    still taken."""
    house.all_up()
    answers: dict[str, str] = {}
    plain = next(model["id"] for model in house.get("/v1/models")["data"] if model["id"] != "stead")

    def openai(model: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=60)
        said = [{"role": "user", "content": f"[[slow 40]] [[say {WORDS}]] hi"}]
        body = {"model": model, "stream": True, "metadata": {"session": "api"}, "messages": said}
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body),
            {"Authorization": f"Bearer {house.key}", "Content-Type": "application/json"},
        )  # fmt: skip
        answers[model] = connection.getresponse().read().decode()

    clients = [
        threading.Thread(target=openai, args=(one,), daemon=True) for one in ("stead", plain)
    ]
    for client in clients:
        client.start()
    job_id = house.say(f"[[slow 40]] [[say {WORDS}]] tell me", session="other")
    follower = Follower(house, job_id)
    house.until(lambda: _begun(follower), 20, "the beginning")
    gateway = house.parts["gateway"]
    gateway.send_signal(signal.SIGTERM)
    house.until(lambda: _stopping(house), 10, "the stop to begin")
    later = house.say("[[say Later.]] one more", session="third")
    status, refused = house.call(
        "POST", "/v1/chat/completions",
        {"model": "stead", "messages": [{"role": "user", "content": "too late"}]},
    )  # fmt: skip
    assert (status, refused["error"]["code"]) == (503, "stopping")
    for client in clients:
        client.join(30)
    assert gateway.wait(20) == 0
    for told in (answers["stead"], answers[plain]):
        assert told.rstrip().endswith("data: [DONE]"), told[-500:]
        chunks = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: {")]
        pieces = [choice["delta"].get("content") for one in chunks for choice in one["choices"]]
        assert "".join(piece or "" for piece in pieces) == WORDS
    assert not house.rows("SELECT 1 FROM message WHERE text = 'too late'")
    assert follower.connections == 1
    follower.join()
    assert (follower.text, follower.resets) == (WORDS, 0)
    assert house.rows("SELECT epoch FROM job WHERE id = ?", later) == [(0,)]
    house.start("gateway")
    house.until(house.ready, 20, "the gateway")
    assert house.ended(later)["reply"]["text"] == "Later."
    assert house.rows("SELECT max(epoch), max(tries) FROM job") == [(1, 0)]


def test_a_planned_restart_of_a_long_answer(tmp_path: Path) -> None:
    """What does not end in time is handed over: its watchers are told to come back, the client of
    the API gets an error and no end that looks whole, and the answer is there after the restart."""
    house = House(tmp_path / "home", more="[gateway]\ndrain_s = 0.5\n")
    try:
        house.all_up()
        job_id = house.say(f"[[slow 60]] [[say {WORDS}]] tell me")
        follower = Follower(house, job_id)
        house.until(lambda: _begun(follower), 20, "the beginning")
        began = time.monotonic()
        assert house.stop("gateway") == 0
        assert time.monotonic() - began < 10
        assert follower.retry
        house.start("gateway")
        follower.join()
        assert follower.text == WORDS
        assert house.rows("SELECT tries FROM job") == [(0,)]
    finally:
        house.close()
