"""Carries out a plan: begins each fault when its time has come, and heals it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from stead.chaos.clients import Book
from stead.chaos.kinds import KINDS
from stead.chaos.means import Means, why_not
from stead.chaos.plan import Fault, Plan

_TICK_S = 0.01
#: So many messages may be accepted beyond the next fault of the plan that has not begun.
_SLACK = 40


@dataclass(slots=True)
class Carried:
    """A fault that was carried out. Times: ``time.monotonic()``."""

    fault: Fault
    began: float
    healed: float = 0.0


@dataclass(slots=True)
class _Active:
    carried: Carried
    until: float
    heal: Callable[[], bool]
    """Heals, and says whether it is over (a process that is told to end takes its time)."""


class Driver(threading.Thread):
    """Runs beside the clients. Faults overlap, but not two of one kind of touch on one target."""

    def __init__(self, plan: Plan, means: Means, book: Book) -> None:
        super().__init__(name="faults", daemon=True)
        self.carried: list[Carried] = []
        self.left_out: Counter[str] = Counter()
        """Faults that are not possible here, by kind."""
        self.error: Exception | None = None
        self._means = means
        self._book = book
        self._messages = plan.messages
        self._active: dict[tuple[str, str], _Active] = {}
        self._stopped = threading.Event()
        self._pending: list[Fault] = []
        self._reached: dict[int, float] = {}
        for fault in sorted(plan.faults, key=lambda fault: (fault.at, fault.id)):
            if why_not(fault.kind):
                self.left_out[fault.kind] += 1
            else:
                self._pending.append(fault)

    def done(self) -> bool:
        return not self.is_alive()

    @property
    def in_force(self) -> list[str]:
        """What is broken just now, in words."""
        active = list(self._active.values())
        return [f"{one.carried.fault.kind} {one.carried.fault.target}" for one in active]

    def stop(self) -> None:
        """Begin no more, heal what is broken."""
        self._stopped.set()
        self.join(60)

    def run(self) -> None:
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: the run tells of it
            self.error = error
            self._book.stop()

    def _run(self) -> None:
        while self._pending or self._active:
            if self._stopped.is_set():
                self._pending.clear()
            self._heal_due(all_of_it=self._stopped.is_set())
            self._begin_due()
            upto = self._pending[0].at + _SLACK if self._pending else self._messages
            self._book.allow(upto)
            time.sleep(_TICK_S)
        self._book.allow(self._messages)

    def _heal_due(self, *, all_of_it: bool) -> None:
        now = time.monotonic()
        for touch, active in list(self._active.items()):
            if (all_of_it or now >= active.until) and active.heal():
                active.carried.healed = time.monotonic()
                del self._active[touch]

    def _begin_due(self) -> None:
        accepted = self._book.accepted
        for fault in list(self._pending):
            if fault.at > accepted:
                return
            if (
                time.monotonic()
                < self._reached.setdefault(fault.id, time.monotonic()) + fault.after_s
            ):
                continue
            touch = (KINDS[fault.kind].touches, fault.target)
            if touch in self._active:
                continue
            self._pending.remove(fault)
            carried = Carried(fault, time.monotonic())
            heal = self._means.begin(fault)
            self.carried.append(carried)
            self._active[touch] = _Active(carried, carried.began + fault.for_s, heal)
