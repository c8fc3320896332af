"""What a measurement gives: figures with their aims, and the arithmetic of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


class Skipped(Exception):
    """This cannot be measured here; the text says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure: the median of its runs, and the lowest and highest of them."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    more: bool = False
    """More is better: the aim is a floor. Else it is a ceiling."""
    beside: str = ""
    """A peer or a limit measured in the same run, in words."""
    runs: tuple[float, ...] = ()

    @property
    def verdict(self) -> str:
        """``ok`` or ``behind``; empty where there is no aim."""
        if self.aim is None:
            return ""
        good = self.value >= self.aim if self.more else self.value <= self.aim
        return "ok" if good else "behind"

    def words(self) -> list[str]:
        """The cells of its line in the table."""
        aim = ""
        if self.aim is not None:
            aim = f"{'over' if self.more else 'under'} {number(self.aim)} {self.unit}"
        spread = ""
        if len(self.runs) > 1:
            spread = f"{number(min(self.runs))} to {number(max(self.runs))} ({len(self.runs)})"
        return [
            self.name, f"{number(self.value)} {self.unit}", aim, self.verdict, spread, self.beside,
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bench may work: a folder of its own, removed afterwards."""

    scratch: Path
    models: Path
    """Folder with weights, ``<catalogue name>.gguf``."""
    limit_s: float
    """The bench is cut off after this long."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench as the registry lists it."""

    name: str
    what: str
    limit_s: float
    """It is cut off after this long."""
    run: Callable[[Place], Iterable[Figure]]
    """What it has given when it is cut off is kept."""


def of_runs(
    name: str,
    runs: Sequence[float],
    unit: str,
    *,
    aim: float | None = None,
    more: bool = False,
    beside: str = "",
) -> Figure:
    """The median of several runs as a figure."""
    return Figure(name, median(runs), unit, aim, more, beside, tuple(runs))


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def number(value: float) -> str:
    """Three significant digits, thousands with commas."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
