"""One run: set up, break, wait until all is well again, take evidence, judge."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stead.chaos import evidence, talk
from stead.chaos.clients import Clients
from stead.chaos.door import AWAY
from stead.chaos.driver import Driver
from stead.chaos.evidence import Evidence
from stead.chaos.house import House
from stead.chaos.judge import judge
from stead.chaos.kinds import GATEWAY, KINDS, MODEL
from stead.chaos.means import Means, why_not
from stead.chaos.owner import Owner
from stead.chaos.plan import Plan
from stead.chaos.receiver import Receiver
from stead.chaos.verdict import Verdict

#: Nothing at all happened for this long: then what is left will not come.
STUCK_S = 90.0
AT_ONCE = 24

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """A run that came to its end."""

    plan: Plan
    verdict: Verdict
    seconds: float
    faults: Counter[str]
    """Carried out, by kind."""
    left_out: dict[str, tuple[int, str]]
    """Not possible here, by kind: how many, and why."""
    recovery_s: list[float] = field(default_factory=list)
    """From the healing of each fault to the next answer, sorted."""
    answer_s: list[float] = field(default_factory=list)
    """From accepting to answering, sorted."""
    kept: Path | None = None

    def group(self, name: str) -> int:
        """How many faults of a group (``kill``, ``partition``, ``other``) were carried out."""
        return sum(n for kind, n in self.faults.items() if KINDS[kind].group == name)


def carry_out(
    plan: Plan,
    *,
    keep: Path | None = None,
    say: Say = lambda text: None,
    environment: Mapping[str, str] | None = None,
    stuck_s: float = STUCK_S,
) -> Outcome:
    """Carry out a plan and judge it.

    ``keep``: a new or empty folder for homes and logs, which stays; without it a temporary one
    that goes. ``say`` is told how it goes, about once a second. ``environment``: more of it for
    the processes. Raises ``HomeUnusable`` and ``Broken``.
    """
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        outcome = _Run(plan, folder, say, environment, stuck_s).whole()
        outcome.kept = keep
        return outcome


class _Run:
    def __init__(
        self,
        plan: Plan,
        folder: Path,
        say: Say,
        environment: Mapping[str, str] | None,
        stuck_s: float,
    ) -> None:
        self._plan = plan
        self._say = say
        self._stuck_s = stuck_s
        self._house = House(folder, plan.nodes, environment, plan.lease_s)
        (folder / "plan.json").write_text(plan.as_json())
        self._sessions = talk.make(plan.seed, plan.messages)
        self._found = Evidence()

    def whole(self) -> Outcome:
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            house = stack.enter_context(self._house)
            receiver = Receiver(house.receiver_port)
            stack.callback(receiver.close)
            means = Means(house, self._plan, receiver)
            stack.callback(means.close)
            house.open()
            means.add_nodes()
            clients = Clients(house.door, self._sessions, AT_ONCE)
            receiver.book = clients.book
            owner = Owner(house.door, house.effects)
            driver = Driver(self._plan, means, clients.book)
            try:
                owner.start()
                driver.start()
                clients.start()
                self._follow(clients, driver)
                driver.stop()
                means.heal_all()
                means.settle()
                if driver.error is not None:
                    raise driver.error
                self._drain(clients)
            finally:
                driver.stop()
                clients.stop()
                owner.stop()
            self._found.received = receiver.received
            self._take_evidence(clients, driver, owner, means)
        verdict = judge(self._found)
        return self._outcome(verdict, clients, driver, time.monotonic() - began)

    def _follow(self, clients: Clients, driver: Driver) -> None:
        """Until every message has its answer and every fault was carried out."""
        book = clients.book
        told = 0.0
        last_fault = 0.0
        while clients.busy() or not driver.done():
            time.sleep(0.05)
            now = time.monotonic()
            if driver.in_force:
                last_fault = now
            if now - told >= 1.0:
                told = now
                self._say(self._line(clients, driver))
            if now - max(book.last_change, last_fault) > self._stuck_s:
                self._found.stuck = (
                    f"nothing was accepted or answered for {self._stuck_s:g} s, with"
                    f" {book.accepted} accepted and {book.answered} answered"
                )
                book.stop()
                return

    def _line(self, clients: Clients, driver: Driver) -> str:
        book = clients.book
        done = Counter(KINDS[one.fault.kind].group for one in list(driver.carried))
        now = ", ".join(driver.in_force[:4])
        return (
            f"{book.accepted} of {self._plan.messages} accepted, {book.answered} answered;"
            f" {done['kill']} kills, {done['partition']} partitions, {done['other']} others"
            + (f"; now: {now}" if now else "")
        )

    def _drain(self, clients: Clients) -> None:
        """Until the queue says that nothing is left to do, and the log is written."""
        if self._found.stuck:
            return
        until = time.monotonic() + self._stuck_s
        words = ""
        while time.monotonic() < until:
            with contextlib.suppress(*AWAY):
                status, told = self._house.door.call("GET", "/api/v1/status")
                if status == 200:
                    left = {name: told["queue"][name] for name in ("queued", "running", "waiting")}
                    words = f"the queue still says {left}"
                    if not any(left.values()):
                        words = "replies are still to be pushed"
                        if not self._to_push():
                            return
            time.sleep(0.2)
        self._found.stuck = f"{self._stuck_s:g} s after all was over, {words}"

    def _to_push(self) -> bool:
        """Whether replies are still on their way to the receiver."""
        for channel in talk.PUSHED:
            for state in ("pending", "sending"):
                path = f"/api/v1/outbox?state={state}&channel={channel}&limit=1"
                status, page = self._house.door.call("GET", path)
                if status != 200 or page["deliveries"]:
                    return True
        return False

    def _take_evidence(self, clients: Clients, driver: Driver, owner: Owner, means: Means) -> None:
        found, house = self._found, self._house
        self._say("all is over; looking at what became of it")
        names = list(dict.fromkeys(said.session for talk in self._sessions for said in talk))
        with contextlib.suppress(*AWAY):
            found.shown = evidence.shown(house.door, names)
        for name in house.parts:
            if name not in (GATEWAY, MODEL):
                house.end(name, signal.SIGTERM)
        time.sleep(0.5)  # what was just ended is on its way into the daily log
        for name in (GATEWAY, MODEL):
            if not house.end(name, signal.SIGTERM, 30.0):
                means.stubborn.append(name)
        found.noted = dict(clients.book.noted)
        found.carried = driver.carried
        found.answers = owner.answers
        found.stubborn = means.stubborn
        found.clock = time.time() - time.monotonic()
        evidence.gather(house, found)
        told = [f"{one.began:.3f} {one.healed:.3f} {one.fault.words()}" for one in driver.carried]
        (house.folder / "faults.txt").write_text("\n".join(told) + "\n")

    def _outcome(
        self, verdict: Verdict, clients: Clients, driver: Driver, seconds: float
    ) -> Outcome:
        times = sorted(clients.book.answer_times)
        recovery = []
        for one in driver.carried:
            at = bisect_right(times, one.healed)
            if one.healed and at < len(times):
                recovery.append(times[at] - one.healed)
        return Outcome(
            plan=self._plan,
            verdict=verdict,
            seconds=seconds,
            faults=Counter(one.fault.kind for one in driver.carried),
            left_out={kind: (count, why_not(kind)) for kind, count in driver.left_out.items()},
            recovery_s=sorted(recovery),
            answer_s=sorted(
                noted.answered_at - noted.accepted_at
                for noted in clients.book.noted.values()
                if noted.answered_at and noted.accepted_at
            ),
        )
