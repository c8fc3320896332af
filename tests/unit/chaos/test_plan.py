"""Plans of faults: from a seed, kept as JSON, picked apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.chaos import plan, talk
from stead.chaos.kinds import KINDS
from stead.core.errors import BadRequest


def test_the_same_seed_gives_the_same_plan_and_the_same_talk() -> None:
    """A run can be seen again: what is said and which faults come follow from the seed alone."""
    wishes = plan.Wishes(messages=500, nodes=3)
    assert plan.make(7, wishes) == plan.make(7, wishes)
    assert plan.make(7, wishes) != plan.make(8, wishes)
    assert talk.make(7, 300) == talk.make(7, 300)


def test_a_plan_holds_what_was_wished_for() -> None:
    """As many kills and partitions as asked for, every kind in its turn, all of them possible."""
    made = plan.make(3, plan.Wishes(messages=10_000, kills=500, partitions=100, others=200))
    groups = [KINDS[fault.kind].group for fault in made.faults]
    assert (groups.count("kill"), groups.count("partition")) == (500, 100)
    assert {fault.kind for fault in made.faults} == set(KINDS)
    assert [fault.id for fault in made.faults] == list(range(1, 801))
    plan.check(made)


def test_a_kept_plan_is_the_plan(tmp_path: Path) -> None:
    """A plan that was written and read is the same one."""
    made = plan.make(5, plan.Wishes(messages=400))
    file = tmp_path / "plan.json"
    file.write_text(made.as_json())
    assert plan.read(file) == made


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"version": 1', '"version": 9', "version"),
        ('"kind": "kill"', '"kind": "flood"', "flood"),
        ('"target": "model"', '"target": "cellar"', "cellar"),
        ('"seed"', '"sead"', "not whole"),
        ("{", "", "cannot be read"),
    ],
)
def test_a_plan_that_is_none_is_refused_in_words(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    """What cannot be carried out is said before anything is started."""
    text = plan.make(5, plan.Wishes(messages=400)).as_json()
    assert old in text
    file = tmp_path / "plan.json"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(BadRequest, match=words):
        plan.read(file)


def test_faults_can_be_picked_out() -> None:
    """`--only` takes faults by number, and says which ones there are not."""
    made = plan.make(5, plan.Wishes(messages=400))
    assert [fault.id for fault in made.only([3, 9]).faults] == [3, 9]
    with pytest.raises(BadRequest, match="999"):
        made.only([3, 999])


def test_kinds_are_named_or_left_out() -> None:
    """`--faults` takes names, `all`, and names with a minus; an unknown one is refused."""
    assert plan.kinds_named("kill,cut") == ("kill", "cut")
    assert set(KINDS) - set(plan.kinds_named("-torn,-cut")) == {"torn", "cut"}
    assert plan.kinds_named("all") == tuple(KINDS)
    with pytest.raises(BadRequest, match="flood"):
        plan.kinds_named("kill,flood")


def test_messages_are_told_apart() -> None:
    """Each message has a tag, an answer and effects of its own, or the judge would be blind."""
    said = [one for session in talk.make(2, 1000) for one in session]
    assert len({one.tag for one in said}) == len({one.expected for one in said}) == 1000
    keys = [key for one in said for key, _ in one.effects]
    assert len(keys) == len(set(keys)) > 500
    assert all(one.tag in one.text and one.expected in one.text for one in said)
    assert {rule for one in said for _, rule in one.effects} == {"repeat", "ask", "fail"}
