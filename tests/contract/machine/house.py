"""What accept and settle promise, in plain Python: no message lost, none answered twice.

Written from docs/ARCHITECTURE.md and the docstrings of ``stead.flow`` and ``stead.core.storage``.
Which ready job goes first is left to ``jobs``; here it counts what becomes of each message.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

OVER = ("done", "cancelled", "dead")
OWNER, ANNA = "owner", "01890000-0000-7000-8000-00000000aaaa"
MAX_TRIES = 3
MAX_CRASHES = 3


@dataclass
class Line:
    """One line of a conversation."""

    turn: int
    role: str
    text: str
    """Empty: what stead itself says, in its own words."""


@dataclass
class Sent:
    """A row of the outbox. ``free``: of its conversation it is the one that may go now."""

    message_id: str
    state: str = "pending"
    free: bool = False
    due: int = 0

    @property
    def under_way(self) -> bool:
        return self.state in ("pending", "sending")


@dataclass
class Talk:
    """A message and the job made of it."""

    place: int
    channel: str
    external_id: str
    text: str
    session: str
    turn: int
    message_id: str
    job_id: str
    light: bool
    body_hash: str = ""
    person: str = OWNER
    at: int = 0
    state: str = "queued"
    due: int = 0
    epoch: int = 0
    tries: int = 0
    crashes: int = 0
    cancel: bool = False
    node: str = ""
    boot: str = ""
    lease: int = 0
    history: list[tuple[str, str]] | None = None
    """What its first attempt saw."""
    by_hand: bool = False
    """Brought back by the owner, so it may come after those that came after it."""
    ends: list[tuple[str, int, str, str]] = field(default_factory=list)
    """Reports that ended an attempt: (node, epoch, report id, state)."""
    attempts: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Of each epoch its node, and how it ended: ``""``, what was reported, ``restarted``,
    ``silent``, or ``cut off`` where it was heard of again."""
    outcomes: set[tuple[int, int]] = field(default_factory=set)
    """(step, epoch) of which the outcome is in the journal."""
    intents: set[tuple[int, int]] = field(default_factory=set)
    answered: int = 0
    """Lines of the daily log that tell of its answer."""
    told: int = 0
    """Lines that tell of any other end of an attempt."""
    stepped: int = 0
    came_back: set[int] = field(default_factory=set)
    """Attempts that came back after they had been taken away."""

    asides: int = 0
    """What the owner was told of it, where somebody else asked."""

    @property
    def open(self) -> bool:
        return self.state in ("queued", "running")

    def was_taken(self, epoch: int) -> bool:
        return self.attempts[epoch][1] in ("restarted", "silent", "cut off")


