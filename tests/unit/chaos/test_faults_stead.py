"""The real gateway, node and model server on a bad disk: nothing that was accepted is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead.chaos.faults import power, shim
from tests.story.house import House


class BadHouse(House):
    """A house whose processes all run under one shim."""

    def __init__(self, folder: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder / "home")
        self.journal = folder / "journal"
        self.control = shim.Control(folder / "control", seed=4)
        self.control.modes(skip_sync=True)
        power.begin(self.home, self.journal)
        for name, value in shim.environment(library, self.control, self.home, self.journal).items():
            monkeypatch.setenv(name, value)
        self.accepted: dict[str, str] = {}
        self.refused: set[str] = set()

    def say_until_refused(self, most: int = 2000) -> str:
        """Send messages until one is refused; the words of the refusal."""
        for number in range(most):
            text = f"[[say hi]] {len(self.accepted)} {number} " + "x" * 2000
            status, body = self.call("POST", "/api/v1/messages", {"text": text})
            if status != 202:
                assert status == 503, body
                self.refused.add(text)
                return str(body["error"]["message"])
            self.accepted[text] = body["job_id"]
        raise AssertionError("nothing was ever refused")

    def all_done(self) -> None:
        """Every message that was accepted is answered, once."""
        for job_id in self.accepted.values():
            story = self.ended(job_id, 120)
            assert story["job"]["state"] == "done"
        asked = [row[0] for row in self.rows("SELECT text FROM message WHERE role = 'owner'")]
        assert len(asked) == len(set(asked))
        # Refused for a disk that fails is "not known to be kept", so one of these may be there.
        assert self.accepted.keys() <= set(asked) <= self.accepted.keys() | self.refused

    def power_fails(self, seed: int, mode: power.Mode = "some") -> power.Loss:
        for name in list(self.parts):
            self.kill(name)
        assert self.control.counts()["trouble"] == 0
        return power.lose_unsynced(self.journal, seed, mode)


@pytest.fixture
def bad(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadHouse]:
    house = BadHouse(tmp_path, library, monkeypatch)
    yield house
    house.close()
    house.control.close()


def test_the_power_fails(bad: BadHouse) -> None:
    """Power cut after power cut in the middle of work: what was acknowledged is there and done."""
    for seed in range(2):
        bad.all_up()
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            text = f"[[say hi]] {len(bad.accepted)}"
            bad.accepted[text] = bad.say(text)
        assert bad.power_fails(seed)
    bad.all_up()
    bad.all_done()


def test_the_disk_of_the_gateway_is_full(bad: BadHouse) -> None:
    """A message that finds the disk full is refused in words; the accepted ones are done when
    there is room again, also where the power fails while it is full."""
    bad.all_up()
    bad.control.fill(400_000, under="state.db")
    words = bad.say_until_refused()
    assert "the disk is full" in words
    assert "nothing was lost" in words
    assert bad.ready() or bad.control.counts()["full"]
    bad.power_fails(1)
    bad.control.free()
    bad.all_up()
    bad.all_done()


def test_the_disk_of_the_gateway_fails(bad: BadHouse) -> None:
    """Writes and syncs that fail now and then refuse messages, and lose none of the accepted."""
    bad.all_up()
    bad.control.fail(write_ppm=20_000, sync_ppm=20_000, under="state.db")
    assert "the disk" in bad.say_until_refused()
    bad.say_until_refused()
    bad.say_until_refused()
    bad.power_fails(2)
    bad.control.heal()
    bad.all_up()
    bad.all_done()


def test_the_disk_of_the_node_is_full(bad: BadHouse) -> None:
    """A node that cannot write its spool goes on as long as the gateway takes its reports."""
    bad.all_up()
    bad.control.fill(0, under="spool")
    for number in range(5):
        text = f"[[tool clock]] [[say hi]] {number}"
        bad.accepted[text] = bad.say(text)
    bad.all_done()
    assert bad.control.counts()["full"]
    bad.control.free()
    text = "[[say hi]] and on"
    bad.accepted[text] = bad.say(text)
    bad.all_done()
