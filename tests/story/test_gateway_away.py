"""The gateway is gone in mid-job for longer than the lease, while the node works on."""

from __future__ import annotations

import time

import pytest

from tests.story.house import House

_LEASE_S = 2.0


@pytest.mark.parametrize("steps", [1, 4])
def test_the_gateway_is_away_for_long(house: House, steps: int) -> None:
    """Killed during the first model call, and while tools run: when it is back there is one
    reply, nothing that had an outcome is run again, and it cost the job neither try nor crash."""
    house.all_up()
    job_id = house.say(
        '[[first 250]] [[tool clock {}]] [[tool host_facts {"about": "disk"}]] [[say Done.]] go'
    )
    house.until(
        lambda: house.rows("SELECT count(*) FROM step WHERE job_id = ?", job_id)[0][0] >= steps,
        20,
        f"step {steps}",
    )
    house.kill("gateway")
    known = house.rows("SELECT seq, output FROM step WHERE job_id = ? AND state = 'done'", job_id)
    gone = time.monotonic()
    house.until(lambda: time.monotonic() - gone > 1.5 * _LEASE_S, 10, "the lease to pass")
    assert house.parts["node"].poll() is None
    house.start("gateway")
    house.until(house.ready, 20, "the gateway")
    story = house.ended(job_id, 30)

    assert (story["job"]["state"], story["reply"]["text"]) == ("done", "Done.")
    assert (story["job"]["tries"], story["job"]["crashes"]) == (0, 0)
    done = {step["seq"]: step["output"] for step in story["steps"] if step["state"] == "done"}
    assert sorted(done) == [1, 2, 3, 4, 5]
    assert all(done[seq] == output for seq, output in known)
    said = house.get("/api/v1/messages?after=0")["messages"]
    assert [message["role"] for message in said] == ["owner", "assistant"]
    # Asked again was at most the one call that the kill cut off.
    broken = sum(step["state"] in ("unknown", "failed") for step in story["steps"])
    assert sum(count - 1 for count in house.asked().values()) <= broken <= 1


def test_messages_said_meanwhile(house: House) -> None:
    """`stead ask` that was waiting when the gateway fell goes on waiting and gets its answer."""
    house.all_up()
    house.start_at(
        "asker", house.home, "ask", "--stream", "[[slow 60]] [[say one two three four five]] count"
    )
    house.until(
        lambda: "one" in (house.home / "asker.out").read_text(), 10, "the beginning of the answer"
    )
    house.kill("gateway")
    refused = house.cli("ask", "is anybody there?")
    assert refused.returncode == 3 and "cannot be reached" in refused.stderr
    looked = house.cli("jobs")
    assert looked.returncode == 3 and "count" in looked.stdout
    house.start("gateway")
    assert house.parts["asker"].wait(30) == 0
    told = (house.home / "asker.out").read_text()
    assert told.rstrip().splitlines()[-1].endswith("five")
