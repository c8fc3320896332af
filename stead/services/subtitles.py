"""What was said, and when: as SubRip and as WebVTT."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spoken:
    """A piece of a recording with its words. Times in seconds."""

    start: float
    end: float
    text: str
    words: tuple[tuple[str, float, float], ...] = ()
    """Each word with its beginning and end, where the model tells them."""


def srt(pieces: Iterable[Spoken]) -> str:
    """SubRip."""
    return "".join(
        f"{number}\n{_time(one.start, ',')} --> {_time(one.end, ',')}\n{_text(one)}\n\n"
        for number, one in enumerate(pieces, 1)
    )


def vtt(pieces: Iterable[Spoken]) -> str:
    """WebVTT (W3C)."""
    cues = "".join(
        f"{_time(one.start, '.')} --> {_time(one.end, '.')}\n{_text(one)}\n\n" for one in pieces
    )
    return f"WEBVTT\n\n{cues}"


def _text(one: Spoken) -> str:
    """In one line, and without what would end the cue or begin another one."""
    return " ".join(one.text.split()).replace("-->", "->")


def _time(seconds: float, point: str) -> str:
    whole = max(0, round(seconds * 1000))
    minutes, ms = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{point}{ms % 1000:03}"
