"""What happens to single requests on a bad network, and drawing it by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to single requests. Shares are from 0 (never) to 1 (always); seconds else."""

    duplicate: float = 0.0
    """Sent twice: at the same time, after the answer, or up to ``late_s`` later, in equal parts."""
    late_s: float = 3.0
    copies_of: tuple[str, ...] = ("/",)
    """Only requests for paths that begin so are sent twice."""
    reorder: float = 0.0
    """Held back until ``overtake`` later requests have passed it, at most ``hold_s``."""
    overtake: int = 3
    hold_s: float = 2.0
    lose_request: float = 0.0
    """Never reaches the gateway; the connection breaks."""
    lose_answer: float = 0.0
    """The gateway has acted and answered; the answer is lost and the connection breaks."""
    cut_answer: float = 0.0
    """The connection breaks somewhere within the answer."""
    cut_within: int = 4096
    """At the latest after so many bytes of it."""
    trickle: float = 0.0
    """The answer comes in small bits, ``trickle_bytes`` each ``trickle_s``, for its first ones."""
    trickle_bytes: int = 7
    trickle_s: float = 0.01
    delay_s: float = 0.0
    """Every request and every piece of an answer takes so long on the way..."""
    jitter_s: float = 0.0
    """...and up to so much longer."""


@dataclass(slots=True)
class Fate:
    """What was drawn for one request."""

    copy: Literal["", "at once", "after", "late"] = ""
    late_s: float = 0.0
    held: bool = False
    lost: Literal["", "request", "answer"] = ""
    cut_after: int = -1
    trickle: bool = False


def draw(weather: Weather, path: str, rng: random.Random) -> Fate:
    """The fate of a request for this path."""
    fate = Fate()
    if rng.random() < weather.duplicate and path.startswith(weather.copies_of):
        fate.copy = rng.choice(("at once", "after", "late"))
        fate.late_s = rng.random() * weather.late_s
    fate.held = rng.random() < weather.reorder
    point = rng.random()
    if point < weather.lose_request:
        fate.lost = "request"
    elif point < weather.lose_request + weather.lose_answer:
        fate.lost = "answer"
    elif point < weather.lose_request + weather.lose_answer + weather.cut_answer:
        fate.cut_after = rng.randrange(max(1, weather.cut_within))
    fate.trickle = rng.random() < weather.trickle
    return fate
