"""Messages that come in by a webhook and whose replies are pushed out: with a real receiver that
fails in every way, and with the gateway killed between sending and the mark."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stead.core.keys import ensure_key
from tests.receiver import Answer, Got, Receiver, receiving
from tests.story.house import House, free_port

CHANNEL = """
[[channel]]
kind = "webhook"
name = "home"
url = "http://127.0.0.1:{port}/replies"
timeout_s = {timeout_s}
dedupes = {dedupes}
ambiguous = "{rule}"
"""


class Home:
    """A house with a webhook channel, and its receiver."""

    def __init__(self, house: House, receiver: Receiver) -> None:
        self.house = house
        self.receiver = receiver

    def post(self, text: str, ident: str = "", **more: Any) -> Any:
        """A message by the channel; what it was answered."""
        body = {"text": text, "mark": "light", **more}
        if ident:
            body["external_id"] = ident
        status, answer = self.house.call(
            "POST", "/channel/home", body, key=self.receiver.secret, headers={}
        )
        assert status == 202, (status, answer)
        return answer

    def rows(self) -> list[dict[str, Any]]:
        """All deliveries, oldest first."""
        found: list[dict[str, Any]] = []
        for state in ("", "sent", "left", "dropped"):
            page = self.house.get(f"/api/v1/outbox?limit=500&state={state}")
            found += page["deliveries"]
        return sorted(found, key=lambda row: int(row["id"]))

    def settled(self, count: int) -> list[dict[str, Any]]:
        def over() -> Any:
            rows = self.rows()
            open_ = [row for row in rows if row["state"] in ("pending", "sending")]
            return rows if len(rows) >= count and not open_ else None

        return list(self.house.until(over, 60, f"{count} deliveries"))


@contextmanager
def home_in(
    folder: Path, *, dedupes: bool = True, rule: str = "send again", timeout_s: float = 5.0
) -> Iterator[Home]:
    """A house that is up, with a receiver."""
    port = free_port()
    more = CHANNEL.format(port=port, dedupes=str(dedupes).lower(), rule=rule, timeout_s=timeout_s)
    house = House(folder / "home", more=more)
    secret = ensure_key(house.home / "secrets" / "home.whsec", "webhook")
    try:
        with receiving(secret, port) as receiver:
            house.start("gateway", "model")
            house.until(lambda: house.ready() and house.get("/api/v1/status")["model"]["ready"],
                        30, "gateway and model")  # fmt: skip
            yield Home(house, receiver)
    finally:
        house.close()


def test_there_and_back(tmp_path: Path) -> None:
    """A message comes in by POST, its reply goes out signed, the story shows both; the same
    message again is the same one, and a wrong secret is told nothing."""
    with home_in(tmp_path) as home:
        first = home.post("[[say It is noon.]] what time is it?", "their-1", session="kitchen")
        home.settled(1)
        again = home.post("[[say Something else.]] what time is it?", "their-1")
        assert again["duplicate"] and again["job_id"] == first["job_id"]
        (got,) = home.receiver.requests
        assert (got.text, got.session) == ("It is noon.", "kitchen")
        assert got.body["data"]["in_reply_to"] == "their-1"
        story = home.house.story(first["job_id"])
        assert story["message"]["channel"] == "home"
        assert [row["state"] for row in story["delivery"]] == ["sent"]
        status, body = home.house.call("POST", "/channel/home", {"text": "x"}, key="whsec_wrong")
        assert status == 401 and "message_id" not in body
        assert home.house.call("POST", "/channel/other", {"text": "x"})[0] == 404
        assert (
            home.house.call("POST", "/channel/home", {"text": ""}, key=home.receiver.secret)[0]
            == 400
        )
        told = home.house.cli("outbox", "channels")
        assert told.returncode == 0 and "home" in told.stdout and "ok" in told.stdout


@pytest.mark.parametrize("dedupes", [True, False])
def test_killed_between_sending_and_the_mark(tmp_path: Path, dedupes: bool) -> None:
    """kill -9 while the receiver has the reply and we have not its answer: it goes out again,
    under the same key; a receiver that drops doubles has it exactly once, and the story of
    another says that there may be two."""
    with home_in(tmp_path, dedupes=dedupes, timeout_s=30) as home:
        held = {"is": True}

        def late(got: Got, nth: int) -> Answer:
            if nth == 1 and held["is"]:
                home.receiver.keep(got)  # taken, but we are never told
                return Answer(late_s=3.0, keep=False)
            return Answer()

        home.receiver.answer = late
        job = home.post("[[say Once.]] tell me")["job_id"]
        home.house.until(lambda: home.receiver.requests, 20, "the reply to arrive")
        home.house.kill("gateway")
        held["is"] = False
        shown = home.house.cli("outbox", "--json")
        assert shown.returncode == 3 and '"sending"' in shown.stdout
        home.house.start("gateway")
        home.house.until(home.house.ready, 20, "the gateway")
        (row,) = home.settled(1)
        assert row["state"] == "sent" and row["doubts"] == 1
        assert home.receiver.copies["Once."] == 2
        assert len({got.key for got in home.receiver.requests}) == 1
        assert home.receiver.texts == ["Once."]
        (told,) = home.house.story(job)["delivery"]
        assert ("may have arrived before" in told["note"]) is not dedupes


@pytest.mark.parametrize("rule", ["leave", "ask"])
def test_the_owner_decides_about_a_doubt(tmp_path: Path, rule: str) -> None:
    """A receiver that hangs up without an answer: by the owner's rule the reply is left, or
    waits for his word; it is shown everywhere, and holds up nobody."""
    with home_in(tmp_path, dedupes=False, rule=rule) as home:
        home.receiver.answer = lambda got, nth: (
            Answer(cut="before", keep=False) if got.text == "Doubtful." and nth == 1 else Answer()
        )
        job = home.post("[[say Doubtful.]] one")["job_id"]
        home.post("[[say Clear.]] two")
        first, second = home.settled(2)
        assert (first["state"], second["state"]) == (
            {"leave": "left", "ask": "ambiguous"}[rule], "sent",
        )  # fmt: skip
        why = home.house.cli("why", job[-8:]).stdout
        assert "closed the connection" in why and "in doubt" in why
        if rule == "ask":
            status = home.house.cli("status").stdout
            assert "1 replies may or may not have arrived" in status
            assert "may or may not" in home.house.cli("outbox", "show", str(first["id"])).stdout
            refused = home.house.cli("outbox", "settle", str(second["id"]), "--again")
            assert refused.returncode == 1 and "sent" in refused.stderr
        done = home.house.cli("outbox", "settle", str(first["id"]), "--again")
        assert done.returncode == 0, done.stderr
        assert {row["state"] for row in home.settled(2)} == {"sent"}
        assert home.receiver.texts == ["Clear.", "Doubtful."]


def test_every_kind_of_bad_luck(tmp_path: Path) -> None:
    """Late, 500, 429 with Retry-After, hung up, refused for good: everything else arrives once,
    each conversation in its order, and what was refused is shown and holds up nobody."""
    luck = [
        Answer(500, keep=False), Answer(429, {"Retry-After": "1"}, keep=False), Answer(cut="half"),
        Answer(cut="before"), Answer(late_s=1.5), Answer(503, keep=False), Answer(),
    ]  # fmt: skip

    def answer(got: Got, nth: int) -> Answer:
        if got.text == "bad":
            return Answer(422, body=b"not like this", keep=False)
        number = int(got.text.rsplit("-", 1)[1])
        return luck[number % len(luck)] if nth == 1 else Answer()

    with home_in(tmp_path, timeout_s=1.0) as home:
        home.receiver.answer = answer
        for number in range(6):
            for room in ("attic", "cellar"):
                home.post(f"[[say {room}-{number}]] go", session=room)
                if number == 2:
                    home.post("[[say bad]] go", session=room)
        rows = home.settled(14)
        assert [row["state"] for row in rows if row["text"] == "bad"] == ["failed", "failed"]
        assert {row["state"] for row in rows if row["text"] != "bad"} == {"sent"}
        for room in ("attic", "cellar"):
            mine = [text for text in home.receiver.texts if text.startswith(room)]
            assert mine == [f"{room}-{number}" for number in range(6)]
        by_key: dict[str, list[float]] = {}
        for got in home.receiver.requests:
            if got.text.endswith("-1"):
                by_key.setdefault(got.key, []).append(got.at)
        for first, second in by_key.values():
            assert second - first >= 1.0  # as it asked to be left alone
        failed = home.house.cli("outbox", "list", "--state", "failed").stdout
        assert failed.count("not like this") == 2


def test_a_dead_receiver_comes_back(tmp_path: Path) -> None:
    """While nobody listens replies wait, `status` says since when and why; paused, they go on
    waiting; resumed, all arrive in order."""
    with home_in(tmp_path) as home:
        port, secret = home.receiver.port, home.receiver.secret
        home.receiver.close()
        for number in range(5):
            home.post(f"[[say {number}]] go")
        home.house.until(lambda: "home is away" in home.house.cli("status").stdout, 20, "the words")
        assert "nothing listens" in home.house.cli("status").stdout
        assert home.house.cli("outbox", "pause", "home").returncode == 0
        home.house.kill("gateway")
        home.house.start("gateway")
        home.house.until(home.house.ready, 20, "the gateway")
        with receiving(secret, port) as back:
            home.house.until(lambda: len(home.rows()) == 5, 30, "all to be answered")
            time.sleep(0.3)
            assert back.requests == []
            assert "paused" in home.house.cli("status").stdout
            assert home.house.cli("outbox", "resume", "home").returncode == 0
            home.settled(5)
            assert back.texts == [str(number) for number in range(5)]
            assert home.house.cli("outbox", "pause", "nowhere").returncode == 1


def test_a_planned_stop_sends_to_the_end(tmp_path: Path) -> None:
    """SIGTERM while the receiver thinks: the reply is seen to its end, and is not sent again."""
    with home_in(tmp_path, dedupes=False) as home:
        home.receiver.answer = lambda got, nth: Answer(late_s=1.0)
        home.post("[[say Slowly.]] go")
        home.house.until(lambda: home.receiver.requests, 20, "the reply to arrive")
        assert home.house.stop("gateway") == 0
        home.house.start("gateway")
        home.house.until(home.house.ready, 20, "the gateway")
        (row,) = home.settled(1)
        assert (row["state"], row["doubts"], home.receiver.copies["Slowly."]) == ("sent", 0, 1)


def test_the_receiver_of_the_documentation(tmp_path: Path) -> None:
    """It checks signatures and keeps each reply once, over its own restart."""
    port = free_port()
    more = CHANNEL.format(port=port, dedupes="true", rule="send again", timeout_s=5)
    house = House(tmp_path / "home", more=more)
    secret = house.home / "secrets" / "home.whsec"
    ensure_key(secret, "webhook")
    script = Path(__file__).parents[2] / "docs" / "examples" / "webhook_receiver.py"
    kept = tmp_path / "replies.jsonl"

    def serve() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(script), str(secret), str(port), str(kept)],
            stdout=subprocess.DEVNULL,
        )

    receiver = serve()
    try:
        house.start("gateway", "model")
        house.until(lambda: house.ready() and house.get("/api/v1/status")["model"]["ready"], 30,
                    "gateway and model")  # fmt: skip
        home = Home(house, Receiver.__new__(Receiver))
        home.receiver.secret = secret.read_text().strip()
        home.post("[[say One.]] go")
        home.settled(1)
        receiver.kill()
        receiver.wait()
        receiver = serve()
        home.post("[[say Two.]] go")
        home.settled(2)
        assert [line.count("One.") + 2 * line.count("Two.") for line in
                kept.read_text().splitlines()] == [1, 2]  # fmt: skip
    finally:
        house.close()
        receiver.kill()
        receiver.wait()
