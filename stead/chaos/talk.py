"""What is said: messages made from a seed, each with the one answer that is right."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass

TAG = re.compile(r"\bm\d{6}\b")
_WORDS = (
    "lamp", "river", "stone", "paper", "cloud", "bread", "window", "garden", "music", "winter",
    "letter", "bridge", "forest", "mirror", "candle", "harbour",
)  # fmt: skip

#: Ways in which a message is sent and its answer is waited for.
POST, FOLLOW, CHAT, STREAM = "post", "follow", "chat", "stream"

#: Channels by which replies are pushed: to a receiver that drops doubles, and to one that does
#: not (there a doubtful reply is left at that, and shown).
SURE, PLAIN = "sure", "plain"
PUSHED = (SURE, PLAIN)


@dataclass(frozen=True, slots=True)
class Said:
    """One message. ``effects``: (key, rule) of each tool call that it brings about, in order."""

    tag: str
    session: str
    text: str
    expected: str
    way: str
    channel: str
    mark: str
    lane: str
    twice: bool
    effects: tuple[tuple[str, str], ...]

    @property
    def external_id(self) -> str:
        return f"idem:{self.tag}" if self.channel == "api" else self.tag


def make(seed: int, messages: int, a_session: int = 20) -> list[list[Said]]:
    """``messages`` messages in conversations of about ``a_session`` each.

    Messages whose tools may leave a question to the owner are in conversations
    of their own (every fourth): a question lets those behind it go first, so
    there is no order to judge.
    """
    dice = random.Random(f"talk {seed}")
    a_session = min(a_session, max(4, messages // 24))
    sessions: list[list[Said]] = []
    for n in range(messages):
        if n % a_session == 0:
            sessions.append([])
        asks = len(sessions) % 4 == 0
        session = f"q{len(sessions)}" if asks else f"s{len(sessions)}"
        sessions[-1].append(_one(dice, f"m{n:06d}", session, asks=asks))
    return sessions


def _one(dice: random.Random, tag: str, session: str, *, asks: bool) -> Said:
    words = " ".join(dice.choice(_WORDS) for _ in range(dice.randint(2, 7)))
    expected = f"The answer to {tag} is {dice.randint(1000, 9999)}: {words}."
    slow = dice.choice([0, 5, 15, 40])
    light = not asks and dice.random() < 0.15
    calls = 0 if light else dice.choice([1, 1, 2] if asks else [0, 0, 0, 1, 1, 2, 3])
    effects = []
    pieces = []
    for n in range(1, calls + 1):
        rule = dice.choice(["ask", "fail", "ask", "repeat"] if asks else ["repeat"])
        key = f"{tag}.{n}"
        args = {"key": key, "before_ms": dice.choice([0, 10, 60, 200]),
                "after_ms": dice.choice([0, 10, 60, 200])}  # fmt: skip
        pieces.append(f"[[tool chaos_{rule} {json.dumps(args)}]]")
        effects.append((key, rule))
    ways = [POST, POST, FOLLOW] if asks else [POST, POST, FOLLOW, CHAT, STREAM, STREAM]
    way = dice.choice(ways)
    channel = "api" if way in (CHAT, STREAM) else "chaos"
    if way == POST and not asks:
        channel = dice.choice([channel, *PUSHED])
    text = f"Chaos {tag}, please. {' '.join(pieces)} [[slow {slow}]] [[say {expected}]]"
    return Said(
        tag=tag,
        session=session,
        text=text,
        expected=expected,
        way=way,
        channel=channel,
        mark="light" if light else "heavy",
        lane="background" if dice.random() < 0.1 else "chat",
        twice=dice.random() < 0.08,
        effects=tuple(effects),
    )
