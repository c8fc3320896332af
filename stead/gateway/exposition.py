"""Prometheus' text format (exposition format 0.0.4): what ``/metrics`` answers with.

Written by hand: prometheus-client would cost each process its import and its memory, each
request its locks, and what is needed of it is this page. The tests read it with that library's
own parser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


class Page:
    """Families of samples, one after the other."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, help_: str) -> Family:
        """Begin a family; ``kind`` is counter, gauge or histogram."""
        said = help_.replace("\\", r"\\").replace("\n", r"\n")
        self._lines.append(f"# HELP {name} {said}")
        self._lines.append(f"# TYPE {name} {kind}")
        return Family(name, self._lines)

    def gauge(self, name: str, help_: str, value: float) -> None:
        """A family of a single value."""
        self.family(name, "gauge", help_).sample(value)

    def counter(self, name: str, help_: str, value: float) -> None:
        self.family(name, "counter", help_).sample(value)

    def text(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()


class Family:
    """The samples of one name."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self._name = name
        self._lines = lines

    def sample(self, value: float, labels: Labels | None = None, *, suffix: str = "") -> None:
        told = ",".join(f'{name}="{_escaped(text)}"' for name, text in (labels or {}).items())
        self._lines.append(f"{self._name}{suffix}{{{told}}} {_number(value)}")

    def histogram(
        self, bounds: Sequence[float], counts: Sequence[int], total: float, labels: Labels
    ) -> None:
        """Counts by bucket, the last above all bounds, as the format wants them: cumulated."""
        so_far = 0
        for bound, count in zip((*bounds, float("inf")), counts, strict=True):
            so_far += count
            self.sample(so_far, {**labels, "le": _number(bound)}, suffix="_bucket")
        self.sample(total, labels, suffix="_sum")
        self.sample(so_far, labels, suffix="_count")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
