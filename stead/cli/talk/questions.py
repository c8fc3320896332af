"""Questions of the agent, shown and answered where one talks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stead.cli.approvals import words
from stead.cli.common import harmless, style

_YES = {
    "y": "once", "yes": "once", "once": "once", "ok": "once", "j": "job", "job": "job",
    "yes job": "job", "a": "always", "always": "always", "yes always": "always",
}  # fmt: skip
_STEP = ("repeat", "done", "fail")


class Question:
    """One that is open. ``row`` is that of a call (:mod:`stead.core.permits`); None: what is asked
    is whether a step was done whose outcome nobody knows, and ``text`` is that in words."""

    def __init__(self, job_id: str, row: dict[str, Any] | None, text: str = "") -> None:
        self.job_id = job_id
        self.row = row
        self._text = text

    @property
    def id(self) -> str:
        return str(self.row["id"]) if self.row else ""

    def shown(self) -> Iterator[str]:
        """It, line by line, and what can be said."""
        if self.row is None:
            yield style(harmless(self._text), bold=True)
        else:
            yield from (line for line in words(self.row) if not line.startswith("  stead "))
            yield from self._always()
        yield style(f"Say: {self.choices()}", fg="yellow")

    def _always(self) -> Iterator[str]:
        if self.row and "always" in self.row["offers"] and self.row.get("always"):
            yield f"  always:     for ever: {harmless(str(self.row['always']))}"

    def choices(self) -> str:
        """What can be said, in a line."""
        if self.row is None:
            return "repeat, done or fail (/later leaves it)"
        offers = [str(one) for one in self.row["offers"]]
        if self.row["kind"] == "question":
            return (" or ".join(offers) or "your answer") + " (/later leaves it)"
        more = "".join(f", {one}" for one in ("job", "always") if one in offers)
        return f"yes{more}, or no and why (/later leaves it)"

    def meant(self, line: str) -> tuple[str, str] | None:
        """The word and the text that a line answers with; None: it is no answer."""
        said = " ".join(line.split())
        if self.row is None:
            return (said.lower(), "") if said.lower() in _STEP else None
        if self.row["kind"] == "question":
            return ("answer", line.strip()) if said else None
        word = _YES.get(said.lower().rstrip(".!"), "")
        if word == "once" or word in self.row["offers"]:
            return word, ""
        first, _, rest = said.partition(" ")
        if first.lower().rstrip(",.:;!") in ("n", "no", "deny"):
            return "no", rest
        return None
