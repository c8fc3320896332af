"""What can be broken on this machine, and how each kind of fault is brought about and healed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from stead.chaos import model
from stead.chaos.house import House
from stead.chaos.kinds import KINDS, NODE
from stead.chaos.plan import Fault

Heal = Callable[[], bool]

#: A process that was told to end must have ended within this (seconds).
STOPS_WITHIN_S = 20.0


class Means:
    """The ways of breaking one house."""

    def __init__(self, house: House, nodes: int) -> None:
        self._house = house
        self._nodes = [f"{NODE}{n}" for n in range(1, nodes + 1)]
        self.stubborn: list[str] = []
        """Processes that did not end when told to, and were killed."""

    def why_not(self, kind: str) -> str:
        """Why a kind of fault is not possible here; empty if it is."""
        if KINDS[kind].needs or KINDS[kind].touches == "net":
            return "not wired"
        return ""

    def set_up(self) -> None:
        """Make the nodes, each on its own way to the gateway, and start them."""
        for name in self._nodes:
            self._house.add_node(name, "127.0.0.1", self._house.port)
            self._house.start(name)

    def begin(self, fault: Fault) -> Heal:
        """Bring a fault about; what is returned heals it."""
        match fault.kind:
            case "kill":
                return self._kill(fault)
            case "restart":
                return self._restart(fault)
            case "pause" | "sleep":
                self._house.send(fault.target, signal.SIGSTOP)
                return lambda: self._go_on(fault)
        if fault.kind in model.DIRECTIVES:
            model.set_fault(self._house.folder, fault.kind, int(fault.how.get("after", 0)))
            return self._model_is_well
        raise ValueError(f"nobody knows how to do {fault.kind}")

    def heal_all(self) -> None:
        """Whatever was left broken by an early end."""
        for name in self._house.parts:
            self._house.send(name, signal.SIGCONT)
        self._model_is_well()

    # --- processes ---------------------------------------------------------------------

    def _kill(self, fault: Fault) -> Heal:
        self._house.end(fault.target, signal.SIGKILL)
        return lambda: self._start(fault)

    def _start(self, fault: Fault) -> bool:
        self._house.start(fault.target)
        return True

    def _go_on(self, fault: Fault) -> bool:
        self._house.send(fault.target, signal.SIGCONT)
        return True

    def _restart(self, fault: Fault) -> Heal:
        part = self._house.parts[fault.target]
        part.wanted = False
        self._house.send(fault.target, signal.SIGTERM)
        latest = time.monotonic() + STOPS_WITHIN_S

        def heal() -> bool:
            if part.process is not None and part.process.poll() is None:
                if time.monotonic() < latest:
                    return False
                self.stubborn.append(fault.target)
                self._house.end(fault.target, signal.SIGKILL)
            return self._start(fault)

        return heal

    def _model_is_well(self) -> bool:
        model.set_fault(self._house.folder, "")
        return True
