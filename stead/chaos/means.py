"""What can be broken on this machine, and how each kind of fault is brought about and healed."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable

from stead.chaos import model
from stead.chaos.faults import netns, shim
from stead.chaos.house import House, free_ports
from stead.chaos.kinds import CLOCK, DISK, GATEWAY, KINDS, NET, NODE, RECEIVER
from stead.chaos.machines import Machines
from stead.chaos.network import Network
from stead.chaos.plan import Fault, Plan
from stead.chaos.receiver import Receiver

Heal = Callable[[], bool]

#: A process that was told to end must have ended within this (seconds).
STOPS_WITHIN_S = 20.0
#: What is done by the kernel to packets, in a network namespace for each node.
_KERNEL = ("netns", "nft")


@functools.cache
def _why_not(need: str) -> str:
    """Looked at once: to try a namespace takes a moment."""
    match need:
        case "shim":
            return shim.available()
        case "netns":
            return netns.available()
        case "nft":
            return _why_not("netns") or netns.loss_available()
    return ""


def why_not(kind: str) -> str:
    """Why a kind of fault is not possible on this machine; empty if it is."""
    return _why_not(KINDS[kind].needs)


class Means:
    """The ways of breaking one house. Make it before the gateway is started."""

    def __init__(self, house: House, plan: Plan, receiver: Receiver) -> None:
        self.stubborn: list[str] = []
        """Processes that did not end when told to, and were killed."""
        self._house = house
        self._receiver = receiver
        self._nodes = [f"{NODE}{n}" for n in range(1, plan.nodes + 1)]
        self._machines: Machines | None = None
        if any(KINDS[f.kind].needs == "shim" and not why_not(f.kind) for f in plan.faults):
            self._machines = Machines(house, plan.seed)
            self._machines.put(GATEWAY)
        kernel = any(KINDS[f.kind].needs in _KERNEL and not why_not(f.kind) for f in plan.faults)
        self._network = Network(house.port, plan.seed, kernel=kernel)

    def add_nodes(self) -> None:
        """Make the nodes, each on its own way to the gateway, and start them."""
        for name, port in zip(self._nodes, free_ports(len(self._nodes)), strict=True):
            host = self._network.lay(name, port)
            self._house.add_node(name, host, port)
            self._house.parts[name].command = self._network.inside(
                name, self._house.parts[name].command
            )
            if self._machines is not None:
                self._machines.put(name)
            self._house.start(name)

    def begin(self, fault: Fault) -> Heal:
        """Bring a fault about; what is returned heals it."""
        touches = KINDS[fault.kind].touches
        if touches == NET:
            self._network.begin(fault)
            return lambda: self._network.heal(fault.target)
        if touches in (CLOCK, DISK):
            return self._break_machine(fault)
        if fault.kind in model.DIRECTIVES:
            model.set_fault(self._house.folder, fault.kind, int(fault.how.get("after", 0)))
            return self._model_is_well
        if fault.target == RECEIVER:
            self._receiver.fault = fault.kind
            return self._receiver_is_well
        match fault.kind:
            case "kill" | "torn":
                return self._kill(fault)
            case "restart":
                return self._restart(fault)
            case "pause" | "sleep":
                self._house.send(fault.target, signal.SIGSTOP)
                return lambda: self._go_on(fault)
        raise ValueError(f"nobody knows how to do {fault.kind}")

    def heal_all(self) -> None:
        """Whatever an early end left broken."""
        for name in self._house.parts:
            self._house.send(name, signal.SIGCONT)
            self._house.start(name)
        self._network.heal_all()
        if self._machines is not None:
            self._machines.heal_all()
        self._model_is_well()
        self._receiver_is_well()

    def settle(self) -> None:
        """Wait a moment for what is still on its way."""
        self._network.settle()

    @property
    def bytes_lost(self) -> int:
        """What power cuts took away, of what was written and not synced."""
        return self._machines.lost_bytes if self._machines is not None else 0

    def close(self) -> None:
        self._network.close()
        if self._machines is not None:
            self._machines.close()

    # --- machines ----------------------------------------------------------------------

    def _break_machine(self, fault: Fault) -> Heal:
        machines = self._machines
        assert machines is not None
        machines.begin(fault)
        if KINDS[fault.kind].touches == CLOCK:
            return lambda: machines.heal_clock(fault.target)
        return lambda: machines.heal_disk(fault.target)

    # --- processes ---------------------------------------------------------------------

    def _kill(self, fault: Fault) -> Heal:
        self._house.end(fault.target, signal.SIGKILL)
        if fault.kind == "torn":
            assert self._machines is not None
            self._machines.power_cut(fault)
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

    # --- the model and the receiver ----------------------------------------------------

    def _model_is_well(self) -> bool:
        model.set_fault(self._house.folder, "")
        return True

    def _receiver_is_well(self) -> bool:
        self._receiver.fault = ""
        return True
