"""Jobs are stopped, given up after their tries, and begun anew by the owner's hand."""

from __future__ import annotations

import json

from tests.story.house import House


def _running(house: House, job_id: str, tokens: int = 1) -> None:
    house.until(
        lambda: (
            [
                call
                for call in house.calls()
                if call["outcome"] == "open" and call["tokens"] >= tokens
            ]
            and house.story(job_id)["job"]["state"] == "running"
        ),
        10,
        f"{job_id} to speak",
    )


def test_cancelling_a_running_job(lived_in: House) -> None:
    """The model is cut off in mid-answer, the job ends as cancelled, and the owner is told."""
    job_id = lived_in.say("[[slow 50]] [[tokens 400]] a very long story", session="stop")
    _running(lived_in, job_id)
    told = lived_in.cli("jobs", "cancel", job_id[-8:])
    assert told.returncode == 0 and "asked to stop" in told.stdout, told.stderr
    story = lived_in.ended(job_id, 10)
    assert story["job"]["state"] == "cancelled"
    assert (story["reply"]["role"], story["reply"]["text"]) == ("notice", "Cancelled.")
    assert [attempt["outcome"] for attempt in story["attempts"]] == ["cancelled"]
    lived_in.until(
        lambda: [c["outcome"] for c in lived_in.calls() if "long story" in c["owner"]] == ["left"],
        5,
        "the model to be left",
    )
    again = lived_in.cli("jobs", "cancel", job_id[-8:])
    assert again.returncode == 1 and "cancelled" in again.stderr


def test_cancelling_a_queued_job(lived_in: House) -> None:
    """A job that waits behind another of its conversation never runs; the next one does."""
    first = lived_in.say("[[first 2500]] [[say First.]] begin", session="row")
    second = lived_in.say("[[say Second.]] never", session="row")
    third = lived_in.say("[[say Third.]] and then", session="row")
    told = lived_in.cli("jobs", "cancel", second[-8:])
    assert told.returncode == 0 and "cancelled now" in told.stdout, told.stderr
    assert lived_in.ended(first, 10)["reply"]["text"] == "First."
    assert lived_in.ended(third, 10)["reply"]["text"] == "Third."
    story = lived_in.story(second)
    assert (story["job"]["state"], story["attempts"], story["steps"]) == ("cancelled", [], [])
    assert not any(call["owner"].endswith("never") for call in lived_in.calls())


def test_a_dead_letter_and_its_retries(lived_in: House) -> None:
    """After its tries a job is dead, kept and told of; retried it starts with fresh tries."""
    job_id = lived_in.say("[[fail 500 times 5]] [[say At last.]] try hard", session="dead")
    story = lived_in.ended(job_id, 20)
    assert story["job"]["state"] == "dead"
    assert (story["job"]["tries"], story["job"]["crashes"]) == (3, 0)
    assert [a["outcome"] for a in story["attempts"]] == ["failed"] * 3
    assert all(attempt["error"] for attempt in story["attempts"])
    assert story["reply"]["role"] == "notice"
    assert "tried 3 times" in story["reply"]["text"] and job_id[-8:] in story["reply"]["text"]

    listed = json.loads(lived_in.cli("jobs", "--state", "dead", "--json").stdout)["jobs"]
    assert job_id in [job["id"] for job in listed]
    told = lived_in.cli("why", job_id[-8:])
    assert told.returncode == 0 and "500" in told.stdout
    assert any("could not be done" in word for word in lived_in.get("/api/v1/status")["not_yet"])

    retried = lived_in.cli("jobs", "retry", job_id[-8:])
    assert retried.returncode == 0, retried.stderr
    story = lived_in.ended(job_id, 20)
    assert (story["job"]["state"], story["reply"]["text"]) == ("done", "At last.")
    assert len(story["attempts"]) == 6
    again = lived_in.cli("jobs", "retry", job_id[-8:])
    assert again.returncode == 1 and "done" in again.stderr
    # Both the apology and the answer are in the conversation, the question once.
    said = lived_in.get("/api/v1/messages?session=dead&after=0")["messages"]
    assert [message["role"] for message in said] == ["owner", "notice", "assistant"]


def test_what_is_pointless_is_not_tried_again(lived_in: House) -> None:
    """A model that refuses the key would refuse it again: dead at once, with the reason."""
    job_id = lived_in.say("[[fail 401]] open up", session="auth")
    story = lived_in.ended(job_id, 10)
    assert (story["job"]["state"], len(story["attempts"])) == ("dead", 1)
    assert "401" in story["job"]["error"]
    asked = lived_in.cli("ask", "--session", "auth", "[[fail 401]] open up again")
    assert asked.returncode == 1
    assert "401" in asked.stderr + asked.stdout


def test_a_dead_job_holds_nobody_up(lived_in: House) -> None:
    """The conversation goes on after a dead job; its history has no hole in the turns."""
    lived_in.ended(lived_in.say("[[fail 401]] first", session="on"), 10)
    story = lived_in.ended(lived_in.say("[[say Yes?]] are you there, agent", session="on"), 10)
    assert story["reply"]["text"] == "Yes?"
