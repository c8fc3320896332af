"""Two judgements that need more than one look: what a node had kept, and what was pushed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from stead.chaos.driver import Carried
from stead.chaos.evidence import Evidence, Row
from stead.chaos.kinds import CLOCK, DISK, KINDS, PROCESS
from stead.chaos.talk import PLAIN, PUSHED, SURE
from stead.chaos.verdict import Case, Verdict

#: A node that goes on for so long after an effect has its outcome on its disk (seconds).
KEPT_AFTER_S = 2.0

_LEFT = ("left", "ambiguous")


def kept(verdict: Verdict, cases: dict[str, Case], found: Evidence) -> None:
    """What a node knew well before it was killed, it knows when it is back.

    Looked at are effects that happened and of which no use was made afterwards: they happened
    again, or the owner had to say what became of them. Where the node went on undisturbed for a
    while after the effect, and had the job until it started anew (no lease ran out: then the job
    was another's already), its outcome was in the spool, and a node sends its spool before all
    else.
    """
    happened: dict[str, list[Row]] = defaultdict(list)
    for entry in found.effects:
        happened[str(entry["key"])].append(entry)
    names = {row["id"]: row["name"] for row in found.nodes}
    lost: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in found.attempts:
        if row["outcome"] != "done":
            lost[row["job_id"], names.get(row["node_id"], "")].append(row["error"])
    for case in cases.values():
        for place, (key, _) in enumerate(case.said.effects, 1):
            for entry in _unused(happened[key], case.steps.get(2 * place, [])):
                node = str(entry["node"])
                ends = lost[case.job["id"], node] if case.job else []
                if not ends or any("restarted" not in end for end in ends):
                    continue
                lived = _undisturbed(node, float(entry["t"]) - found.clock, found.carried)
                if lived > KEPT_AFTER_S:
                    verdict.blame(
                        "forgotten", f"{key} was done {lived:.1f} s before {node} was killed, and"
                        " the journal does not know it",
                    )  # fmt: skip


def _unused(happened: list[Row], rows: list[Row]) -> list[Row]:
    """Of the times that an effect happened, those whose outcome nobody used."""
    in_order = sorted(happened, key=lambda entry: float(entry["t"]))
    done = [row for row in rows if row["state"] == "done"]
    last_is_used = bool(done) and "owner says" not in done[0]["note"]
    return in_order[:-1] if last_is_used else in_order


def _undisturbed(node: str, at: float, carried: Iterable[Carried]) -> float:
    """How long the node went on after ``at`` until it was killed; 0 if anything else happened to
    its process, disk or clock meanwhile, or nothing killed it."""
    mine = [one for one in carried if one.fault.target == node]
    touching = [one for one in mine if KINDS[one.fault.kind].touches in (PROCESS, DISK, CLOCK)]
    if any(one.began <= at <= (one.healed or at) for one in touching):
        return 0.0
    later = sorted((one for one in touching if one.began > at), key=lambda one: one.began)
    if not later or KINDS[later[0].fault.kind].group != "kill":
        return 0.0
    return later[0].began - at


def pushed(verdict: Verdict, cases: dict[str, Case], found: Evidence) -> None:
    """Each reply of a pushed channel arrived: under one key where doubles are dropped, and no
    more than once where they are not; what is missing there is shown as doubtful."""
    keys: dict[str, Counter[str]] = defaultdict(Counter)
    for one in found.received:
        if one.role == "assistant" and one.tag:
            keys[one.tag][one.key] += 1
    states = {row["job_id"]: row["state"] for row in found.outbox if row["job_id"]}
    for tag, case in cases.items():
        if case.said.channel not in PUSHED or case.job is None or case.job["state"] != "done":
            continue
        got = keys[tag]
        state = states.get(case.job["id"], "nowhere")
        if len(got) > 1:
            verdict.blame("doubled", f"{tag} was pushed under {len(got)} keys")
        elif not got and (case.said.channel == SURE or state not in _LEFT):
            verdict.blame("lost", f"the reply to {tag} never came by {case.said.channel}: {state}")
        elif case.said.channel == PLAIN and sum(got.values()) > 1:
            verdict.blame("doubled", f"{tag} was pushed {sum(got.values())} times to {PLAIN}")
    _order(verdict, cases, found)
    verdict.figures["pushed"] = sum(sum(got.values()) for got in keys.values())
    verdict.figures["pushed_again"] = sum(sum(got.values()) - len(got) for got in keys.values())
    verdict.figures["left_in_doubt"] = sum(1 for row in found.outbox if row["state"] in _LEFT)


def _order(verdict: Verdict, cases: dict[str, Case], found: Evidence) -> None:
    """The first copies of a conversation's replies came in its order, by each channel."""
    order: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in found.received:
        case = cases.get(one.tag)
        if case is not None and one.role == "assistant":
            told = order[case.said.session, one.channel]
            if one.tag not in told:
                told.append(one.tag)
    for (session, channel), told in order.items():
        if told != sorted(told):
            verdict.blame("order", f"{session}: {channel} was sent the replies as {told}")
