"""The judge on evidence that is made up: sound evidence passes, each flaw in it is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stead.chaos import talk
from stead.chaos.clients import Noted
from stead.chaos.driver import Carried
from stead.chaos.evidence import Evidence, Row
from stead.chaos.judge import judge
from stead.chaos.plan import Fault
from stead.chaos.receiver import Received
from stead.chaos.talk import Said


def sound() -> tuple[Evidence, list[Said]]:
    """What a run leaves in which nothing went wrong."""
    found = Evidence(integrity="ok", nodes=[{"id": "n1", "name": "node1"}])
    said = [one for session in talk.make(4, 120) for one in session]
    for number, one in enumerate(said):
        _one(found, one, number)
    found.shown = list(found.messages)
    return found, said


def _one(found: Evidence, one: Said, number: int) -> None:
    job = f"job-{one.tag}"
    found.noted[one.tag] = Noted(
        one, accepted_at=1.0, jobs={job}, answered_at=2.0, state="done", answers=[one.expected]
    )
    common = {"session": one.session, "channel": one.channel, "job_id": job}
    found.messages += [
        {**common, "seq": 2 * number, "id": f"in-{one.tag}", "external_id": one.external_id,
         "role": "owner", "text": one.text},
        {**common, "seq": 2 * number + 1, "id": f"out-{one.tag}", "external_id": "x",
         "role": "assistant", "text": one.expected},
    ]  # fmt: skip
    found.jobs.append({"id": job, "state": "done", "error": "", "crashes": 0})
    found.attempts.append(
        {"job_id": job, "epoch": 1, "node_id": "n1", "outcome": "done", "error": ""}
    )
    before = found.messages[-4]["job_id"][4:] if number else ""
    same = number and found.messages[-4]["session"] == one.session
    for place in range(len(one.effects) + 1):
        found.asked.append(
            {"e": "begin", "m": one.tag, "r": place, "before": before if same else "", "id": "1"}
        )
        found.steps.append(_step(job, 2 * place + 1))
        found.calls.append({"id": f"call-{one.tag}-{place}", "job_id": job, "state": "settled"})
    for place, (key, rule) in enumerate(one.effects, 1):
        found.steps.append(_step(job, 2 * place, rule))
        found.effects.append({"key": key, "node": "node1", "pid": 1, "t": 100.0})
    state = "sent"
    found.outbox.append({"message_id": f"out-{one.tag}", "job_id": job, "state": state})
    if one.channel in talk.PUSHED:
        found.received.append(
            Received(one.channel, f"key-{one.tag}", "assistant", one.tag, one.expected, 1.0)
        )
    found.daily += [
        f"- 10:00:00 **owner** ({one.channel}, s): {one.text} <!-- {2 * number} -->",
        f"- 10:00:01 **stead** [job x]: {one.expected} <!-- {2 * number + 1} -->",
    ]


def _step(job: str, seq: int, rule: str = "repeat", epoch: int = 1, state: str = "done") -> Row:
    return {"job_id": job, "seq": seq, "epoch": epoch, "name": "step", "state": state,
            "rule": rule, "note": ""}  # fmt: skip


def test_sound_evidence_is_sound() -> None:
    """A run in which nothing went wrong is not blamed for anything."""
    found, said = sound()
    verdict = judge(found)
    assert verdict.sound, verdict.problems
    assert verdict.figures["accepted"] == verdict.figures["answered"] == len(said)


def test_what_only_looks_like_a_flaw_is_none() -> None:
    """A line that a power cut tore has its whole copy behind it; an effect that was repeated at
    the owner's word, because it had not happened, is used."""
    found, said = sound()
    one = next(one for one in said if one.effects)
    line = next(line for line in found.daily if one.tag in line)
    found.daily.insert(0, line[:90] + "\0" * 40 + " <!-- 3 -->")
    step = next(s for s in found.steps if s["job_id"] == f"job-{one.tag}" and s["seq"] == 2)
    step["note"] = "repeated at the owner's word"
    found.attempts.insert(
        0, {"job_id": f"job-{one.tag}", "epoch": 1, "node_id": "n1", "outcome": "crashed",
            "error": "its worker restarted"},
    )  # fmt: skip
    next(r for r in found.attempts[1:] if r["job_id"] == f"job-{one.tag}")["epoch"] = 2
    found.carried.append(Carried(Fault(1, "kill", "node1", 0, 0.0), began=110.0, healed=111.0))
    verdict = judge(found)
    assert verdict.sound, verdict.problems


Flaw = Callable[[Evidence, Said], None]


def not_recorded(found: Evidence, one: Said) -> None:
    found.messages = [row for row in found.messages if row["id"] != f"in-{one.tag}"]


def not_answered(found: Evidence, one: Said) -> None:
    found.messages = [row for row in found.messages if row["id"] != f"out-{one.tag}"]


def not_shown(found: Evidence, one: Said) -> None:
    found.shown = [row for row in found.shown if row["id"] != f"out-{one.tag}"]


def given_up(found: Evidence, one: Said) -> None:
    _job(found, one)["state"] = "dead"


def still_queued(found: Evidence, one: Said) -> None:
    _job(found, one)["state"] = "queued"


def _job(found: Evidence, one: Said) -> Row:
    return next(row for row in found.jobs if row["id"] == f"job-{one.tag}")


def recorded_twice(found: Evidence, one: Said) -> None:
    row = next(row for row in found.messages if row["id"] == f"in-{one.tag}")
    found.messages.append({**row, "id": "again"})


def answered_twice(found: Evidence, one: Said) -> None:
    row = next(row for row in found.messages if row["id"] == f"out-{one.tag}")
    found.messages.append({**row, "id": "again"})
    found.shown.append(found.messages[-1])


