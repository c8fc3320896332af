"""Accept and settle, with all that hangs on them, against ``house.House``.

The real flow, queue, router, live events and daily log over a storage in a home of its own, which
is cut off again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from stead.core.errors import KeyReused, StaleEpoch, WrongState
from stead.core.ids import uuid7
from stead.core.nouns import Inbound
from stead.core.states import Lane
from stead.core.storage import Accepted, Ended, Granted
from stead.core.wire import Event, Events, Finish, Held
from tests.contract.machine.flow_bench import LEASE_MS, NODES, FlowBench
from tests.contract.machine.house import ANNA, OVER, OWNER, Talk
from tests.contract.machine.jobs import a_step
from tests.contract.machine.queue_bench import report_of

picks = st.integers(0, 999)
nodes = st.sampled_from(sorted(NODES))
channels = st.sampled_from(["cli", "api", "mail"])
workers = st.sampled_from(["owner"] * 6 + ["another", "before", "anyone"])
outcomes = st.sampled_from(
    ["done", "done", "done", "failed", "failed", "away", "permanent", "waiting", "cancelled"]
)
spans = st.sampled_from([1, 1_000, 10_000, LEASE_MS + 1, 600_001, 86_400_000])
messages = st.builds(
    lambda channel, ident, text, session, lane, retry, person: Inbound(
        channel, ident or uuid7(), text, session, lane=Lane(lane), body_hash=f"{person}{text}",
        is_retry=retry, person=person,
    ),
    channel=channels,
    ident=st.sampled_from(["", "", "", "1", "2"]),
    text=st.sampled_from(["hello", "what is 2 + 2?", "remind me", "two\nlines <!-- 1 -->"]),
    session=st.sampled_from(["main", "main", "side"]),
    lane=st.sampled_from(["chat", "chat", "background"]),
    retry=st.sampled_from([False, False, False, True]),
    person=st.sampled_from([OWNER, OWNER, OWNER, ANNA]),
)  # fmt: skip


class FlowMachine(FlowBench):
    """Messages of two people by three channels, two conversations of each, three workers, and a
    gateway that dies."""

    # --- in ----------------------------------------------------------------------------

    @rule(said=st.lists(messages, min_size=1, max_size=3))
    def accept(self, said: list[Inbound]) -> None:
        """Some at once, now and then the same one twice."""

        async def work() -> list[Accepted | BaseException]:
            return await asyncio.gather(
                *(self.flow.accept(one) for one in said), return_exceptions=True
            )

        for one, accepted in zip(said, self.lab.run(work()), strict=True):
            known = self.house.known(one.channel, one.external_id, one.body_hash, one.is_retry)
            if known is not None and (known.text, known.person) != (one.text, one.person):
                assert isinstance(accepted, KeyReused), "one key for two requests"
                continue
            if isinstance(accepted, BaseException):
                raise accepted
            assert accepted.duplicate is (known is not None), "the same message is one message"
            if known is not None:
                assert (accepted.job_id, accepted.message_id) == (known.job_id, known.message_id)
                continue
            light = accepted.route.startswith("light")
            place = self.house.place_of(one.person, one.session)
            talk = Talk(
                len(self.house.talks), one.channel, one.external_id, one.text, place,
                self.house.next_turn(place), accepted.message_id, accepted.job_id, light,
                one.body_hash, one.person,
            )  # fmt: skip
            self.house.accept(talk)
            self.touched = talk

    # --- claims ------------------------------------------------------------------------

    @rule(node=nodes)
    def claim(self, node: str) -> None:
        self.take_work(node, uuid7())

    @precondition(lambda self: bool(self.house.of("queued")))
    @rule()
    def everybody_claims(self) -> None:
        for node in NODES:
            self.take_work(node, uuid7())

    @precondition(lambda self: bool(self.requests))
    @rule(n=picks)
    def claim_again(self, n: int) -> None:
        """The answer was lost: the same job again, unless it has gone on since."""
        (node, request), (job_id, epoch) = list(self.requests.items())[n % len(self.requests)]
        if not self.house.owns(job_id, epoch, node):
            return
        granted = self.ask(node, request)
        assert granted is not None
        assert (granted.job.id, granted.job.epoch) == (job_id, epoch)
        self.house.talks[job_id].lease = self.house.now + LEASE_MS
        self.compare_history(self.house.talks[job_id], granted)

    def take_work(self, node: str, request: str) -> None:
        light = NODES[node] == ("@gateway",)
        granted = self.ask(node, request)
        if granted is None:
            free = [talk for talk in self.house.talks.values() if self.house.may_go(talk, light)]
            assert not free, "there was work for it"
            return
        talk = self.house.talks[granted.job.id]
        assert (talk.state, talk.light) == ("queued", light) and talk.due <= self.house.now
        session = [one for one in self.house.talks.values() if one.session == talk.session]
        assert not any(one.state == "running" for one in session), "two of one conversation"
        before = [one for one in session if one.place < talk.place and not one.by_hand]
        assert not any(one.state == "queued" for one in before), "out of the order of arrival"
        assert granted.job.epoch == talk.epoch + 1, "an epoch rises by one with each claim"
        talk.state, talk.epoch, talk.cancel = "running", granted.job.epoch, False
        talk.node, talk.boot = node, self.boot(node)
        talk.lease = self.house.now + LEASE_MS
        talk.attempts[talk.epoch] = (node, "")
        self.requests[node, request] = (talk.job_id, talk.epoch)
        self.past.append((talk.job_id, talk.epoch, node))
        self.compare_history(talk, granted)
        self.touched = talk

    def compare_history(self, talk: Talk, granted: Granted) -> None:
        """The conversation as it was at the first attempt, at each attempt."""
        seen = [(turn.role, turn.text) for turn in self.lab.run(self.store.history(granted.job))]
        if talk.history is None:
            talk.history = self.house.said_before(talk)
        assert seen == talk.history, "another history than at the first attempt"

    # --- while it runs -----------------------------------------------------------------

    @precondition(lambda self: bool(self.past))
    @rule(
        n=picks, who=workers, seq=st.integers(1, 3),
        state=st.sampled_from(["intent", "done", "failed", "token"]),
    )  # fmt: skip
    def events(self, n: int, who: str, seq: int, state: str) -> None:
        job_id, epoch, node = self.a_worker(n, who)
        event = Event(1, "token", "word")
        if state != "token":
            event = Event(1, "step", step=a_step(seq, state, '"out"' if state == "done" else ""))
        report = Events(uuid7(), job_id, epoch, [event])
        if not self.house.owns(job_id, epoch, node):
            with pytest.raises(StaleEpoch):
                self.lab.run(self.flow.events(node, report))
            self.came_back(job_id, epoch, node)
            return
        talk = self.house.talks[job_id]
        assert self.lab.run(self.flow.events(node, report)) is (
            talk.cancel and (state != "token")
        ), "whether to stop is told with each step"
        if state in ("done", "failed") and (seq, epoch) not in talk.outcomes:
            talk.outcomes.add((seq, epoch))
            talk.stepped += 1
        self.touched = talk

    # --- ends --------------------------------------------------------------------------

    @precondition(lambda self: bool(self.past))
    @rule(n=picks, outcome=outcomes, who=workers)
    def settle(self, n: int, outcome: str, who: str) -> None:
        job_id, epoch, node = self.a_worker(n, who)
        report = report_of(job_id, epoch, outcome)
        if not self.house.owns(job_id, epoch, node):
            with pytest.raises(StaleEpoch):
                self.lab.run(self.flow.settle(node, report))
            self.came_back(job_id, epoch, node)
            return
        talk = self.house.talks[job_id]
        state = self.house.verdict(talk, outcome)
        ended = self.lab.run(self.settled(node, report))
        talk.tries += report.outcome == "failed" and (outcome, state) != ("away", "queued")
        assert (ended.state, ended.repeat) == (state, False)
        self.after_end(talk, ended, outcome, report.text)
        talk.ends.append((node, epoch, report.id, state))
        self.sent_reports.append((node, report, state))

    @precondition(lambda self: bool(self.sent_reports))
    @rule(n=picks)
    def settle_again(self, n: int) -> None:
        """The answer was lost: the same answer, and nothing else."""
        node, report, state = self.sent_reports[n % len(self.sent_reports)]
        ended = self.lab.run(self.settled(node, report))
        assert (ended.state, ended.repeat) == (state, True)
        self.touched = self.house.talks[report.job_id]

    async def settled(self, node: str, report: Finish) -> Ended:
        return await self.flow.settle(node, report)

    def came_back(self, job_id: str, epoch: int, node: str) -> None:
        """Work that had been taken from its node is kept aside, and told of once."""
        talk = self.house.talks[job_id]
        if talk.attempts.get(epoch, ("", ""))[0] == node and talk.was_taken(epoch):
            talk.came_back.add(epoch)
            self.house.heard_of(talk, epoch, node)
        self.touched = talk

    # --- workers and gateways that vanish ------------------------------------------------

    @rule(node=nodes)
    def restart_node(self, node: str) -> None:
        self.boots[node] += 1
        left = [t for t in self.house.of("running") if t.node == node and t.boot != self.boot(node)]
        self.lab.run(self.queue.restarted(node, self.boot(node), self.flow.crash_rule))
        self.taken_back(left, "restarted")

    @rule(ms=spans)
    def later(self, ms: int) -> None:
        self.lab.clock.now += ms
        self.house.now = self.lab.clock.now
        lost = [talk for talk in self.house.of("running") if talk.lease < self.house.now]
        self.lab.run(self.queue.rescue(self.flow.crash_rule))
        self.taken_back(lost, "silent")

    @precondition(lambda self: bool(self.past))
    @rule(node=nodes)
    def heartbeat(self, node: str) -> None:
        """A node tells of all it ever had. What it has lost by its silence alone was no crash."""
        told = list(dict.fromkeys((job_id, epoch) for job_id, epoch, _ in self.past))
        beat = self.lab.run(self.queue.heartbeat(node, [Held(*one) for one in told]))
        talks = self.house.talks
        mine = [one for one in told if self.house.owns(*one, node)]
        assert beat[0] == [job_id for job_id, _ in mine if talks[job_id].cancel]
        assert beat[1] == [one[0] for one in told if one not in mine]
        for job_id, epoch in told:
            if (job_id, epoch) in mine:
                talks[job_id].lease = self.house.now + LEASE_MS
            else:
                self.house.heard_of(talks[job_id], epoch, node)

    @rule(way=st.sampled_from(["kill", "kill", "stop"]))
    def restart_gateway(self, way: str) -> None:
        self.lab.kill() if way == "kill" else self.lab.restart()
        self.start()
        for talk in self.house.of("running"):
            talk.lease = self.house.now + LEASE_MS
        self.reserved_are_closed()

    # --- the owner's hand ------------------------------------------------------------------

    @precondition(lambda self: bool(self.house.talks))
    @rule(n=picks, live=st.sampled_from([True, True, False]))
    def cancel(self, n: int, live: bool) -> None:
        talk = self.any_of(n, *(("queued", "running", "waiting") if live else ()))
        if talk is None:
            return
        if talk.state in OVER:
            with pytest.raises(WrongState):
                self.lab.run(self.flow.cancel(talk.job_id))
            return
        ended = self.lab.run(self.flow.cancel(talk.job_id))
        if talk.state == "running":
            talk.cancel = True
            assert (ended.state, ended.message_id) == ("running", None)
            return
        assert ended.state == "cancelled"
        said = self.house.move(talk, "cancelled")
        assert said is not None and ended.message_id is not None
        self.replies[ended.message_id] = talk.job_id
        self.house.post(talk, ended.message_id)
        self.touched = talk

    @precondition(lambda self: bool(self.house.of("dead", "waiting")))
    @rule(n=picks)
    def bring_back(self, n: int) -> None:
        """Try a dead one again, or answer one that waits."""
        talk = self.any_of(n, "dead", "waiting")
        assert talk is not None
        if talk.state == "dead":
            self.lab.run(self.flow.revive(talk.job_id))
            talk.tries = talk.crashes = 0
        else:
            self.lab.run(self.flow.answer(talk.job_id, "repeat"))
        talk.state, talk.due, talk.by_hand = "queued", self.house.now, True
        self.touched = talk

    # --- out -----------------------------------------------------------------------------

    @rule(channel=channels)
    def take(self, channel: str) -> None:
        """Each conversation one at a time, in order, and none twice."""
        taken = self.lab.run(self.store.take(channel))
        due = self.house.to_take(channel)
        assert sorted(one.message_id for one in taken) == sorted(one.message_id for one in due)
        for one in taken:
            self.house.mark(one.message_id, "sending")
            self.taken[one.message_id] = one.id

    @precondition(lambda self: bool(self.taken))
    @rule(n=picks, how=st.sampled_from(["sent", "sent", "pending", "ambiguous", "left", "failed"]))
    def deliver(self, n: int, how: str) -> None:
        message_id, ident = list(self.taken.items())[n % len(self.taken)]
        _, row = self.house.sent(message_id)
        store = self.store
        work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "sent": lambda: store.delivered(ident),
            "pending": lambda: store.undelivered(ident, delay_ms=5_000, note="later"),
            "ambiguous": lambda: store.ambiguous(ident, "who knows"),
            "left": lambda: store.left(ident, "left"),
            "failed": lambda: store.undeliverable(ident, "no such place"),
        }
        self.lab.run(work[how]())
        if row.state in ("sending", "ambiguous") and row.state != how:
            self.house.mark(message_id, how, 5_000 if how == "pending" else 0)

    @precondition(lambda self: bool(self.taken))
    @rule(n=picks, how=st.sampled_from(["sent", "again", "drop"]))
    def settle_by_hand(self, n: int, how: str) -> None:
        message_id, ident = list(self.taken.items())[n % len(self.taken)]
        _, row = self.house.sent(message_id)
        may = {
            "sent": ("ambiguous", "failed", "pending", "left"),
            "again": ("ambiguous", "failed", "left", "dropped"),
            "drop": ("ambiguous", "failed", "pending", "left"),
        }[how]
        becomes = {"sent": "sent", "again": "pending", "drop": "dropped"}[how]
        with contextlib.ExitStack() as refused:
            if row.state not in may:
                refused.enter_context(pytest.raises(Exception, match="cannot be done"))
            self.lab.run(self.store.settle_delivery(str(ident), how))
        if row.state in may:
            self.house.mark(message_id, becomes)

    @precondition(lambda self: bool(self.house.talks))
    @rule(n=picks)
    def fetched(self, n: int) -> None:
        """The owner has read the reply where he asked."""
        talk = self.any_of(n)
        assert talk is not None
        mine = {message_id for message_id, job_id in self.replies.items() if job_id == talk.job_id}
        self.lab.run(self.store.fetched(talk.job_id))
        for conversation in list(self.house.outbox.values()):
            for row in conversation:
                if row.message_id in mine and row.state == "pending":
                    self.house.mark(row.message_id, "sent")

    # --- money ---------------------------------------------------------------------------

    @rule(lane=st.sampled_from(["chat", "background"]), micro=st.integers(1, 400))
    def reserve(self, lane: str, micro: int) -> None:
        self.reserve_one(lane, micro)

    @precondition(lambda self: bool(self.house.reserved))
    @rule(n=picks, micro=st.integers(0, 500))
    def book(self, n: int, micro: int) -> None:
        self.book_one(n, micro)

    # --- the daily log -------------------------------------------------------------------

    @rule(cut=st.booleans())
    def write_log(self, cut: bool) -> None:
        """Now and then the gateway dies between writing a line and knowing that it is written."""
        if not cut:
            self.lab.run(self.daily.write_pending())
            return
        lines = self.lab.run(self.store.day_lines())
        if lines:
            self.daily._append(lines)
        self.restart_gateway("kill")

    # --- what must be seen -----------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        self.compare_rows()
        self.compare_record()
        self.compare_outbox()
        self.compare_money()
        if self.touched is not None:
            self.compare_story(self.touched)
