"""The agent asks before it acts: on the command line, over restarts, kills and time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.story.house import House, house_in

RULES = """
[[permit]]
name = "look at the clock"
say = "ask"
tools = ["clock"]

[[permit]]
name = "nothing of the machine"
say = "deny"
tools = ["host_facts"]
why = "not for this agent"
"""


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    for house in house_in(tmp_path_factory.mktemp("asked"), more=RULES):
        house.all_up()
        yield house


def waits(house: House, job_id: str) -> Any:
    """The open question of a job, once it waits."""

    def look() -> Any:
        if house.story(job_id)["job"]["state"] != "waiting":
            return None
        return house.get(f"/api/v1/approvals/{job_id}")

    return house.until(look, 60, f"job {job_id} to ask")


def ran(house: House, job_id: str) -> list[tuple[str, str]]:
    """The steps of tools that came to an outcome."""
    return [
        (step["name"], step["output"])
        for step in house.story(job_id)["steps"]
        if step["name"].startswith("tool:") and step["state"] == "done"
    ]


def test_asked_and_approved_on_the_command_line(lived_in: House) -> None:
    """The owner is shown exactly what will happen and by which rule; at his word it is done, once,
    and the record says who allowed it when."""
    house = lived_in
    asked = house.cli("ask", "--session", "a", "[[tool clock {}]] [[say It is late.]] the time?")
    assert asked.returncode == 1
    assert "May I do this?" in asked.stdout and "stead approve" in asked.stdout
    (row,) = json.loads(house.cli("approvals", "--json").stdout)["approvals"]
    assert (row["tool"], row["state"], row["seq"]) == ("clock", "open", 2)
    assert "look at the clock" in row["why"]
    assert ran(house, row["job_id"]) == []
    shown = house.cli("approvals", row["id"][-8:]).stdout
    assert "clock" in shown and "stead approve" in shown and "look at the clock" in shown
    done = house.cli("approve", row["id"][-8:], "--wait")
    assert done.returncode == 0, done.stderr
    assert "It is late." in done.stdout
    assert [name for name, _ in ran(house, row["job_id"])] == ["tool:clock"]
    why = house.cli("why", row["job_id"]).stdout
    assert "Asked you" in why and "owner said yes, once" in why
    again = house.cli("approve", row["id"][-8:])
    assert again.returncode == 1 and "you said 'once'" in again.stderr
    assert "Nothing waits" in house.cli("approvals").stdout
    log = "\n".join(path.read_text() for path in (house.home / "memory").glob("*.md"))
    assert "once by owner" in log


def test_denied_and_forbidden(lived_in: House) -> None:
    """A no goes back to the agent with its reason; what a rule forbids is not even asked."""
    house = lived_in
    job_id = house.say("[[tool clock {}]] [[say Then not.]] the time?", session="b")
    row = waits(house, job_id)
    denied = house.cli("deny", row["id"][-8:], "--why", "I have a watch")
    assert denied.returncode == 0, denied.stderr
    story = house.ended(job_id, 60)
    assert story["reply"]["text"] == "Then not."
    ((_, output),) = ran(house, job_id)
    assert "the owner said no: I have a watch" in json.loads(output)["error"]
    assert json.loads(output)["ran"] is False

    job_id = house.say('[[tool host_facts {"about": "disk"}]] [[say No.]] disk?', session="b")
    house.ended(job_id, 60)
    ((_, output),) = ran(house, job_id)
    assert "not for this agent" in json.loads(output)["error"]


def test_for_ever_and_taken_back(lived_in: House) -> None:
    """`always` holds for that very call from the next job on, until it is taken back."""
    house = lived_in
    text = "[[tool clock {}]] [[say Done.]] the time?"
    job_id = house.say(text, session="c")
    row = waits(house, job_id)
    assert house.cli("approve", row["id"], "always").returncode == 0
    house.ended(job_id, 60)
    checked = json.loads(house.cli("permit", "check", "clock", "--json").stdout)
    job_id = house.say(text, session="c")
    assert house.ended(job_id, 60)["job"]["state"] == "done", "a rule that asks is answered by it"
    assert checked["word"] == "allow"
    listed = json.loads(house.cli("permit", "list", "--json").stdout)
    assert [rule["name"] for rule in listed["rules"]] == [
        "look at the clock", "nothing of the machine",
    ]  # fmt: skip
    (grant,) = listed["grants"]
    assert house.cli("permit", "revoke", grant["id"][-8:]).returncode == 0
    job_id = house.say(text, session="c")
    waits(house, job_id)
    assert house.cli("jobs", "cancel", job_id).returncode == 0
    assert house.ended(job_id, 60)["job"]["state"] == "cancelled"
    late = house.cli("approve", job_id)
    assert late.returncode == 1 and "its job was ended" in late.stderr
    checked = house.cli("permit", "check", "host_facts", "about=disk")
    assert "deny" in checked.stdout and "nothing of the machine" in checked.stdout


def test_answered_in_the_conversation(lived_in: House) -> None:
    """Where the owner writes he can answer as well; the record says by which way. What only looks
    like an answer is a message like any other."""
    house = lived_in
    job_id = house.say("[[tool clock {}]] [[say Late.]] the time?", session="g", channel="phone")
    row = waits(house, job_id)
    short = row["id"][-8:]
    other = house.say(f"approve {short} perhaps", session="g2")
    assert house.ended(other, 60)["job"]["kind"] == "chat"
    said = house.say(f" Approve {short} ", session="g", channel="phone")
    assert house.ended(said, 60)["reply"]["text"].startswith("Yes: clock")
    assert house.ended(job_id, 60)["reply"]["text"] == "Late."
    assert house.story(job_id)["approvals"][0]["answered_by"] == "owner (phone)"
    again = house.say(f"deny {short} too late", session="g", channel="phone")
    assert "is not open any more" in house.ended(again, 60)["reply"]["text"]


def test_others_go_on_meanwhile(lived_in: House) -> None:
    """A question holds neither a worker nor its conversation."""
    house = lived_in
    first = house.say("[[tool clock {}]] [[say One.]] the time?", session="d")
    waits(house, first)
    second = house.say("[[say Two.]] hello there, my friend of old", session="d")
    assert house.ended(second, 60)["reply"]["text"] == "Two."
    assert house.story(first)["job"]["state"] == "waiting"
    house.cli("approve", first)
    assert house.ended(first, 60)["reply"]["text"] == "One."


@pytest.fixture
def asking(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    yield from house_in(tmp_path, more=RULES + getattr(request, "param", ""))


def test_restarted_while_it_waits_and_killed_after_the_answer(asking: House) -> None:
    """Gateway and node are killed while a question is open, and the node again as soon as it was
    answered: it is asked once, and what was allowed comes to one outcome."""
    house = asking
    house.all_up()
    job_id = house.say("[[first 50]] [[tool clock {}]] [[first 300]] [[say Late.]] the time?")
    row = waits(house, job_id)
    for part in ("node", "gateway"):
        house.kill(part)
    house.start("gateway")
    house.until(house.ready, 60, "the gateway")
    assert house.get(f"/api/v1/approvals/{job_id}")["id"] == row["id"]
    assert house.cli("approve", job_id).returncode == 0
    house.start("node")
    house.until(lambda: house.story(job_id)["job"]["state"] != "queued", 60, "a worker")
    house.kill("node")
    house.start("node")
    story = house.ended(job_id, 90)
    assert story["reply"]["text"] == "Late."
    assert [name for name, _ in ran(house, job_id)] == ["tool:clock"]
    assert [one["word"] for one in story["approvals"]] == ["once"]


@pytest.mark.parametrize("asking", ["\n[approvals]\nexpire_h = 0.0003\n"], indirect=True)
def test_nobody_answers(asking: House) -> None:
    """After its time a question is taken as no, and the agent goes on with that."""
    house = asking
    house.all_up()
    job_id = house.say("[[tool clock {}]] [[say Nobody there?]] the time?")
    story = house.ended(job_id, 60)
    assert story["reply"]["text"] == "Nobody there?"
    ((_, output),) = ran(house, job_id)
    assert "not approved in time" in json.loads(output)["error"]
    assert [one["state"] for one in story["approvals"]] == ["expired"]


def test_a_question_and_a_message(lived_in: House) -> None:
    """The agent asks in the midst of a job and goes on with the answer; a message beside its answer
    is in the conversation once, also when the node dies after it."""
    house = lived_in
    text = (
        '[[tool ask_owner {"question": "Which one?", "choices": ["red", "blue"]}]]'
        ' [[tool message {"text": "half done"}]] [[first 400]] [[say Done.]] go on, please'
    )
    job_id = house.say(text, session="f")
    row = waits(house, job_id)
    assert (row["kind"], row["preview"]) == ("question", "Which one?")
    wrong = house.cli("answer", row["id"][-8:], "green")
    assert wrong.returncode == 1 and "red, blue" in wrong.stderr
    assert house.cli("answer", row["id"][-8:], "blue").returncode == 0

    def posted() -> list[str]:
        page = house.get("/api/v1/messages?session=f&after=0")
        return [one["text"] for one in page["messages"] if one["text"] == "half done"]

    house.until(posted, 60, "the message")
    house.kill("node")
    house.start("node")
    story = house.ended(job_id, 90)
    assert story["reply"]["text"] == "Done."
    assert json.loads(ran(house, job_id)[0][1])["result"] == "blue"
    assert posted() == ["half done"]


def test_a_rule_that_changes_holds_for_what_comes(lived_in: House) -> None:
    """A new rule in stead.toml is taken over without a restart."""
    house = lived_in
    file = house.home / "stead.toml"
    before = file.read_text()
    more = '[[permit]]\nname = "no files"\nsay = "deny"\ntools = ["*_files"]\n'
    file.write_text(f"{before}\n{more}")
    try:
        assert house.cli("config", "apply").returncode == 0
        job_id = house.say("[[tool list_files {}]] [[say No.]] what is there?", session="e")
        house.ended(job_id, 60)
        ((_, output),) = ran(house, job_id)
        assert "no files" in json.loads(output)["error"]
    finally:
        file.write_text(before)
        assert house.cli("config", "apply").returncode == 0
