"""What the machine of accept and settle works with, and what it compares."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis.stateful import RuleBasedStateMachine

from stead.core.ids import uuid7
from stead.core.nouns import Call, Cap, Usage
from stead.core.storage import Ended, Granted, Store
from stead.core.wire import Finish
from stead.flow.flow import Flow, Tries
from stead.flow.live import Live
from stead.flow.router import Router
from stead.memory.daily import DailyLog
from stead.queue.policy import Policy
from stead.queue.queue import Queue
from tests.contract.machine.house import MAX_CRASHES, MAX_TRIES, OWNER, House, Talk
from tests.contract.machine.lab import LABS, Lab

LEASE_MS = 30_000
BACKOFF_MS = 2_000
NODES: dict[str, tuple[str, ...]] = {"n1": (), "n2": (), "gw": ("@gateway",)}
DAILY, FOR_BACKGROUND = 2_000, 900


class FlowBench(RuleBasedStateMachine):
    """A house, its model, and the comparison of the two."""

    storage = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.lab: Lab = LABS[self.storage]()
        self.house = House()
        self.house.now = self.lab.clock.now
        self.boots = dict.fromkeys(NODES, 1)
        self.requests: dict[tuple[str, str], tuple[str, int]] = {}
        self.past: list[tuple[str, int, str]] = []
        self.sent_reports: list[tuple[str, Finish, str]] = []
        self.told: list[Ended] = []
        self.replies: dict[str, str] = {}
        """Of each reply the job that gave it."""
        self.taken: dict[str, int] = {}
        self.touched: Talk | None = None
        self.start()

    @property
    def store(self) -> Store:
        return self.lab.store

    def start(self) -> None:
        """A gateway comes up over what is there."""
        store = self.lab.store
        self.queue = Queue(store, Policy(LEASE_MS, BACKOFF_MS, 60_000))
        self.queue.on_ended(self.told.append)
        self.daily = DailyLog(self.lab.home / "memory", store)
        tries = Tries(MAX_TRIES, MAX_CRASHES)
        self.flow = Flow(store, self.queue, Router(), Live(), self.daily, tries)
        self.lab.run(self.queue.start())

    def teardown(self) -> None:
        try:
            for talk in self.house.talks.values():
                self.compare_story(talk)
            self.compare_log()
        finally:
            self.lab.close()

    def boot(self, node: str) -> str:
        return f"{node}-{self.boots[node]}"

    def any_of(self, n: int, *states: str) -> Talk | None:
        fit = self.house.of(*states) if states else list(self.house.talks.values())
        return fit[n % len(fit)] if fit else None

    def a_worker(self, n: int, who: str) -> tuple[str, int, str]:
        """Who has a running job, had it before, or never did; or anyone who ever had any."""
        running = self.house.of("running")
        if who == "anyone" or not running:
            return self.past[n % len(self.past)]
        talk = running[n % len(running)]
        if who == "another":
            return talk.job_id, talk.epoch, "n2" if talk.node == "n1" else "n1"
        if who == "before":
            return talk.job_id, talk.epoch - 1, talk.node
        return talk.job_id, talk.epoch, talk.node

    def ask(self, node: str, request: str) -> Granted | None:
        return self.lab.run(
            self.queue.claim(
                request_id=request, node_id=node, boot=self.boot(node),
                lanes=("chat", "background"), labels=NODES[node], wait_s=0.0, name=node,
            )
        )  # fmt: skip

    # --- ends --------------------------------------------------------------------------

    def after_end(self, talk: Talk, ended: Ended, outcome: str, reply: str) -> None:
        """What an end leaves behind, once."""
        said = self.house.end(talk, str(ended.state), outcome, reply)
        assert (ended.job.tries, ended.job.crashes) == (talk.tries, talk.crashes)
        assert (ended.message_id is None) is (said is None)
        if ended.message_id is not None:
            self.replies[ended.message_id] = talk.job_id
            self.house.post(talk, ended.message_id)
        if talk.person != OWNER:
            self.told_aside(talk, outcome)
        if talk.state == "queued":
            assert self.house.now <= ended.job.run_at <= self.house.now + 75_000
            talk.due = ended.job.run_at
        self.touched = talk

    def told_aside(self, talk: Talk, outcome: str) -> None:
        """Of somebody else's job the owner is told what only he can settle, and what brings
        workers down, and nothing else."""
        poison = outcome in ("restarted", "silent") and talk.state == "dead"
        ident = f"job:{talk.job_id}:{talk.epoch}:aside"
        page = self.lab.run(self.store.view_outbox(state="pending", limit=500))["deliveries"]
        ids = [one["message_id"] for one in page]
        known = {one.message_id for rows in self.house.outbox.values() for one in rows}
        news = [one for one in ids if one not in known]
        if talk.state == "waiting" or poison:
            (new,) = [one for one in news if self.external_id(one) == ident]
            self.house.aside(talk, new)
        else:
            assert not [one for one in news if self.external_id(one) == ident]

    def external_id(self, message_id: str) -> str:
        for session in ("main", "side"):
            for one in self.lab.run(self.store.view_messages(session, 0, 500))["messages"]:
                if one["id"] == message_id:
                    return str(one["external_id"])
        return ""

    def taken_back(self, lost: list[Talk], why: str) -> None:
        """Who had lost its worker is free again, or at its end; nobody else is."""
        told, self.told[:] = list(self.told), []
        assert sorted(one.job.id for one in told) == sorted(talk.job_id for talk in lost)
        company = Counter((talk.node, talk.boot) for talk in lost)
        for ended in told:
            talk = self.house.talks[ended.job.id]
            alone = company[talk.node, talk.boot] == 1
            talk.crashes += 1
            if talk.cancel:
                assert ended.state == "cancelled"
            elif talk.crashes < MAX_CRASHES:
                assert ended.state == "queued"
            elif alone and not self.others(talk):
                assert ended.state == "dead", "poison dies"
            else:
                assert ended.state in ("queued", "dead")
            self.after_end(talk, ended, why, "")

    def others(self, talk: Talk) -> bool:
        return any(o is not talk and o.node == talk.node for o in self.house.of("running"))

    # --- money ---------------------------------------------------------------------------

    def day(self) -> str:
        return str(self.house.now // 86_400_000)

    def reserve_one(self, lane: str, micro: int) -> None:
        limit = DAILY if lane == "chat" else FOR_BACKGROUND
        call = Call(
            uuid7(), 0, "m", "b", "owner", None, lane, Usage(), micro, "reserved", 0, 0.0, 0.0, "",
        )  # fmt: skip
        caps = [Cap("", limit), Cap(lane, limit)]
        got = self.lab.run(self.store.reserve(call, caps)) is None
        spent = {one: self.house.spent[self.day(), one] for one in ("chat", "background")}
        fits = sum(spent.values()) + micro <= limit and spent[lane] + micro <= limit
        assert got is fits, "money is reserved before it is spent"
        if got:
            self.house.spent[self.day(), lane] += micro
            self.house.reserved[call.id] = (self.day(), lane, micro)

    def book_one(self, n: int, micro: int) -> None:
        call_id = list(self.house.reserved)[n % len(self.house.reserved)]
        day, lane, reserved = self.house.reserved.pop(call_id)
        over = Call(
            call_id, 0, "m", "b", "owner", None, lane, Usage(1, 0, 1, micro), reserved, "settled",
            200, 1.0, 2.0, "", outcome="ok",
        )  # fmt: skip
        for _ in range(2):  # only the first end counts
            self.lab.run(self.store.record_calls([], [over, over]))
        self.house.spent[day, lane] += micro - reserved

    def reserved_are_closed(self) -> None:
        """After a stop: what was under way counts at what was set aside."""
        assert self.lab.run(self.store.close_open_calls()) == len(self.house.reserved)
        self.house.reserved.clear()

    # --- all that can be seen ------------------------------------------------------------

    def compare_rows(self) -> None:
        run, talks = self.lab.run, self.house.talks
        page = run(self.store.view_jobs(limit=500))["jobs"]
        names = ("id", "state", "epoch", "tries", "crashes", "session")
        shown = [tuple(row[name] for name in names) for row in page]
        assert shown == [
            (t.job_id, t.state, t.epoch, t.tries, t.crashes, t.session)
            for t in reversed(talks.values())
        ]
        counts = run(self.store.view_counts())["queue"]
        for state in ("queued", "running", "waiting", "dead"):
            assert counts[state] == len(self.house.of(state))
        held = sorted((t.job_id, t.epoch, t.node) for t in self.house.of("running"))
        assert sorted(run(self.store.leases())) == held
        assert all(self.queue.holds(*one) for one in held)

    def compare_record(self) -> None:
        """Each message stands once, in its order; each answer where it belongs."""
        for session, lines in self.house.lines.items():
            said = self.lab.run(self.store.view_messages(session, 0, 500))["messages"]
            found = [(one["role"], one["text"]) for one in said]
            expected = [(one.role, one.text) for one in lines]
            assert len(found) == len(expected)
            for (role, text), (wanted, words) in zip(found, expected, strict=True):
                assert role == wanted and (role == "notice" or text == words)

    def compare_outbox(self) -> None:
        rows = [row for conversation in self.house.outbox.values() for row in conversation]
        states = Counter(row.state for row in rows)
        open_ = ("pending", "sending", "ambiguous", "failed")
        page = self.lab.run(self.store.view_outbox(limit=500))["deliveries"]
        assert Counter(one["state"] for one in page) == Counter(
            {state: states[state] for state in open_ if states[state]}
        )
        known = {row.message_id: row for row in rows}
        for one in page:
            row = known[one["message_id"]]
            assert one["state"] == row.state
            if row.under_way:
                assert one["blocked"] is not row.free

    def compare_money(self) -> None:
        spent = self.lab.run(self.store.view_counts())["spent"]
        for lane in ("chat", "background"):
            assert spent.get(lane, 0) == self.house.spent[self.day(), lane]

    def compare_story(self, talk: Talk) -> None:
        """One reply a message that is over, or as many as it had ends by the owner's hand."""
        story = self.lab.run(self.store.view_why(talk.job_id))
        assert story["message"]["id"] == talk.message_id
        attempts = [(one["epoch"], one["node"]) for one in story["attempts"]]
        assert attempts == [(epoch, node) for epoch, (node, _) in talk.attempts.items()]
        outcomes = {
            (one["seq"], one["epoch"])
            for one in story["steps"]
            if one["state"] in ("done", "failed")
        }
        assert outcomes == talk.outcomes
        mine = [m for m, job_id in self.replies.items() if job_id == talk.job_id]
        assert sorted(one["message_id"] for one in story["delivery"]) == sorted(mine)
        if talk.state == "done":
            assert story["reply"]["role"] == "assistant"

    def compare_log(self) -> None:
        """Every line stands in the daily log once, whatever was cut off in between."""
        self.lab.run(self.daily.write_pending())
        assert self.lab.run(self.store.day_lines()) == []
        text = "".join(path.read_text() for path in sorted(self.daily._folder.glob("*.md")))
        marks = re.findall(r"<!-- (\d+) -->$", text, re.MULTILINE)
        assert len(marks) == len(set(marks)), "a line was written twice"
        told = 0
        for talk in self.house.talks.values():
            short = talk.job_id[-8:]
            told += talk.asides
            if talk.person != OWNER:
                told += self.compare_log_of_others(talk, text)
                continue
            assert text.count(f"[job {short}, light") + text.count(f"[job {short}, node") == 1
            assert text.count(f"**stead** [job {short},") == talk.answered
            assert len(re.findall(rf"^- \S+ job {short} ", text, re.MULTILINE)) == talk.told
            assert len(re.findall(rf"^- \S+ tool:.*\[job {short}\]", text, re.M)) == talk.stepped
            assert text.count(f"at job {short} came back") == len(talk.came_back)
            told += 1 + talk.answered + talk.told + talk.stepped + len(talk.came_back)
        assert len(marks) == told, "a line tells of nothing that happened"

    def compare_log_of_others(self, talk: Talk, text: str) -> int:
        """Of what somebody else asks the owner's log says that it was, and how it ended."""
        short = talk.job_id[-8:]
        assert f"[job {short}" not in text, "what others say, or is done for them, is not told"
        assert text.count(f"job {short} asked for by") == 1
        assert text.count(f"job {short} done for") == talk.answered
        lines = 1 + talk.answered + talk.told
        assert len(re.findall(rf"^- \S+ job {short} ", text, re.MULTILINE)) == lines
        assert text.count(f"at job {short} came back") == len(talk.came_back)
        return lines + len(talk.came_back)
