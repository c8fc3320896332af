"""The owner prunes: detail goes, the record and what was said stay known."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from tests.story.house import House


def test_prune(house: House) -> None:
    """`stead prune` takes out what the rules say, and tells; the message and its reply remain, and
    the same message sent again is answered from the record."""
    toml = house.home / "stead.toml"
    toml.write_text(toml.read_text() + "\n[retention]\njobs_days = 0.0000001\n")
    house.all_up()
    job_id = house.say("[[say By the door.]] where is the key?", external_id="m1", channel="cli")
    assert house.ended(job_id)["job"]["state"] == "done"
    told = "1 jobs done or cancelled more than"  # 9 ms old: a command may be quicker than that
    house.until(lambda: told in house.cli("prune", "--dry-run").stdout, 20, "a job of some age")
    assert house.story(job_id)["pruned"] is None

    done = house.cli("prune")
    assert done.returncode == 0, done
    assert "Pruned 1 jobs" in done.stdout and "were given back" in done.stdout
    story = house.cli("why", job_id).stdout
    assert "its detail was pruned at" in story and "[retention] jobs_days" in story
    assert "where is the key?" in story and "By the door." in story
    status = house.get("/api/v1/status")
    assert status["retention"]["last"]["jobs"] == 1
    assert any("old detail was pruned at" in line for line in status["works"])

    before = len(house.calls())
    assert house.say("again", external_id="m1", channel="cli") == job_id
    assert house.story(job_id)["reply"]["text"] == "By the door."
    assert len(house.calls()) == before


def test_words_are_pruned_only_on_purpose(house: House) -> None:
    """Without a day, without a yes and without anybody to ask no message goes; with them its
    words are gone for good."""
    house.start("gateway", "model")
    house.until(house.ready, 20, "the gateway")
    house.ended(house.say("[[say I will.]] remember Xanadu", mark="light"))
    tomorrow = f"{datetime.now() + timedelta(days=1):%Y-%m-%d}"
    assert house.cli("prune", "--messages").returncode == 2
    unasked = house.cli("prune", "--messages", "--before", tomorrow)
    assert unasked.returncode == 2 and "--yes" in unasked.stderr
    assert "Xanadu" in json.dumps(house.get("/api/v1/messages?session=main&after=0&read=1"))

    gone = house.cli("prune", "--messages", "--before", tomorrow, "--yes", "--json")
    assert gone.returncode == 0, gone
    assert json.loads(gone.stdout)["messages"] == 2
    assert "Xanadu" not in json.dumps(house.get("/api/v1/messages?session=main&after=0"))
    assert not house.rows("SELECT 1 FROM message WHERE text LIKE '%Xanadu%'")