class House:
    """All that was said, what became of it, and what is on its way to the owner."""

    def __init__(self) -> None:
        self.now = 0
        self.talks: dict[str, Talk] = {}
        self.lines: dict[str, list[Line]] = defaultdict(list)
        self.outbox: dict[tuple[str, str], list[Sent]] = defaultdict(list)
        self.spent: dict[tuple[str, str], int] = defaultdict(int)
        self.reserved: dict[str, tuple[str, str, int]] = {}

    # --- in ----------------------------------------------------------------------------

    @staticmethod
    def place_of(person: str, session: str) -> str:
        """Each person's conversations are their own, whatever they call them."""
        return session if person == OWNER else f"person:{person}:{session}"

    def known(self, channel: str, external_id: str, body_hash: str, retry: bool) -> Talk | None:
        for talk in self.talks.values():
            if (talk.channel, talk.external_id) == (channel, external_id):
                return talk
        same = [
            talk
            for talk in self.talks.values()
            if retry and body_hash and (talk.channel, talk.body_hash) == (channel, body_hash)
            if talk.at > self.now - 600_000
        ]
        return max(same, key=lambda talk: (talk.at, talk.place), default=None)

    def accept(self, talk: Talk) -> None:
        assert talk.job_id not in self.talks
        talk.due = talk.at = self.now
        self.talks[talk.job_id] = talk
        self.lines[talk.session].append(Line(talk.turn, "owner", talk.text))

    def next_turn(self, session: str) -> int:
        return 1 + sum(talk.session == session for talk in self.talks.values())

    def said_before(self, talk: Talk) -> list[tuple[str, str]]:
        """The conversation before a message: by turns, alternating."""
        earlier = [line for line in self.lines[talk.session] if line.turn < talk.turn]
        told: list[tuple[str, str]] = []
        for line in sorted(earlier, key=lambda line: line.turn):
            if line.role == "notice":
                continue
            speaker = "user" if line.role == "owner" else "assistant"
            if told and told[-1][0] == speaker:
                told[-1] = (speaker, told[-1][1] + "\n\n" + line.text)
            else:
                told.append((speaker, line.text))
        if told and told[-1][0] == "user":
            told.append(("assistant", "(no answer)"))
        return told

    # --- claims ------------------------------------------------------------------------

    def of(self, *states: str) -> list[Talk]:
        return [talk for talk in self.talks.values() if talk.state in states]

    def may_go(self, talk: Talk, light: bool) -> bool:
        """Whether nothing stands against giving this job to such a worker now."""
        others = [one for one in self.talks.values() if one.session == talk.session]
        alone = not any(one.open for one in others if one is not talk)
        return (
            talk.state == "queued" and talk.due <= self.now and talk.light is light and alone
            and not any(one.crashes for one in self.of("queued", "running"))
        )  # fmt: skip

    def owns(self, job_id: str, epoch: int, node: str) -> bool:
        talk = self.talks.get(job_id)
        return talk is not None and (talk.state, talk.epoch, talk.node) == ("running", epoch, node)

    def heard_of(self, talk: Talk, epoch: int, node: str) -> None:
        """A node tells of a job that it has no longer."""
        if talk.attempts.get(epoch) == (node, "silent"):
            talk.attempts[epoch] = (node, "cut off")
            if talk.crashes and talk.state in ("queued", "running", "waiting"):
                talk.crashes -= 1

    # --- ends --------------------------------------------------------------------------

    def verdict(self, talk: Talk, outcome: str) -> str:
        """The state that a report leads to, by the states of the architecture."""
        if outcome == "done":
            return "done"
        if outcome == "cancelled" or talk.cancel:
            return "cancelled"
        if outcome == "waiting":
            return "waiting"
        if outcome == "away":
            return "queued"
        return "dead" if outcome == "permanent" or talk.tries + 1 >= MAX_TRIES else "queued"

    def end(self, talk: Talk, state: str, outcome: str, reply: str) -> tuple[str, str] | None:
        """What an end leaves: the new state, a log line, and the role and text of a reply."""
        talk.attempts[talk.epoch] = (talk.node, outcome)
        return self.move(talk, state, reply)

    def move(self, talk: Talk, state: str, reply: str = "") -> tuple[str, str] | None:
        talk.state = state
        if state == "done":
            talk.answered += 1
            said = ("assistant", reply)
        else:
            talk.told += 1
            said = ("notice", "")
        if state == "queued":
            return None
        self.lines[talk.session].append(Line(talk.turn, *said))
        return said

    def post(self, talk: Talk, message_id: str) -> None:
        """A reply is on its way, behind those of its conversation."""
        self.post_to(talk.channel, talk.session, message_id)

    def post_to(self, channel: str, session: str, message_id: str) -> None:
        conversation = self.outbox[channel, session]
        free = not any(sent.under_way for sent in conversation)
        conversation.append(Sent(message_id, free=free, due=self.now))

    def aside(self, talk: Talk, message_id: str) -> None:
        """The owner is told of what somebody else asked for, where he spoke last himself."""
        his = [one for one in self.talks.values() if one.person == OWNER]
        channel, session = (his[-1].channel, his[-1].session) if his else ("cli", "main")
        self.lines[session].append(Line(0, "notice", ""))
        self.post_to(channel, session, message_id)
        talk.asides += 1

    # --- delivery ----------------------------------------------------------------------

    def sent(self, message_id: str) -> tuple[list[Sent], Sent]:
        for conversation in self.outbox.values():
            for one in conversation:
                if one.message_id == message_id:
                    return conversation, one
        raise AssertionError("a reply that nobody gave")

    def to_take(self, channel: str) -> list[Sent]:
        """What is due on a channel: of each conversation one at a time, in order."""
        return [
            one
            for (name, _), conversation in self.outbox.items()
            for one in conversation
            if name == channel and one.free and one.state == "pending" and one.due <= self.now
        ]

    def mark(self, message_id: str, state: str, delay_ms: int = 0) -> None:
        conversation, one = self.sent(message_id)
        one.state, one.due = state, self.now + delay_ms
        if state == "sending":
            return  # it goes on being the one of its conversation
        if state == "pending":
            one.free = not any(o.free and o.under_way for o in conversation if o is not one)
            return
        one.free = False
        behind = [o for o in conversation if o.under_way]
        if behind and not any(o.free for o in behind):
            behind[0].free = True
