"""The steps of one job: numbered, limited, journalled, and replayed on resume.

Each step has a place (``seq``, from 1) that is the same on every worker, because
what comes next depends only on the outcomes before it. At each place the journal
knows one of these:

==============================  ================================================
nothing                         check the limits, write the intent, call, settle
``done``                        replayed; nothing is called, nothing is paid
``failed`` (model calls only)   called again: a call without an answer has no
                                outcome worth replaying, and the failure has
                                been told to the queue, which tries again
``intent``, ``unknown``         its worker died in the call. Rule ``repeat``:
                                called again, with a note. ``ask``: the owner
                                decides (``repeat``, ``done``, ``fail``); until
                                then the job waits. ``fail``: the job ends.
==============================  ================================================

A tool that reports an error is ``done``: the error is its outcome, given to the
model, and replayed like any other. Tools without effects write no intent.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from stead.agent.limits import Meter
from stead.core.errors import OutcomeUnknown, SteadError
from stead.core.nouns import Step, Usage
from stead.core.ports import Emit, Journal
from stead.core.states import Failure, OnUnknown, StepState

Output = dict[str, Any]

REPEATED = "in flight when its worker died; repeated by rule"


class JournalDoesNotFit(SteadError):
    """Step {seq} of this job is recorded as {found}, but resuming came to {wanted} there.
    Nothing was run again. Retry it on the version of stead that began it, or ask anew."""

    code = "journal_does_not_fit"
    failure = Failure.UNKNOWN_OUTCOME


class MustAsk(Exception):
    """Only the owner can say what became of a step. Never leaves the agent."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a call gave. ``problem``: it failed, with what it used until then."""

    output: Output = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    problem: SteadError | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A step that is to be taken."""

    name: str
    """``model:<role>`` or ``tool:<name>``."""
    input: object
    """All that decides about the outcome, as it would be JSON; hashed, not stored."""
    shown: str
    """A short text of it, for people."""
    rule: OnUnknown = OnUnknown.REPEAT
    intent: bool = True
    """Whether the intent must be durable before the call."""
    counts: bool = True
    """Whether it is a call at all (a refusal is a step, but uses nothing)."""

    def step(self, seq: int) -> Step:
        return Step(
            seq=seq,
            name=self.name,
            input_hash=input_hash(self.input),
            state=StepState.INTENT,
            rule=self.rule,
            input=self.shown[:200],
        )


class Steps:
    """Takes the steps of one job, one after the other."""

    def __init__(
        self, journal: Journal, meter: Meter, emit: Emit, answers: Mapping[int, str]
    ) -> None:
        self._journal = journal
        self._meter = meter
        self._emit = emit
        self._answers = answers
        self._seq = 0

    async def take(self, plan: Plan, call: Callable[[], Awaitable[Made]]) -> tuple[Output, bool]:
        """The outcome of the next step, and whether it was replayed.

        Raises ``LimitReached`` before the call, the call's own ``SteadError``,
        ``OutcomeUnknown``, ``MustAsk`` or ``JournalDoesNotFit``.
        """
        self._seq += 1
        step = plan.step(self._seq)
        past = self._journal.past(self._seq)
        if past is not None:
            self._compare(past, step)
            if past.state is StepState.DONE:
                output: Output = json.loads(past.output)
                self._meter.count(past.usage, int(output.get("ran", True)))
                return output, True
            self._meter.count(past.usage, 0)  # what a failed try has cost is spent
            if past.state is StepState.FAILED and past.name.startswith("model:"):
                step = replace(step, note="failed before; called again")
            else:
                known = await self._unknown(step)
                if known is not None:
                    return known, False
                step = replace(step, note=REPEATED)
        return await self._make(plan, step, call), False

    async def _make(self, plan: Plan, step: Step, call: Callable[[], Awaitable[Made]]) -> Output:
        if plan.counts:
            self._meter.check()
        step = replace(step, started_at=_now())
        if plan.intent:
            await self._journal.intend(step)
        made = await call()
        self._meter.count(made.usage, int(plan.counts))
        failed = made.problem is not None
        output = {"error": str(made.problem)} if failed else made.output
        if not plan.counts:
            output = {**output, "ran": False}
        await self._journal.settle(
            replace(
                step,
                state=StepState.FAILED if failed else StepState.DONE,
                output=json.dumps(output, ensure_ascii=False),
                usage=made.usage,
                ended_at=_now(),
            )
        )
        if made.problem is not None:
            raise made.problem
        return output

    def _compare(self, past: Step, step: Step) -> None:
        if past.name != step.name:
            raise JournalDoesNotFit(seq=step.seq, found=past.name, wanted=step.name)
        if past.input_hash != step.input_hash and past.state is StepState.DONE:
            self._emit(
                "note",
                f"Step {step.seq} ({step.name}) was done for a somewhat different input"
                " than it would have now; its recorded outcome is used.",
            )

    async def _unknown(self, step: Step) -> Output | None:
        """Apply the rule to an intent without outcome; None: call it again."""
        said = self._answers.get(step.seq, "")
        if step.rule is OnUnknown.REPEAT or (step.rule is OnUnknown.ASK and said == "repeat"):
            return None
        if step.rule is OnUnknown.ASK and said == "done":
            output = {"result": "The owner says that this was done; its output is not known."}
            text = json.dumps(output)
            await self._journal.settle(
                replace(step, state=StepState.DONE, output=text, note="the owner says: done")
            )
            self._meter.count(Usage())
            return output
        note = f"in flight when its worker died; rule: {step.rule.value}"
        await self._journal.settle(
            replace(step, state=StepState.UNKNOWN, note=note, ended_at=_now())
        )
        if step.rule is OnUnknown.ASK and said != "fail":
            raise MustAsk(
                f"Step {step.seq} ({step.name}: {step.input}) was under way when its worker died,"
                " so it may or may not have happened."
                " Shall it be repeated, counted as done, or the job ended? (repeat, done, fail)"
            )
        raise OutcomeUnknown(seq=step.seq, name=step.name)


def input_hash(value: object) -> str:
    """SHA-256 of canonical JSON (UTF-8, sorted keys, no spaces)."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _now() -> int:
    return time.time_ns() // 1_000_000
