"""A run in words: a table for the terminal, Markdown for docs/evidence, JSON for programs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from typing import Any

from stead.chaos.kinds import KINDS
from stead.chaos.run import Outcome
from stead.chaos.verdict import INVARIANTS

#: Of each invariant that is broken, so many cases are told.
CASES = 20

_FIGURES = {
    "accepted": "messages accepted",
    "answered": "messages answered",
    "attempts": "attempts of jobs",
    "crashes": "workers lost in mid-job",
    "model_calls": "calls that reached the model",
    "calls_repeated": "in-flight model calls repeated by rule",
    "effects": "effects that happened",
    "effects_by_rule": "in-flight idempotent effects repeated by rule",
    "unclear": "effects left unclear by a crash",
    "asked_owner": "... of these asked of the owner and answered",
    "ended_by_rule": "... of these ended by rule, and the owner told",
    "pushed": "replies pushed to a receiver",
    "pushed_again": "... of these again, under the same key",
    "left_in_doubt": "... doubtful ones left at that, and shown",
    "broken_streams": "streams to clients that broke and were taken up again",
    "refused_reports": "reports refused for good",
    "fell_by_themselves": "processes that fell without being killed",
    "killed_at_restart": "processes that did not end when told to",
}


def rows(outcome: Outcome) -> list[tuple[str, str]]:
    """The table: what is judged first, then what is counted, then the times."""
    counts, figures = outcome.verdict.counts, outcome.verdict.figures
    table = [("messages", str(outcome.plan.messages))]
    table += [(words, str(counts[name])) for name, words in INVARIANTS.items()]
    table += [(words, str(figures.get(name, 0))) for name, words in _FIGURES.items()]
    table.append(("recovery p50 / p99", _times(outcome.recovery_s)))
    table.append(("answer p50 / p99", _times(outcome.answer_s)))
    table.append(("duration", f"{outcome.seconds:.0f} s"))
    return table


def fault_rows(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Kind, how often, what it is; then those that could not be, and why."""
    table = [
        (name, str(outcome.faults[name]), kind.about)
        for name, kind in KINDS.items() if outcome.faults[name]
    ]  # fmt: skip
    for name, (count, why) in outcome.left_out.items():
        table.append((name, "0", f"{count} planned, not possible here: {why}"))
    return table


def text(outcome: Outcome) -> str:
    """For the terminal."""
    lines = ["faults"]
    lines += _columns(fault_rows(outcome))
    lines += ["", "what became of it"]
    lines += _columns(rows(outcome))
    lines += ["", verdict(outcome)]
    lines += [f"  {words}" for words in cases(outcome)]
    return "\n".join(lines)


def verdict(outcome: Outcome) -> str:
    """One sentence."""
    if outcome.verdict.sound:
        return "Nothing was lost, nothing was done twice."
    told = [f"{INVARIANTS[name]}: {count}" for name, count in outcome.verdict.counts.items()]
    return "Broken: " + ", ".join(told) + "."


def cases(outcome: Outcome) -> list[str]:
    """What is wrong, case by case, some of each kind."""
    told: list[str] = []
    for name, words in INVARIANTS.items():
        mine = [case for invariant, case in outcome.verdict.problems if invariant == name]
        told += [f"{words}: {case}" for case in mine[:CASES]]
        if len(mine) > CASES:
            told.append(f"{words}: and {len(mine) - CASES} more")
    return told


def markdown(outcome: Outcome, command: str) -> str:
    """For docs/evidence: machine, date, command, tables. No names of hosts, no paths."""
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    lines = [
        f"# stead chaos, seed {outcome.plan.seed}, {outcome.plan.messages} messages",
        "",
        f"{date}. {machine()}.",
        "",
        f"    {command}",
        "",
        f"**{verdict(outcome)}**",
        "",
        "| what became of it | |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in rows(outcome)),
        "",
        "| fault | times | |",
        "|---|---:|---|",
        *(f"| {name} | {count} | {about} |" for name, count, about in fault_rows(outcome)),
        "",
    ]
    found = cases(outcome)
    if found:
        lines += ["## What is wrong", "", *(f"- {words}" for words in found), ""]
    return "\n".join(lines)


def data(outcome: Outcome) -> dict[str, Any]:
    """For programs. Times in seconds."""
    return {
        "seed": outcome.plan.seed,
        "messages": outcome.plan.messages,
        "nodes": outcome.plan.nodes,
        "sound": outcome.verdict.sound,
        "broken": {name: outcome.verdict.counts[name] for name in INVARIANTS},
        "figures": outcome.verdict.figures,
        "faults": dict(outcome.faults),
        "not_possible": {
            kind: {"planned": count, "why": why}
            for kind, (count, why) in outcome.left_out.items()
        },
        "recovery_s": _data_times(outcome.recovery_s),
        "answer_s": _data_times(outcome.answer_s),
        "seconds": round(outcome.seconds, 1),
        "cases": cases(outcome),
    }  # fmt: skip


def machine() -> str:
    """The machine without its name."""
    return (
        f"{platform.system()} {platform.machine()}, {_cores()} cores,"
        f" Python {platform.python_version()}"
    )


def _cores() -> int:

    return os.cpu_count() or 1


def share(values: Sequence[float], part: float) -> float:
    """The value below which this part of the sorted values lies (nearest rank)."""
    return values[min(len(values) - 1, int(part * len(values)))]


def _times(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{share(values, 0.5):.2f} s / {share(values, 0.99):.2f} s"


def _data_times(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    named = {"p50": share(values, 0.5), "p99": share(values, 0.99), "max": values[-1]}
    return {name: round(value, 3) for name, value in named.items()}


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))] if table else []
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
