"""Where a watcher is in the text of a job: the id of an event, valid over any restart."""

from __future__ import annotations

import re
from typing import NamedTuple

from stead.core.errors import BadRequest

_FORM = re.compile(r"([0-9]{1,9})\.([0-9]{1,12})(?:\.([0-9]{1,18}))?")


class Place(NamedTuple):
    """``epoch.offset``, or ``epoch.offset.remark``; places compare as they follow each other.

    ``epoch`` is the attempt, ``offset`` how many characters of its text were seen, and
    ``remark`` numbers what was said beside the text (tools, notes), 0 for text itself.
    """

    epoch: int = 0
    offset: int = 0
    remark: int = 0

    def __str__(self) -> str:
        whole = f"{self.epoch}.{self.offset}"
        return f"{whole}.{self.remark}" if self.remark else whole

    @classmethod
    def parse(cls, text: str | None) -> Place:
        """The beginning, if empty. Raises ``BadRequest``."""
        if not text:
            return cls()
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadRequest(
                f"Last-Event-ID must be the id of an event of this job, not {text[:100]!r}.",
                param="Last-Event-ID",
            )
        return cls(*(int(number or 0) for number in found.groups()))


BEGINNING = Place()


class Retold:
    """Shows a text that may be told anew, and shows nothing of it twice.

    After :meth:`anew` nothing is given out until the new text goes beyond what was shown; where
    it turns out to be another text, it is given out whole.
    """

    def __init__(self) -> None:
        self.shown = ""
        self._again: str | None = None

    def anew(self) -> None:
        """What was told is void; the text begins again."""
        self._again = ""

    def more(self, text: str) -> tuple[str, bool]:
        """What of it is to be shown, and whether that is another text than the one shown."""
        if self._again is None:
            self.shown += text
            return text, False
        self._again += text
        if self.shown.startswith(self._again):
            return "", False
        return self._catch_up()

    def end(self, text: str) -> tuple[str, bool]:
        """As :meth:`more`, for the whole text at its end."""
        if not text or self.shown.strip() == text.strip():
            return "", False
        self._again = text
        return self._catch_up()

    def _catch_up(self) -> tuple[str, bool]:
        again = self._again or ""
        rest, other = again[len(self.shown) :], False
        if not again.startswith(self.shown):
            rest, other = again, True
        self.shown, self._again = again, None
        return rest, other
