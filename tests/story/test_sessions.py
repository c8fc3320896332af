"""A conversation watched from several places: each is told all that happens in it, once, whichever
process is killed under them; and what is said anew takes the place of what was said."""

from __future__ import annotations

import http.client
import json
import threading
import time
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from tests.story.house import House

WORDS = " ".join(f"word{n}" for n in range(60))


class Watcher:
    """A client of `/api/v1/sessions/ID/events` as a browser is one: it comes back with its last id,
    and builds up what it would show."""

    def __init__(self, house: House, session: str, query: str = "after=0") -> None:
        self.seqs: list[int] = []
        self.messages: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        """Of each job, as far as it was told."""
        self.connections = 0
        self.broken = ""
        self._last = ""
        self._house = house
        self._path = f"/api/v1/sessions/{quote(session, safe='')}/events?{query}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def said(self, role: str = "") -> list[str]:
        return [one["text"] for one in list(self.messages) if role in ("", one["role"])]

    def is_at_the_end(self, text: str) -> bool:
        """Whether it has this answer, and knows that nothing runs."""
        return text in self.said("assistant") and self.states[-1]["state"] == "idle"

    def close(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._once()
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
            except AssertionError as error:
                self.broken = str(error)
                return

    def _once(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._house.port, timeout=30)
        headers = {"Authorization": f"Bearer {self._house.key}"}
        if self._last:
            headers["Last-Event-ID"] = self._last
        connection.request("GET", self._path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        self.connections += 1
        event: dict[str, str] = {}
        for raw in answer:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if self._over.is_set():
                return
            if name:
                event[name] = value
            elif "data" in event:
                self._take(event)
                event = {}

    def _take(self, event: dict[str, str]) -> None:
        data = json.loads(event["data"])
        self._last = event.get("id", self._last)
        match event["event"]:
            case "message":
                self.seqs.append(data["seq"])
                self.messages.append(data)
            case "state":
                self.states.append(data)
            case "token":
                self.texts[data["job"]] = self.texts.get(data["job"], "") + data["text"]
            case "reset":
                self.texts[data["job"]] = ""
        told = self.texts.get(data.get("job", ""), "")
        assert not told.startswith("word") or WORDS.startswith(told), told


@pytest.mark.parametrize("victim", ["gateway", "both"])
def test_two_who_watch_while_it_is_killed(house: House, victim: str) -> None:
    """kill -9 of the gateway (and the node) in mid-answer: who watched, and who comes only then,
    have each message once and in order, and of the answer no character twice or too few."""
    house.all_up()
    first, second = Watcher(house, "main"), Watcher(house, "main", "after=0&read=1")
    job = house.say(f"[[slow 25]] [[say {WORDS}]] tell me", channel="page")
    house.until(lambda: "word3" in first.texts.get(job, ""), 20, "the beginning")
    for name in ("gateway", "node") if victim == "both" else ("gateway",):
        house.kill(name)
    house.start("gateway", *(["node"] if victim == "both" else []))
    house.until(house.ready, 20, "the gateway")
    late = Watcher(house, "main")
    for one in (first, second, late):
        house.until(partial(one.is_at_the_end, WORDS), 30, "the answer")
        assert not one.broken
        assert one.seqs == sorted(set(one.seqs)) and len(one.said("owner")) == 1
        one.close()
    assert first.connections > 1
    states = {one["state"] for one in first.states}
    assert "running" in states
    house.until(lambda: not house.rows("SELECT 1 FROM outbox WHERE state = 'pending'"), 20, "read")


def test_what_comes_by_other_ways_is_told(lived_in: House) -> None:
    """Words by any channel, a name, an end and the state are told to who watches, without being
    asked for; `after` leaves out what was there before; other conversations are not heard."""
    house = lived_in
    house.ended(house.say("[[say before]]", session="a/b c"))
    before = house.get("/api/v1/messages?session=a/b%20c")["messages"][-1]["seq"]
    watcher = Watcher(house, "a/b c", f"after={before}&most=5")
    house.ended(house.say("[[say elsewhere]]", session="other"))
    house.ended(house.say("[[say something long]] from the terminal", session="a/b c"))
    house.until(lambda: len(watcher.messages) == 2, 20, "both messages")
    assert watcher.said() == ["[[say", "somet"]
    assert watcher.messages[1]["length"] == len("something long")
    path = f"/api/v1/sessions/{quote('a/b c', safe='')}"
    assert house.call("POST", path, {"name": "The two"})[1]["title"] == "The two"
    house.until(lambda: watcher.states[-1]["title"] == "The two", 20, "the name")
    assert house.call("POST", f"{path}/end")[1]["state"] == "ended"
    house.until(lambda: watcher.states[-1]["state"] == "ended", 20, "the end")
    listed = house.get("/api/v1/sessions?like=two")["sessions"]
    assert [one["id"] for one in listed] == ["a/b c"]
    assert house.call("DELETE", path)[0] == 200
    assert house.get("/api/v1/sessions?like=two")["sessions"] == []
    watcher.close()


def test_said_anew_while_it_is_answered(lived_in: House) -> None:
    """An edit stops the answer to the old words and is answered in their place; `why` tells it; the
    same request again changes nothing."""
    house = lived_in
    house.ended(house.say("[[say kept]]", session="edit"))
    old = house.say(f"[[slow 100]] [[say {WORDS}]] old", session="edit")
    house.until(lambda: house.story(old)["job"]["state"] == "running", 20, "it to begin")
    message = house.story(old)["message"]["id"]
    body = {"text": "[[say new]] edited", "session": "edit", "replaces": message}
    body["external_id"] = "once"
    status, told = house.call("POST", "/api/v1/messages", body)
    assert status == 202
    assert house.call("POST", "/api/v1/messages", body)[1]["duplicate"]
    assert house.ended(told["job_id"])["reply"]["text"] == "new"
    assert house.ended(old)["job"]["state"] == "cancelled"
    shown = house.get("/api/v1/messages?session=edit")["messages"]
    assert [m["replaces"] for m in shown if m["role"] == "owner"] == ["", "", message]
    asked = next(c for c in reversed(house.calls()) if "edited" in c["last"])
    assert "old" not in json.dumps(asked)
    assert "takes the place of" in house.cli("why", told["job_id"]).stdout
    assert "said anew" in house.cli("why", old).stdout
    again = house.call("POST", f"/api/v1/messages/{told['message_id']}/again", {})[1]
    story = house.ended(again["job_id"])
    assert story["reply"]["text"] == "new"
    assert story["message"]["replaces"] == told["message_id"]


def test_bad_places_and_names_are_refused_in_words(lived_in: House) -> None:
    """Ids that are none, words that are none, conversations and messages that are not there."""
    house = lived_in
    house.ended(house.say("hello"))
    for id_ in ("x", "1-2", "1.2", "-1", "9" * 30):
        status, told = house.call(
            "GET", "/api/v1/sessions/main/events", headers={"Last-Event-ID": id_}
        )
        assert status == 400 and "Last-Event-ID" in told["error"]["message"]
    for method, path, body, wanted in (
        ("GET", "/api/v1/sessions/nowhere", None, 404),
        ("POST", "/api/v1/sessions/nowhere/end", None, 404),
        ("POST", "/api/v1/sessions/main", {"name": "a\nb"}, 400),
        ("GET", "/api/v1/search?q=", None, 400),
        ("GET", "/api/v1/messages/nothing", None, 404),
        ("POST", "/api/v1/messages/nothing/again", {}, 404),
        ("POST", "/api/v1/messages", {"text": "x", "replaces": "nothing"}, 404),
        ("GET", "/api/v1/sessions?before=x", None, 400),
    ):
        assert house.call(method, path, body)[0] == wanted, path
    assert house.call("GET", "/api/v1/sessions/main/events", key="wrong")[0] == 401
