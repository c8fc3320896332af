"""Lines of the daily log, as :mod:`stead.flow.words` and :mod:`stead.memory.daily` write them.

::

    - 08:15:02 **owner** (cli, main) [job 1a2b3c4d, node: chat]: Is the boiler on? <!-- 17 -->
    - 08:15:04 tool:read_file `{"path": ...}` done in 0.1 s [job 1a2b3c4d] <!-- 18 -->
    - 08:15:09 **stead** [job 1a2b3c4d, waited 0.1 s, ...]: It is. <!-- 19 -->
    - 08:16:00 **outside** (mail, anna) [job 5e6f7a8b, node: chat]: Remember that ... <!-- 20 -->
    - 08:16:09 **stead** [job 5e6f7a8b, ..., foreign read, from memory]: ... <!-- 21 -->
    - 08:17:00 remembered [job 1a2b3c4d]: The boiler is a Vaillant. <!-- 22 -->

Who speaks is what stands first, before anything that came in from outside, so no text can make
itself out to be the owner's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

_FOREIGN = "foreign read"
_RECALLED = "from memory"

_STAMP = re.compile(r"(\d\d):(\d\d)(?::(\d\d))?[ \t]+", re.ASCII)
_IDENT = re.compile(r"<!-- (\d{1,18}) -->", re.ASCII)
_SAID = re.compile(
    r"\*\*(?P<who>[^*\n]{1,80})\*\*"
    r"(?: \((?P<channel>[^,()\n]{0,200}), (?P<session>[^\n]{0,300}?)\))?"
    r"(?: \[(?P<notes>[^\n]{0,600}?)\])?: ?(?P<text>.*)",
    re.DOTALL,
)
_WHO = re.compile(r"\*\*([^*\n]{1,80})\*\*(.*)", re.DOTALL)
_REMEMBERED = re.compile(r"remembered(?: \[(?P<notes>[^\]\n]{0,300})\])?: ?(?P<text>.*)", re.DOTALL)
_OF_JOB = re.compile(r"\[job ([\w-]{1,40})[^\]\n]{0,300}\]", re.ASCII)
_JOB = re.compile(r"job ([\w-]{1,40})", re.ASCII)
_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Said:
    """One line, taken apart."""

    text: str
    clock: tuple[int, int, int]
    speaker: str = ""
    session: str = ""
    job: str = ""
    foreign: bool = False
    event: bool = False
    """What stead wrote about its work; nobody said it."""
    recalled: bool = False
    """It says again what was remembered."""
    remembered: bool = False
    """Kept on purpose (the tool ``remember``), not said in passing."""


class Talk:
    """What lines of the same file say of each other: which conversation a job belongs to, and
    which jobs were set off from outside."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, tuple[str, bool]] = OrderedDict()

    def read(self, text: str) -> Said | None:
        """Take apart a list item; None for one that stead did not write."""
        stamp = _STAMP.match(text)
        if stamp is None:
            return None
        clock = int(stamp[1]), int(stamp[2]), int(stamp[3] or 0)
        rest = without_ident(text[stamp.end() :])
        if said := _SAID.match(rest):
            return self._said(said, clock)
        if other := _WHO.match(rest):
            # Not quite as stead writes it; what stands first tells whose words these are.
            foreign = other[1].strip() not in ("owner", "stead")
            return Said(other[2].strip(), clock, other[1].strip(), foreign=foreign)
        if kept := _REMEMBERED.match(rest):
            return self._kept(kept, clock)
        found = _OF_JOB.fullmatch(rest, max(0, rest.rfind("[job ")))
        job = found[1] if found else ""
        session, foreign = self._jobs.get(job, ("", False))
        return Said(rest, clock, session=session, job=job, foreign=foreign, event=True)

    def _said(self, said: re.Match[str], clock: tuple[int, int, int]) -> Said:
        who, notes = said["who"].strip(), (said["notes"] or "").split(", ")
        job = _job(notes)
        session, outside = self._jobs.get(job, ("", False))
        session = said["session"] or session
        foreign = who not in ("owner", "stead") or _FOREIGN in notes
        if job:
            self._jobs[job] = session, foreign or outside
            self._jobs.move_to_end(job)
            if len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
        foreign = foreign or (outside and who == "stead")
        speaker = said["channel"] if who == "outside" and said["channel"] else who
        if who not in ("owner", "stead") and speaker in ("owner", "stead"):
            speaker = "outside"  # a channel of that name
        return Said(said["text"], clock, speaker, session, job, foreign, False, _RECALLED in notes)

    def _kept(self, kept: re.Match[str], clock: tuple[int, int, int]) -> Said:
        notes = (kept["notes"] or "").split(", ")
        job = _job(notes)
        session, outside = self._jobs.get(job, ("", False))
        foreign = outside or _FOREIGN in notes
        return Said(kept["text"], clock, "stead", session, job, foreign, remembered=True)


def _job(notes: list[str]) -> str:
    found = _JOB.fullmatch(notes[0]) if notes else None
    return found[1] if found else ""


def without_ident(text: str) -> str:
    """Without the comment that ends a line of stead's own."""
    at = _ident(text)
    return text if at < 0 else text[:at].rstrip(" \t")


def whole(text: str) -> bool:
    """Whether the comment is there; one without was written by hand, or torn by a crash."""
    return _ident(text) >= 0


def _ident(text: str) -> int:
    if not text.endswith("-->"):
        return -1
    at = text.rfind("<!--")
    return at if at >= 0 and _IDENT.fullmatch(text, at) else -1
