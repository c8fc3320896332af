"""Figures on paper: the table, JSON, and the block in docs/performance.md."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.figures import Bench, Figure

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_BEGIN, _END = "<!-- figures: written by python -m bench --write -->", "<!-- end of figures -->"
_HEADS = ["what", "figure", "aim", "", "lowest to highest (runs)", "beside"]
_BESIDE_WIDTH = 64
#: Below this (per cent of all cores) a machine counts as quiet.
QUIET = 10.0


class Outcome(Protocol):
    """What came of one bench."""

    bench: Bench
    figures: list[Figure]
    skipped: str
    failed: str
    took_s: float
    busy: float


def ending(skipped: str, failed: str) -> str:
    """How a bench ended, in words."""
    if failed:
        return f"failed ({failed})"
    return f"skipped ({skipped})" if skipped else "done"


def as_text(outcomes: Sequence[Outcome], about: Sequence[str]) -> str:
    """One table for a terminal; what stands beside a figure is wrapped."""
    rows = [_HEADS, *(figure.words() for one in outcomes for figure in one.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [*about, ""]
    for number, row in enumerate(rows):
        beside = textwrap.wrap(row[5], _BESIDE_WIDTH) or [""]
        cells = [
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row[:5], widths, strict=True))
        ]
        lines.append(("  ".join(cells) + "  " + beside[0]).rstrip())
        pad = " " * (sum(widths) + 2 * len(widths))
        lines += [pad + more for more in beside[1:]]
        if number == 0:
            lines.append("-" * (sum(widths) + 2 * len(widths) + _BESIDE_WIDTH))
    return "\n".join([*lines, *_left_out(outcomes)])


def as_data(outcomes: Sequence[Outcome], about: Sequence[str]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "machine": list(about),
        "benches": [
            {
                "name": one.bench.name,
                "took_s": round(one.took_s, 1),
                "busy_before_percent": one.busy,
                "skipped": one.skipped,
                "failed": one.failed,
                "figures": [
                    {
                        "name": figure.name, "value": figure.value, "unit": figure.unit,
                        "aim": figure.aim, "more_is_better": figure.more,
                        "verdict": figure.verdict, "runs": list(figure.runs),
                        "beside": figure.beside,
                    }
                    for figure in one.figures
                ],
            }
            for one in outcomes
        ],
    }  # fmt: skip


def write(outcomes: Sequence[Outcome], about: Sequence[str]) -> None:
    """Replace the block of figures in the document."""
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise SystemExit(f"{DOCUMENT.name} has no block of figures between its two markers")
    lines = [f"- {line}" for line in about] + ["- command: `python -m bench --write`", ""]
    lines += [f"| {' | '.join(_HEADS)} |", "|---|---:|---|---|---|---|"]
    for one in outcomes:
        lines += [f"| {' | '.join(figure.words())} |" for figure in one.figures]
    lines += _left_out(outcomes)
    DOCUMENT.write_text("\n".join([before + _BEGIN, "", *lines, "", _END]) + after, "utf-8")


def _left_out(outcomes: Sequence[Outcome]) -> list[str]:
    """What has no figures and why, and which figures came from a machine that was not quiet."""
    told = [
        f"{one.bench.name}: {ending(one.skipped, one.failed)}"
        for one in outcomes
        if one.skipped or one.failed
    ]
    loud = [f"{one.bench.name} ({one.busy:.0f}%)" for one in outcomes if one.busy >= QUIET]
    if loud:
        told.append(f"Others kept the machine busy just before: {', '.join(loud)}.")
    return ["", *told] if told else []
