"""`stead ask` against a server that speaks the gateway's API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead.cli import follow as follow_module
from stead.cli.api import Api
from stead.cli.follow import End, Heard, follow, send
from stead.config import find
from stead.core.errors import GatewayAway
from tests.unit.cli.conftest import Run
from tests.unit.cli.gateway import CUT, JOB, Gateway

END = {
    "state": "done",
    "text": "Hello, world",
    "waited_ms": 12,
    "worked_ms": 3100,
    "usage": {"prompt_tokens": 400, "completion_tokens": 12, "cost_micro": 1500},
    "job_id": JOB,
}


def token(text: str) -> tuple[str, dict[str, str]]:
    return ("token", {"text": text})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(follow_module, "_PAUSES_S", (0.0,))
    yield


def test_whole_answer_in_a_pipe(run: Run, gateway: Gateway) -> None:
    """Into a pipe goes the answer and nothing else; what it waits for goes to stderr."""
    gateway.events = [token("Hello"), ("note", {"text": "loading"}), token(", wor"), ("end", END)]
    result = run("ask", "hi", "there")
    assert (result.code, result.out, result.err) == (0, "Hello, world\n", "[loading]\n")
    assert list(gateway.messages.values()) == ["hi there"]


def test_streamed_answer_is_completed(run: Run, gateway: Gateway) -> None:
    """A streamed answer ends as what the gateway recorded, though tokens were missed."""
    gateway.events = [token("Hello"), token(", wor"), ("end", END)]
    assert run("ask", "--stream", "hi").out == "Hello, world\n"


def test_streamed_answer_starts_again(run: Run, gateway: Gateway) -> None:
    """When a worker dies and the answer begins anew, nothing of it is printed twice."""
    gateway.events = [
        token("Hell"),
        ("reset", {"text": "lost"}),
        token("He"),
        token("llo"),
        ("reset", {"text": "lost"}),
        token("Hello, world"),
        ("end", END),
    ]
    assert run("ask", "--stream", "hi").out == "Hello, world\n"


def test_another_answer(run: Run, gateway: Gateway) -> None:
    """An answer that begins anew and is another one is printed whole, on a line of its own."""
    gateway.events = [
        token("Good mor"),
        ("reset", {"text": "lost"}),
        token("Hell"),
        token("o, world"),
        ("end", END),
    ]
    assert run("ask", "--stream", "hi").out == "Good mor\nHello, world\n"


def test_a_shorter_answer(run: Run, gateway: Gateway) -> None:
    """One that turns out to be shorter than what stands there is another one too."""
    gateway.events = [
        token("Hello, world and all"), ("reset", {"text": "lost"}), token("Hello, world"),
        ("end", END),
    ]  # fmt: skip
    assert run("ask", "--stream", "hi").out == "Hello, world and all\nHello, world\n"


def test_lost_connection_goes_on(run: Run, gateway: Gateway) -> None:
    """A stream that breaks is taken up after the last event; the question is not asked again."""
    gateway.events = [token("Hello"), CUT, token(", wor"), CUT, token("ld"), ("end", END)]
    result = run("ask", "--stream", "hi")
    assert (result.code, result.out) == (0, "Hello, world\n")
    assert gateway.last_ids == ["", "1", "3"]
    assert len(gateway.messages) == 1


def test_broken_post_is_the_same_message(run: Run, gateway: Gateway) -> None:
    """A message whose receipt was lost is sent again under the same id: one message."""
    gateway.cut_posts = 2
    gateway.events = [("end", END)]
    assert run("ask", "hi").code == 0
    assert len(gateway.asked("POST", "/api/v1/messages")) == 3
    assert len(gateway.messages) == 1


def test_json(run: Run, gateway: Gateway) -> None:
    """--json prints one document with the answer, the ids, the route and what it used."""
    gateway.events = [token("Hello"), ("end", END)]
    data = json.loads(run("ask", "--json", "--session", "s", "--light", "hi").out)
    assert data["text"] == "Hello, world"
    assert data["job_id"] == JOB
    assert data["route"] == {"to": "node", "rule": "everything else"}
    assert data["usage"]["cost_micro"] == 1500
    body = gateway.asked("POST", "/api/v1/messages")[0]
    assert (body["session"], body["mark"], body["channel"]) == ("s", "light", "cli")


def test_dead_job(run: Run, gateway: Gateway) -> None:
    """A job that died gives exit code 1, its error, and the way to its story."""
    gateway.events = [("end", {"state": "dead", "error": "the model is gone", "job_id": JOB})]
    result = run("ask", "hi")
    assert (result.code, result.out) == (1, "")
    assert "the model is gone" in result.err
    assert "stead why 000000a1" in result.err


def test_waiting_job(run: Run, gateway: Gateway) -> None:
    """A job that waits for the owner says for what, and how to answer."""
    gateway.events = [("end", {"state": "waiting", "waiting_for": "Repeat it?", "job_id": JOB})]
    result = run("ask", "hi")
    assert result.code == 1
    assert "Repeat it?" in result.err
    assert "stead jobs answer 000000a1" in result.err


def test_wrong_key(run: Run, gateway: Gateway, home: Path) -> None:
    """A refused key is one sentence and exit code 1."""
    (home / "secrets" / "owner.key").write_text("so_wrong\n")
    result = run("ask", "hi")
    assert (result.code, result.err) == (1, "That key is not known here.\n")


def test_gateway_down(run: Run) -> None:
    """No gateway: exit code 3 at once, with the address."""
    result = run("ask", "hi")
    assert result.code == 3
    assert "http://127.0.0.1:1" in result.err


def test_never_started(run: Run, home: Path) -> None:
    """A home that was never started says how to start it."""
    (home / "secrets" / "owner.key").unlink()
    result = run("ask", "hi")
    assert result.code == 3
    assert "stead up" in result.err


def test_gone_for_good(gateway: Gateway, home: Path) -> None:
    """A gateway that stays away is given up in time, saying that the message is recorded."""
    api = Api(find(home), url="http://127.0.0.1:1")
    with pytest.raises(GatewayAway, match=r"recorded.*stead why 000000a1"):
        list(follow(api, JOB, patience_s=0.0))


def test_a_stream_without_end_is_asked_again(gateway: Gateway, home: Path) -> None:
    """A stream that closes in good order but without an end is no end: it is read on."""
    gateway.events = [token("a")]
    api = Api(find(home))

    def sleep(seconds: float) -> None:
        gateway.events.append(("end", END))

    sent = send(api, "hi")
    heard = list(follow(api, sent.job_id, sleep=sleep))
    assert heard[0] == Heard("token", "a")
    assert isinstance(heard[1], End)
    assert gateway.last_ids == ["", "1"]


@pytest.mark.parametrize(
    ("words", "piped", "text"),
    [
        (["-"], "from the pipe\n", "from the pipe"),
        ([], "from the pipe\n", "from the pipe"),
        (["sum", "up:"], "a\nb\n", "sum up:\n\na\nb"),
        (["sum", "up:"], "", "sum up:"),
    ],
)
def test_pipe(gateway: Gateway, home: Path, words: list[str], piped: str, text: str) -> None:
    """Words and what is piped in become one message."""
    gateway.events = [("end", END)]
    done = subprocess.run(
        [sys.executable, "-m", "stead.cli.main", "ask", *words],
        input=piped, text=True, capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Hello, world\n"), done.stderr
    assert list(gateway.messages.values()) == [text]


def test_nothing_to_ask(run: Run) -> None:
    """An empty pipe is misuse: exit code 2 and nothing is sent."""
    result = run("ask", stdin="  \n")
    assert result.code == 2
    assert "Nothing to ask" in result.err


def test_interrupt_cancels(gateway: Gateway, home: Path) -> None:
    """Ctrl-C while an answer comes asks the gateway to cancel the job; exit code 130."""
    gateway.answers[f"/api/v1/jobs/{JOB}/cancel"] = {"state": "cancelled"}
    gateway.events = [token("Hel")]  # and no end, so it would go on for ever
    process = subprocess.Popen(
        [sys.executable, "-m", "stead.cli.main", "ask", "--stream", "hi"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.read(3) == b"Hel"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert gateway.asked("POST", f"/api/v1/jobs/{JOB}/cancel") == [{}]
