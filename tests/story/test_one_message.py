"""The whole way of one message, through real processes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import datetime

from tests.story.house import House


def test_one_message_all_the_way(house: House) -> None:
    """A message is recorded, routed, queued, claimed, worked on with a tool, recorded again,
    charged, logged and replied; each of these can be seen afterwards."""
    house.all_up()

    job_id = house.say(
        '[[tool host_facts {"about": "disk"}]] [[say All is well here.]] how are the disks?'
    )
    story = house.ended(job_id)

    assert story["message"]["text"].endswith("how are the disks?")
    assert story["route"] == {
        "to": "node", "rule": "everything else", "needs": "",
        "prefer": "", "avoid": "", "lane": "chat",
    }  # fmt: skip
    assert [attempt["node"] for attempt in story["attempts"]] == ["hands"]
    assert [step["name"] for step in story["steps"]] == [
        "model:main", "tool:host_facts", "model:main",
    ]  # fmt: skip
    assert all(step["state"] == "done" for step in story["steps"])
    free = shutil.disk_usage("/").free / 1e9
    told = story["steps"][1]["output"]
    assert any(abs(float(gb) - free) < 0.02 * free + 0.2 for gb in re.findall(r"\d+\.?\d*", told))
    assert story["reply"]["text"] == "All is well here."
    assert story["reply"]["role"] == "assistant"
    assert len(story["calls"]) == 2
    assert all(call["state"] == "settled" and call["prompt_tokens"] > 0 for call in story["calls"])
    assert story["times"]["worked_ms"] > 0

    log = house.home / "memory" / f"{datetime.now():%Y-%m-%d}.md"
    house.until(  # the last of its lines
        lambda: log.exists() and "**stead** [job" in log.read_text(), 15, "the log"
    )
    text = log.read_text()
    assert text.index("how are the disks?") < text.index("tool:host_facts")
    assert text.index("tool:host_facts") < text.rindex("All is well here.")

    # What one way in said, another sees: it is one conversation.
    seen = house.get("/api/v1/messages?session=main&after=0&read=1")["messages"]
    assert [message["role"] for message in seen] == ["owner", "assistant"]
    house.until(
        lambda: house.story(job_id)["delivery"][0]["state"] == "sent", 5, "the delivery's row"
    )


def test_the_command_line_streams_the_answer(house: House) -> None:
    """`stead ask` prints the answer and nothing else on stdout, and `stead why` tells its story."""
    house.all_up()
    base = [sys.executable, "-m", "stead", "--home", str(house.home)]

    asked = subprocess.run(
        [*base, "ask", "[[say The answer is 42.]] what is it?"],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (asked.returncode, asked.stdout.strip()) == (0, "The answer is 42."), asked.stderr

    listed = subprocess.run(
        [*base, "jobs", "--json"], capture_output=True, text=True, timeout=60, check=True
    )
    job_id = json.loads(listed.stdout)["jobs"][0]["id"]
    told = subprocess.run(
        [*base, "why", job_id[-8:]], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "everything else" in told
    assert "hands" in told
    assert "The answer is 42." in told


def test_nothing_waits_behind_background_work(house: House) -> None:
    """With every ordinary slot busy on background work, the owner's chat still starts at once."""
    house.all_up()
    for number in range(4):
        house.say(
            f"[[first 1500]] [[say done {number}]] grind", lane="background", session=f"bg{number}"
        )
    house.until(
        lambda: house.get("/api/v1/status")["queue"]["running"] >= 2, 10, "the background work"
    )
    chat = house.ended(house.say("[[say Quick.]] are you there, agent of mine?"), 10)
    assert chat["reply"]["text"] == "Quick."
    assert chat["times"]["waited_ms"] < 1000
    assert house.get("/api/v1/status")["queue"]["queued"] >= 1
