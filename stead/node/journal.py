"""The step journal of one job at one epoch, as a node keeps it (invariant 3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stead.core.nouns import Step, Usage
from stead.node.sender import Sender


class NodeJournal:
    """``core.ports.Journal``: the past came with the claim, the present goes to the gateway.

    An intent is at the gateway before it is acted on, because any other worker
    must see it there. An outcome is on this disk before the job goes on, and
    reaches the gateway in its own time, in order.
    """

    def __init__(self, sender: Sender, past: Iterable[Step]) -> None:
        self._sender = sender
        self._past = {step.seq: step for step in past}

    def past(self, seq: int) -> Step | None:
        """The step an earlier attempt recorded at this place, if any."""
        return self._past.get(seq)

    async def intend(self, step: Step) -> None:
        """Record the intent; waits while the gateway is away, raises ``StaleEpoch`` when fenced."""
        await self._sender.intend(replace(step, epoch=self._sender.epoch))

    async def settle(self, step: Step) -> None:
        """Record the outcome durably."""
        await self._sender.settle(replace(step, epoch=self._sender.epoch))

    async def replayed(self, step: Step) -> None:
        """Record that an outcome was used again. It goes with the next entry, at no cost of its
        own; where something had changed, it is on this disk before the job goes on."""
        entry = replace(step, epoch=self._sender.epoch, output="", usage=Usage())
        if entry.note:
            await self._sender.settle(entry)
        else:
            self._sender.pass_on(entry)
