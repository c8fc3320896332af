"""A second machine joins the house: works for it, takes over from the first, and is sent away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.house import House

_ROUTE = """
[[route]]
name = "needs the gpu"
to = "node"
match = "on the gpu"
needs = ["gpu"]
"""


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A second home, as on another machine."""
    home = tmp_path / "far"
    home.mkdir(mode=0o700)
    (home / "stead.toml").write_text('[node]\nlabels = ["gpu"]\n')
    yield home


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home", more=_ROUTE)
    try:
        yield house
    finally:
        house.close()


def _join(house: House, far: Path) -> None:
    """Invite, join and run, with the very words that the commands print."""
    invited = house.cli("node", "invite", "far")
    assert invited.returncode == 0, invited.stderr
    line = re.search(r"stead node join (\S+) (\S+)", invited.stdout)
    assert line, invited.stdout
    joined = house.cli("node", "join", line[1], line[2], home=far)
    assert joined.returncode == 0, joined.stderr
    assert "far" in joined.stdout and "stead node run" in joined.stdout
    assert (far / "secrets" / "node.key").stat().st_mode & 0o077 == 0
    house.start_at("far", far, "node", "run")
    house.until(lambda: _alive(house, "far"), 15, "the second node")


def _alive(house: House, name: str) -> bool:
    nodes = house.get("/api/v1/status")["nodes"]
    return any(node["name"] == name and node["alive"] for node in nodes)


def test_it_takes_jobs_and_can_be_sent_away(pair: House, far: Path) -> None:
    """It works like the first node, alone has the labels it says, and once revoked gets nothing."""
    pair.start("gateway", "model")
    pair.until(pair.ready, 20, "the gateway")
    _join(pair, far)
    story = pair.ended(pair.say("[[tool clock {}]] [[say From afar.]] what time is it there?"))
    assert story["reply"]["text"] == "From afar."
    assert [attempt["node"] for attempt in story["attempts"]] == ["far"]

    pair.start("node")
    pair.until(lambda: _alive(pair, "hands"), 15, "the first node")
    stories = [
        pair.ended(pair.say(f"[[say ok]] number {n} on the gpu", session=f"g{n}")) for n in range(4)
    ]
    assert {story["attempts"][0]["node"] for story in stories} == {"far"}
    assert {story["route"]["rule"] for story in stories} == {"needs the gpu"}
    listed = pair.cli("node", "list")
    assert "far" in listed.stdout and "gpu" in listed.stdout

    revoked = pair.cli("node", "revoke", "far")
    assert revoked.returncode == 0, revoked.stderr
    waiting = pair.say("[[say ok]] one more on the gpu", session="g9")
    other = pair.ended(pair.say("[[say Here.]] who is still there?"), 10)
    assert other["attempts"][0]["node"] == "hands"
    assert pair.story(waiting)["job"]["state"] == "queued"
    assert pair.cli("node", "revoke", "far").returncode == 1
    # Its process sees that it is not wanted any more, and says so in its log.
    log = far / "logs" / "node.jsonl"
    pair.until(lambda: "revoked" in log.read_text(), 10, "the second node's log")


def test_it_takes_over(pair: House, far: Path) -> None:
    """The first node is killed in mid-job and stays away: when the lease is over the second goes
    on from the journal, and runs nothing again that had an outcome."""
    pair.all_up()
    job_id = pair.say(
        '[[tool clock {}]] [[tool host_facts {"about": "disk"}]] [[first 700]] [[say Over.]] go'
    )
    pair.until(
        lambda: pair.rows("SELECT 1 FROM step WHERE job_id = ? AND seq = 5", job_id), 20, "step 5"
    )
    known = pair.rows("SELECT seq, output FROM step WHERE job_id = ? AND state = 'done'", job_id)
    pair.kill("node")
    _join(pair, far)
    story = pair.ended(job_id, 30)
    assert story["reply"]["text"] == "Over."
    assert [(a["node"], a["outcome"]) for a in story["attempts"]] == [
        ("hands", "crashed"), ("far", "done"),
    ]  # fmt: skip
    assert story["job"]["crashes"] == 1 and story["job"]["tries"] == 0
    done = {step["seq"]: step for step in story["steps"] if step["state"] == "done"}
    assert len(known) == 4
    for seq, output in known:
        assert (done[seq]["epoch"], done[seq]["output"], done[seq]["replayed"]) == (1, output, True)
    unknown = [step for step in story["steps"] if step["state"] == "unknown"]
    assert [(step["seq"], step["epoch"]) for step in unknown] == [(5, 1)]
    assert "repeated by its rule" in unknown[0]["note"]
