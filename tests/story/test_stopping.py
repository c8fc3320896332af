"""`stead up` is told to stop in the middle of an answer."""

from __future__ import annotations

import time

import psutil

from tests.story.house import House


def _lives(process: psutil.Process) -> bool:
    """One that ended counts as gone, also while nobody has asked how."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_stopped_in_mid_answer(house: House) -> None:
    """It ends within 10 s with code 0, leaves no process behind, says that nothing is lost, and
    the message is answered once after the next start, at no cost in tries."""
    house.start("up")
    house.until(house.whole, 20, "everything")
    job_id = house.say("[[first 5500]] [[say Here I am.]] a question that takes its time")
    house.until(lambda: [c for c in house.calls() if "takes its time" in c["owner"]], 10, "a call")
    family = psutil.Process(house.parts["up"].pid).children(recursive=True)
    assert len(family) >= 3

    began = time.monotonic()
    assert house.stop("up", 10) == 0
    assert time.monotonic() - began < 10
    assert not [process for process in family if _lives(process)]
    assert "nothing is lost" in (home := house.home / "up.out").read_text()
    assert "Traceback" not in home.read_text()
    ((state, tries, crashes),) = house.rows("SELECT state, tries, crashes FROM job")
    assert (state, tries, crashes) == ("queued", 0, 0)

    house.start("up")
    house.until(house.whole, 20, "everything")
    story = house.ended(job_id, 20)
    assert (story["job"]["state"], story["job"]["crashes"]) == ("done", 0)
    said = house.get("/api/v1/messages?after=0")["messages"]
    # On a slow machine the node may be missed for a moment, and the owner told so.
    said = [message for message in said if not message["text"].startswith("No node is")]
    assert [message["text"] for message in said][1:] == ["Here I am."]
    assert [m["role"] for m in said] == ["owner", "assistant"]


def test_stopping_an_idle_house_is_quick(house: House) -> None:
    """With nothing to do it is gone in a moment, and stopping while it starts is fine too."""
    house.start("up")
    house.until(house.whole, 20, "everything")
    began = time.monotonic()
    assert house.stop("up", 10) == 0
    assert time.monotonic() - began < 6

    house.start("up")
    house.until(lambda: "gateway" in house.children(), 10, "the first child")
    family = psutil.Process(house.parts["up"].pid).children(recursive=True)
    house.stop("up", 10)
    assert not [process for process in family if _lives(process)]
