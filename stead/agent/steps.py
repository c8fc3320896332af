"""The steps of one job: numbered, limited, journalled, and replayed on resume.

Each step has a place (``seq``, from 1) that is the same on every worker, because
what comes next depends only on the outcomes before it. At each place the journal
knows one of these:

==============================  ================================================
nothing                         check the limits, write the intent, call, settle
``done``                        replayed, whatever has changed since; nothing is
                                called, nothing is paid, and the journal notes it
``failed`` (model calls only)   called again: a call without an answer has no
                                outcome worth replaying, and the failure has
                                been told to the queue, which tries again
``intent``, ``unknown``         its worker died in the call. Rule ``repeat``:
                                called again, with a note. ``ask``: the owner
                                decides (``repeat``, ``done``, ``fail``); until
                                then the job waits. ``fail``: the job ends.
the same, of a tool that has    the owner is asked, whatever the rule, and told
changed, or would not run now   what has changed
a step of another name          the loop itself is another one. With effects
                                among what is recorded from here on the job ends;
                                without, that is set aside and done anew
==============================  ================================================

A tool that reports an error is ``done``: the error is its outcome, given to the
model, and replayed like any other. Tools without effects write no intent. A model
call has no effects, so one that was cut off is repeated also with another input.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stead.agent.changes import differences, digest
from stead.agent.limits import Meter
from stead.core.errors import OutcomeUnknown, SteadError
from stead.core.nouns import Step, Usage
from stead.core.permits import Approval
from stead.core.ports import Emit, Journal
from stead.core.states import Effects, Failure, OnUnknown, StepState

Output = dict[str, Any]

REPEATED = "repeated by its rule"
_AS_CHANGED = "the owner is asked, as it changed: "
_ASK = "Shall it be repeated, counted as done, or the job ended? (repeat, done, fail)"


class JournalDoesNotFit(SteadError):
    """Step {seq} of this job is recorded as {found}, but resuming came to {wanted} there.
    Nothing was run again. These may have had their effects: {effects}.
    Retry it on the version of stead that began it, or ask anew."""

    code = "journal_does_not_fit"
    failure = Failure.UNKNOWN_OUTCOME


class MustAsk(Exception):
    """Only the owner can say what became of a step, or whether it may be taken (then with the
    question as data). Never leaves the agent."""

    def __init__(self, text: str, approval: Approval | None = None) -> None:
        super().__init__(text)
        self.approval = approval


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
    input: Mapping[str, object]
    """All that decides about the outcome, part by part, as it would be JSON; hashed, not stored."""
    shown: str
    """A short text of it, for people."""
    rule: OnUnknown = OnUnknown.REPEAT
    effects: Effects = Effects.NONE
    intent: bool = True
    """Whether the intent must be durable before the call."""
    counts: bool = True
    """Whether it is a call at all (a refusal is a step, but uses nothing)."""

    def step(self, seq: int) -> Step:
        """Its entry in the journal, before the call."""
        hashed, parts = digest(self.input)
        return Step(
            seq=seq,
            name=self.name,
            input_hash=hashed,
            state=StepState.INTENT,
            rule=self.rule,
            input=self.shown[:200],
            effects=self.effects,
            parts=parts,
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
        self._anew = False
        """Whether the rest of the journal does not count, see :meth:`_set_aside`."""

    @property
    def next(self) -> int:
        """The place of the step that comes next."""
        return self._seq + 1

    def coming(self) -> tuple[int, Step | None]:
        """The place of the next step, and what an earlier attempt recorded there."""
        seq = self._seq + 1
        return seq, None if self._anew else self._journal.past(seq)

    async def take(self, plan: Plan, call: Callable[[], Awaitable[Made]]) -> tuple[Output, bool]:
        """The outcome of the next step, and whether it was replayed.

        Raises ``LimitReached`` before the call, the call's own ``SteadError``,
        ``OutcomeUnknown``, ``MustAsk`` or ``JournalDoesNotFit``.
        """
        self._seq += 1
        step = plan.step(self._seq)
        past = None if self._anew else self._journal.past(self._seq)
        if past is None:
            return await self._make(plan, step, call), False
        if past.name != step.name:
            return await self._make(plan, self._set_aside(past, step), call), False
        changed = differences(past, step)
        if past.state is StepState.DONE:
            return await self._replay(past, changed), True
        self._meter.count(past.usage, 0)  # what a failed try has cost is spent
        if past.state is StepState.FAILED and past.name.startswith("model:"):
            note = "failed before; called again"
        else:
            if past.state is StepState.INTENT and _touched(past) and not plan.counts:
                changed = changed or "it would not be run now"
            known, note = await self._unknown(past, step, changed)
            if known is not None:
                return known, False
        if changed:
            note += f"; changed since: {changed}"
        return await self._make(plan, replace(step, note=note), call), False

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

    async def _replay(self, past: Step, changed: str) -> Output:
        """What was done was done: its outcome is used, and the journal says that it was."""
        note = f"changed since: {changed}" if changed else ""
        if changed:
            self._emit(
                "note",
                f"Step {past.seq} ({past.name}) was done already; changed since: {changed}."
                " Its recorded outcome is used.",
            )
        await self._journal.replayed(replace(past, state=StepState.REPLAYED, note=note))
        output: Output = json.loads(past.output)
        self._meter.count(past.usage, int(output.get("ran", True)))
        return output

    async def _unknown(self, past: Step, step: Step, changed: str) -> tuple[Output | None, str]:
        """Apply the rule to an intent without outcome: what is known of it; None: call it again.

        The owner's word is about the very question that was asked: not about a later try that was
        cut off as well, nor about a tool that has changed after it.
        """
        rule = OnUnknown.ASK if changed and _touched(past) else past.rule
        was_asked = past.state is StepState.UNKNOWN and not changed
        said = self._answers.get(step.seq, "") if was_asked else ""
        if rule is OnUnknown.REPEAT:
            return None, f"{REPEATED} ({rule.value})"
        if rule is OnUnknown.ASK and said == "repeat":
            return None, "repeated at the owner's word"
        if rule is OnUnknown.ASK and said == "done":
            output = {"result": "The owner says that this was done; its output is not known."}
            text = json.dumps(output)
            done = replace(step, state=StepState.DONE, output=text, note="the owner says: done")
            await self._journal.settle(done)
            self._meter.count(Usage())
            return output, ""
        asks = rule is OnUnknown.ASK and said != "fail"
        note = f"in flight when its worker died; rule: {rule.value}"
        if said:
            note = f"in flight when its worker died; the owner says: {said}"
        elif since := changed or past.note.partition(_AS_CHANGED)[2]:
            note = f"in flight when its worker died; {_AS_CHANGED}{since}"
        unknown = replace(step, state=StepState.UNKNOWN, rule=rule, note=note, ended_at=_now())
        # It keeps what it was when it might have happened: had effects, by the tool of then.
        await self._journal.settle(replace(unknown, effects=past.effects))
        if asks:
            since = note.partition(_AS_CHANGED)[2]
            since = f" Something has changed since: {since}." if since else ""
            raise MustAsk(
                f"Step {step.seq} ({step.name}: {step.input}) was under way when its worker died,"
                f" so it may or may not have happened.{since} {_ASK}"
            )
        raise OutcomeUnknown(seq=step.seq, name=step.name)

    def _set_aside(self, past: Step, step: Step) -> Step:
        """The journal was written by a loop that took other steps than this one does.

        What is recorded from here on cannot be used. If any of it may have had effects, doing
        it anew could repeat them: raises ``JournalDoesNotFit``. Else it only costs again.
        """
        tail = [past]
        while (later := self._journal.past(tail[-1].seq + 1)) is not None:
            tail.append(later)
        told = [f"{one.seq} ({one.name}: {one.input[:60]})" for one in tail if _touched(one)]
        if told:
            raise JournalDoesNotFit(
                seq=step.seq, found=past.name, wanted=step.name, effects=", ".join(told)
            )
        self._anew = True
        for one in tail:
            self._meter.count(one.usage, 0)
        note = (
            f"recorded as {past.name} by another version; {len(tail)} step(s) set aside from here"
        )
        self._emit("note", f"Step {step.seq} was {note}.")
        return replace(step, note=note)


def _touched(step: Step) -> bool:
    """Whether it may have changed anything."""
    return step.effects is not Effects.NONE


def _now() -> int:
    return time.time_ns() // 1_000_000
