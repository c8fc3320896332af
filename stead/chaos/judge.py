"""What the evidence amounts to: figures, and each fault of stead in words.

Nothing here asks stead what it believes. What was accepted and answered is what
clients were told; which calls were made is what the model logged; which effects
happened is what the tools' file holds; what was journalled is what lies in the
database once all is stopped.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from stead.chaos.aftermath import kept, pushed
from stead.chaos.evidence import Evidence, Row
from stead.chaos.talk import TAG
from stead.chaos.verdict import Case, Verdict


def judge(found: Evidence) -> Verdict:
    """Look at everything once."""
    verdict = Verdict()
    cases = _cases(found)
    for case in cases.values():
        _message(verdict, case)
    _orders(verdict, cases, found)
    _model_calls(verdict, cases, found)
    _effects(verdict, cases, found)
    kept(verdict, cases, found)
    _attempts(verdict, found)
    _daily(verdict, cases, found)
    _ledger(verdict, cases, found)
    _deliveries(verdict, found)
    pushed(verdict, cases, found)
    if found.integrity != "ok":
        verdict.blame("database", f"integrity_check says: {found.integrity}")
    if found.stuck:
        verdict.blame("stuck", found.stuck)
    verdict.figures |= _figures(found, cases)
    return verdict


def _cases(found: Evidence) -> dict[str, Case]:
    owners: dict[tuple[str, str], list[Row]] = defaultdict(list)
    said: dict[str, list[Row]] = defaultdict(list)
    shown = {row["id"] for row in found.shown}
    for row in found.messages:
        if row["role"] == "owner":
            owners[row["channel"], row["external_id"]].append(row)
        elif row["job_id"] and (row["id"] in shown or not found.shown):
            said[row["job_id"]].append(row)
    jobs = {row["id"]: row for row in found.jobs}
    steps: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in found.steps:
        steps[row["job_id"]][row["seq"]].append(row)
    cases = {}
    for tag, noted in found.noted.items():
        if not noted.accepted_at:
            continue
        recorded = owners[noted.said.channel, noted.said.external_id]
        ids = sorted(noted.jobs | {row["job_id"] for row in recorded})
        replies = [row for ident in ids for row in said[ident]]
        cases[tag] = Case(
            noted, recorded,
            [row for row in replies if row["role"] == "assistant"],
            [row for row in replies if row["role"] == "notice"],
            jobs.get(ids[0]) if ids else None,
            steps[ids[0]] if ids else {},
        )  # fmt: skip
    return cases


def _message(verdict: Verdict, case: Case) -> None:
    """Lost, doubled, or answered with something else."""
    tag, noted = case.said.tag, case.noted
    if not case.owners:
        verdict.blame("lost", f"{tag} was accepted and is not in the record")
    elif len(case.owners) > 1:
        verdict.blame("doubled", f"{tag} is {len(case.owners)} times in the record")
    if len(noted.jobs) > 1:
        verdict.blame("doubled", f"{tag} became {len(noted.jobs)} jobs: {sorted(noted.jobs)}")
    if len(case.replies) > 1:
        verdict.blame("doubled", f"{tag} has {len(case.replies)} answers")
    state = case.job["state"] if case.job else "nowhere"
    if state == "done":
        if not case.replies:
            verdict.blame("lost", f"{tag} is done and has no answer in the record")
    elif not (state == "dead" and case.notices and _unknown_by_rule(case)):
        error = f": {case.job['error'][:200]}" if case.job and case.job["error"] else ""
        verdict.blame("lost", f"{tag} was accepted and is {state}{error}")
    for text in [*(row["text"] for row in case.replies), *noted.answers]:
        if text != case.said.expected:
            verdict.blame("wrong", f"{tag} was answered {text[:160]!r}")
            break


def _unknown_by_rule(case: Case) -> bool:
    """Ended by the rule ``fail`` of a step whose outcome nobody knows, and the owner was told."""
    return any(
        row["state"] == "unknown" and row["rule"] == "fail"
        for rows in case.steps.values() for row in rows
    )  # fmt: skip


def _orders(verdict: Verdict, cases: dict[str, Case], found: Evidence) -> None:
    """In each conversation messages and answers stand in the order of saying, and the model was
    shown the answer before."""
    owners: dict[str, list[str]] = defaultdict(list)
    answers: dict[str, list[str]] = defaultdict(list)
    tags = {ident: tag for tag, case in cases.items() for ident in case.noted.jobs}
    for row in found.messages:
        tag = tags.get(row["job_id"] or "")
        if tag and row["session"].startswith("s"):
            if row["role"] == "owner":
                owners[row["session"]].append(tag)
            elif row["role"] == "assistant":
                answers[row["session"]].append(tag)
    for name, said in (("messages", owners), ("answers", answers)):
        for session, order in said.items():
            if order != sorted(order):
                verdict.blame("order", f"{session}: the {name} stand as {order}")
    before: dict[str, str] = {}
    for order in owners.values():
        before |= dict(zip(order, ["", *order], strict=False))
    told: set[str] = set()
    for call in found.asked:
        tag = call.get("m", "")
        if call["e"] != "begin" or tag not in before or tag in told:
            continue
        if call["before"] != before[tag]:
            told.add(tag)
            words = f"{tag} was asked after {call['before']!r}, not {before[tag]!r}"
            verdict.blame("order", words)


def _model_calls(verdict: Verdict, cases: dict[str, Case], found: Evidence) -> None:
    """Each call of the model is one entry of the journal; none follows an outcome."""
    begun = Counter((call["m"], call["r"]) for call in found.asked if call["e"] == "begin")
    repeated = 0
    for (tag, results), count in begun.items():
        case = cases.get(tag)
        if case is None or case.job is None:
            continue
        rows = case.steps.get(2 * results + 1, [])
        if count > len(rows):
            verdict.blame(
                "paid_twice", f"{tag}: the model was asked {count} times for its step"
                f" {2 * results + 1}, of which the journal knows {len(rows)}",
            )  # fmt: skip
        # Of those before the last, a failed one was answered; of the others nobody knows.
        cut_off = sum(1 for row in rows[:-1] if row["state"] in ("intent", "unknown"))
        repeated += min(count - 1, cut_off)
    for tag, case in cases.items():
        for seq, rows in case.steps.items():
            _paid_once(verdict, tag, seq, rows)
    verdict.figures["model_calls"] = sum(begun.values())
    verdict.figures["calls_repeated"] = repeated


def _paid_once(verdict: Verdict, tag: str, seq: int, rows: list[Row]) -> None:
    done = [row["epoch"] for row in rows if row["state"] == "done"]
    later = [row["epoch"] for row in rows if done and row["epoch"] > min(done)]
    if later:
        verdict.blame(
            "paid_twice",
            f"{tag}: step {seq} ({rows[0]['name']}) was done in attempt {min(done)} and made"
            f" again in {later}",
        )


def _effects(verdict: Verdict, cases: dict[str, Case], found: Evidence) -> None:
    """How often each effect really happened, against what its rule allows."""
    times = Counter(str(entry["key"]) for entry in found.effects)
    by_rule = 0
    for tag, case in cases.items():
        for place, (key, rule) in enumerate(case.said.effects, 1):
            rows = case.steps.get(2 * place, [])
            allowed = max(1, len(rows)) if rule == "repeat" else 1
            if times[key] > allowed:
                verdict.blame(
                    "effects_repeated", f"{key} (rule {rule}) happened {times[key]} times,"
                    f" with {len(rows)} attempts in the journal",
                )  # fmt: skip
            elif times[key] > 1:
                by_rule += times[key] - 1
            finished = [row for row in rows if row["state"] == "done"]
            if finished and not times[key] and "owner says" not in finished[0]["note"]:
                verdict.blame("effects_missing", f"{key} is journalled as done and never was")
        unknown = set(times) & {f"{tag}.{n}" for n in range(len(case.said.effects) + 1, 9)}
        for key in unknown:
            verdict.blame("effects_repeated", f"{key} was never asked for")
    verdict.figures["effects"] = sum(times.values())
    verdict.figures["effects_by_rule"] = by_rule


def _attempts(verdict: Verdict, found: Evidence) -> None:
    """Epochs of a job count from 1 without a gap, and a job ends well once."""
    epochs: dict[str, list[Row]] = defaultdict(list)
    for row in found.attempts:
        epochs[row["job_id"]].append(row)
    for job_id, rows in epochs.items():
        numbers = [row["epoch"] for row in rows]
        if numbers != list(range(1, len(numbers) + 1)):
            verdict.blame("overlap", f"job {job_id[-8:]} has the attempts {numbers}")
        if sum(1 for row in rows if row["outcome"] == "done") > 1:
            verdict.blame("doubled", f"job {job_id[-8:]} was done by two attempts")


def _daily(verdict: Verdict, cases: dict[str, Case], found: Evidence) -> None:
    """Each message and each answer has one line."""
    owners: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    for line in found.daily:
        if not line.rstrip().endswith("-->") or "\0" in line:
            continue  # torn by a crash or a power cut; its whole line follows
        named = TAG.search(line)
        if named is None:
            continue
        if " **owner** " in line[:24]:
            owners[named.group()] += 1
        elif " **stead** " in line[:24]:
            answers[named.group()] += 1
    for tag, case in cases.items():
        done = case.job is not None and case.job["state"] == "done"
        if case.owners and owners[tag] != 1:
            verdict.blame("log", f"{tag} has {owners[tag]} lines in the daily log")
        if done and answers[tag] != 1:
            verdict.blame("log", f"the answer to {tag} has {answers[tag]} lines in the daily log")
    if found.day_lines_left:
        verdict.blame("log", f"{found.day_lines_left} lines never reached the daily log")


def _ledger(verdict: Verdict, cases: dict[str, Case], found: Evidence) -> None:
    """Nothing stays set aside, and every call that reached the model is in the books."""
    booked = Counter(row["job_id"] for row in found.calls)
    open_ = [row["id"] for row in found.calls if row["state"] == "reserved"]
    if open_:
        verdict.blame("ledger", f"{len(open_)} calls are still set aside, as {open_[0]}")
    begun = Counter(call["m"] for call in found.asked if call["e"] == "begin")
    for tag, count in begun.items():
        case = cases.get(tag)
        if case and case.job and booked[case.job["id"]] < count:
            verdict.blame(
                "ledger", f"{tag}: {count} calls reached the model, {booked[case.job['id']]} are"
                " in the ledger",
            )  # fmt: skip


def _deliveries(verdict: Verdict, found: Evidence) -> None:
    """One row of the outbox a reply, none left half-sent."""
    rows = Counter(row["message_id"] for row in found.outbox)
    for row in found.messages:
        if row["role"] == "assistant" and rows[row["id"]] != 1:
            verdict.blame("delivery", f"the reply {row['id']} has {rows[row['id']]} outbox rows")
    for row in found.outbox:
        if row["state"] in ("sending", "failed"):
            verdict.blame("delivery", f"the reply {row['message_id']} is {row['state']}")


def _figures(found: Evidence, cases: dict[str, Case]) -> dict[str, int]:
    """What is counted and is no fault."""
    unknown = {
        (row["job_id"], row["seq"])
        for row in found.steps if row["state"] == "unknown" and row["rule"] != "repeat"
    }  # fmt: skip
    return {
        "accepted": len(cases),
        "answered": sum(1 for case in cases.values() if case.replies),
        "attempts": len(found.attempts),
        "crashes": sum(row["crashes"] for row in found.jobs),
        "unclear": len(unknown),
        "asked_owner": len(found.answers),
        "ended_by_rule": sum(
            1 for case in cases.values()
            if case.job and case.job["state"] == "dead" and _unknown_by_rule(case)
        ),
        "broken_streams": sum(noted.broken_streams for noted in found.noted.values()),
        "refused_reports": found.refused,
        "fell_by_themselves": sum(len(codes) for codes in found.fell.values()),
        "killed_at_restart": len(found.stubborn),
    }  # fmt: skip