def two_jobs(found: Evidence, one: Said) -> None:
    found.noted[one.tag].jobs.add("job-other")


def cross_wired(found: Evidence, one: Said) -> None:
    found.noted[one.tag].answers = ["The answer to m999999 is 1: stone."]


def half_streamed(found: Evidence, one: Said) -> None:
    found.noted[one.tag].answers.append(one.expected[5:])


def asked_out_of_order(found: Evidence, one: Said) -> None:
    for call in found.asked:
        if call["m"] == one.tag:
            call["before"] = "m999999"


def answered_out_of_order(found: Evidence, one: Said) -> None:
    row = next(row for row in found.messages if row["id"] == f"out-{one.tag}")
    found.messages.remove(row)
    found.messages.append(row)


def asked_again_after_its_outcome(found: Evidence, one: Said) -> None:
    found.steps.append(_step(f"job-{one.tag}", 1, epoch=2, state="failed"))


def asked_without_an_entry(found: Evidence, one: Said) -> None:
    found.asked.append({"e": "begin", "m": one.tag, "r": 0, "before": "", "id": "2"})
    found.calls.append({"id": "more", "job_id": f"job-{one.tag}", "state": "settled"})


def not_in_the_books(found: Evidence, one: Said) -> None:
    found.calls = [row for row in found.calls if row["job_id"] != f"job-{one.tag}"]


def set_aside(found: Evidence, one: Said) -> None:
    found.calls[0]["state"] = "reserved"


def happened_again(found: Evidence, one: Said) -> None:
    found.effects.append({"key": one.effects[0][0], "node": "node1", "pid": 1, "t": 200.0})


def never_happened(found: Evidence, one: Said) -> None:
    found.effects = [entry for entry in found.effects if entry["key"] != one.effects[0][0]]


def forgotten(found: Evidence, one: Said) -> None:
    """Done at 100, its node killed at 110 and back, and done again."""
    happened_again(found, one)
    for row in found.steps:
        if row["job_id"] == f"job-{one.tag}" and row["seq"] == 2:
            row["state"] = "intent"
    found.steps.append(_step(f"job-{one.tag}", 2, epoch=2))
    found.attempts.remove(next(row for row in found.attempts if row["job_id"] == f"job-{one.tag}"))
    found.attempts += [
        {"job_id": f"job-{one.tag}", "epoch": 1, "node_id": "n1", "outcome": "crashed",
         "error": "its worker restarted"},
        {"job_id": f"job-{one.tag}", "epoch": 2, "node_id": "n1", "outcome": "done", "error": ""},
    ]  # fmt: skip
    found.carried.append(Carried(Fault(1, "kill", "node1", 0, 0.0), began=110.0, healed=111.0))


def two_attempts_at_a_time(found: Evidence, one: Said) -> None:
    found.attempts.append(
        {"job_id": f"job-{one.tag}", "epoch": 3, "node_id": "n1", "outcome": "failed", "error": ""}
    )


def two_lines(found: Evidence, one: Said) -> None:
    found.daily += [line for line in found.daily if one.tag in line and "**stead**" in line]


def no_line(found: Evidence, one: Said) -> None:
    found.daily = [line for line in found.daily if one.tag not in line]


def half_sent(found: Evidence, one: Said) -> None:
    found.outbox[0]["state"] = "sending"


def no_outbox_row(found: Evidence, one: Said) -> None:
    found.outbox = [row for row in found.outbox if row["message_id"] != f"out-{one.tag}"]


def damaged(found: Evidence, one: Said) -> None:
    found.integrity = "row 7 missing from index"


def pushed_under_two_keys(found: Evidence, one: Said) -> None:
    found.received.append(Received(one.channel, "other", "assistant", one.tag, one.expected, 2.0))


def never_pushed(found: Evidence, one: Said) -> None:
    found.received = [got for got in found.received if got.tag != one.tag]


FLAWS: list[tuple[Flaw, str]] = [
    (not_recorded, "lost"), (not_answered, "lost"), (not_shown, "lost"), (given_up, "lost"),
    (still_queued, "lost"), (never_pushed, "lost"), (recorded_twice, "doubled"),
    (answered_twice, "doubled"), (two_jobs, "doubled"), (pushed_under_two_keys, "doubled"),
    (cross_wired, "wrong"), (half_streamed, "wrong"), (asked_out_of_order, "order"),
    (answered_out_of_order, "order"), (asked_again_after_its_outcome, "paid_twice"),
    (asked_without_an_entry, "paid_twice"), (not_in_the_books, "ledger"),
    (set_aside, "ledger"), (happened_again, "effects_repeated"),
    (never_happened, "effects_missing"), (forgotten, "forgotten"),
    (two_attempts_at_a_time, "overlap"), (two_lines, "log"), (no_line, "log"),
    (half_sent, "delivery"), (no_outbox_row, "delivery"), (damaged, "database"),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "invariant"), FLAWS, ids=[one.__name__ for one, _ in FLAWS])
def test_each_flaw_is_told(flaw: Flaw, invariant: str) -> None:
    """One flaw in the evidence, and the judge names the promise that it breaks."""
    found, said = sound()
    pushed = flaw in (pushed_under_two_keys, never_pushed)
    wanted = talk.SURE if pushed else "chaos"
    places = {one.session: n for n, one in reversed(list(enumerate(said)))}
    one = next(
        one for n, one in enumerate(said)
        if one.channel == wanted and one.session.startswith("s") and n > places[one.session]
        and (pushed or one.effects)
    )  # fmt: skip
    flaw(found, one)
    assert invariant in judge(found).counts
