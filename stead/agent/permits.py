"""Asking, before each call of a tool, whether it may be made; and what a run has read.

The gate stands between the arguments and the intent: what is refused or not answered yet leaves
nothing in the journal that would have to be settled. An answer is bound to the very call (tool,
version, arguments, what they touch, links followed) and to its place in the job; so a job that
comes back comes to the same question and finds its answer, and another question does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from stead.agent.changes import input_hash
from stead.agent.steps import MustAsk
from stead.agent.tools.base import Args, Context, Tool, Toolbox, ToolError
from stead.core.nouns import Step
from stead.core.permits import ALWAYS, JOB, NO, ONCE, Answered, Approval
from stead.core.recall import Recall
from stead.core.states import OnUnknown, StepState
from stead.permit.foreign import new_mark, wrapped
from stead.permit.judge import (
    Permits,
    always_scope,
    call_digest,
    offers,
    places_scope,
)
from stead.permit.words import Facts, Ruling, Touches, Word

FOREIGN, PRIVATE = "foreign", "private"
_ARGS_MOST = 4000
_PREVIEW_MOST = 2000

NO_ANSWER = "the owner did not answer in time. Go on without, or say what you would need to know"
EXPIRED = "not approved in time: the owner did not answer. Do without it, or say what you would do"


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom a run works, as far as rules ask."""

    permits: Permits = field(default_factory=Permits)
    session: str = ""
    person: str = "owner"
    channel: str = ""
    lane: str = "chat"
    foreign: bool = False
    """It was asked for by foreign text, or goes on from a conversation that holds some."""
    private: bool = False
    answered: tuple[Answered, ...] = ()
    """What the owner said to questions of this job."""


class Gate:
    """The permissions of one run."""

    def __init__(
        self, asker: Asker, tools: Toolbox, heard: Set[str] = frozenset(), *, job: str = ""
    ) -> None:
        """``heard``: what earlier runs had read whose answers are in the conversation shown;
        ``job``: its id, since what a call touches may rest on what the job has open."""
        self._heard = heard
        self._asker = asker
        self._tools = tools
        self._context = replace(tools.context, job=job)
        self.foreign, self.private = asker.foreign, asker.private

    @property
    def read(self) -> str:
        """What was read here, or by those whose answers were heard: for the conversation."""
        foreign = self.foreign or FOREIGN in self._heard
        private = self.private or PRIVATE in self._heard
        return " ".join([FOREIGN] * foreign + [PRIVATE] * private)

    def touches(self, tool: Tool[Any], args: Args) -> Touches:
        """What a call would touch. Raises ``ToolError``."""
        if tool.touches is None:
            return Touches()
        try:
            return tool.touches(args, self._context)
        except ToolError:
            raise
        except Exception as problem:  # the edge of a tool: what it would touch is not known
            raise ToolError(f"the tool broke before it ran: {problem}") from problem

    def facts(self, tool: Tool[Any], args: Args, touches: Touches) -> Facts:
        """All that rules may ask about a call."""
        asker = self._asker
        return Facts(
            tool=tool.name,
            args=msgspec.to_builtins(args),
            touches=touches,
            effects=tool.effects,
            default=max(tool.default, touches.word, key=list(Word).index),  # the stricter one
            version=self._tools.fingerprint(tool.name),
            workspace=self._tools.context.workspace,
            session=asker.session,
            person=asker.person,
            channel=asker.channel,
            lane=asker.lane,
            has_private=self.private,
            has_foreign=self.foreign,
            heard_private=PRIVATE in self._heard,
            heard_foreign=FOREIGN in self._heard,
        )

    def judge(self, facts: Facts) -> Ruling:
        return self._asker.permits.judge(facts)

    def refusal(
        self, tool: Tool[Any], args: Args, touches: Touches, seq: int, past: Step | None
    ) -> str:
        """Why a call may not be made, for the model; empty: it may. Raises ``MustAsk``.

        What the journal has an outcome of is not asked about again: it was done. Where a call was
        under way when its worker died, and that itself is asked about, one question is enough.
        """
        if past is not None and past.state is StepState.DONE:
            return ""
        facts = self.facts(tool, args, touches)
        ruling = self.judge(facts)
        if ruling.word is Word.DENY:
            return f"not allowed: {ruling.why}. Do without it, or tell the owner what you would do"
        if ruling.word is Word.ALLOW or _asked_about(past):
            return ""
        digest = call_digest(facts, seq)
        said = self._said(digest, facts)
        if said is None:
            raise MustAsk(
                f"May this be done? {preview_of(tool, args, self._context)}",
                self._approval(tool, args, facts, ruling, digest, seq),
            )
        if said.word == NO:
            why = f": {said.text}" if said.text else ""
            return f"the owner said no{why}. Do without it, or ask what is wanted instead"
        if said.word not in (ONCE, JOB, ALWAYS):
            return EXPIRED
        return ""

    def _said(self, digest: str, facts: Facts) -> Answered | None:
        """The owner's word on this call, or on calls like it in this job."""
        for one in reversed(self._asker.answered):
            if one.digest == digest:
                return one
        scope = places_scope(facts)
        allowed = [one for one in self._asker.answered if one.word == JOB and one.scope == scope]
        # What one answer covers was asked while nothing foreign had been read, or was offered then.
        return allowed[0] if allowed and JOB in offers(facts) else None

    def _approval(
        self, tool: Tool[Any], args: Args, facts: Facts, ruling: Ruling, digest: str, seq: int
    ) -> Approval:
        scope, words = always_scope(facts)
        said = self._tools.context.hide(msgspec.json.encode(facts.args).decode())
        return Approval(
            seq=seq,
            tool=tool.name,
            preview=preview_of(tool, args, self._context),
            args=said if len(said) <= _ARGS_MOST else f"{said[:_ARGS_MOST]}[cut]",
            digest=digest,
            why=ruling.why,
            foreign=self.foreign,
            offers=offers(facts),
            job_scope=places_scope(facts),
            always_scope=scope,
            always=words,
        )

    def question(self, text: str, choices: tuple[str, ...], seq: int) -> dict[str, str]:
        """The owner's answer to a question of the agent's own, as an outcome. Raises
        ``MustAsk``."""
        text = self._tools.context.hide(text)[:_PREVIEW_MOST]
        digest = input_hash(["question", seq, text, choices])
        for one in reversed(self._asker.answered):
            if one.digest == digest:
                return {"result": one.text} if one.word == "answer" else {"error": NO_ANSWER}
        asked = Approval(
            seq=seq,
            tool="ask_owner",
            preview=text,
            args="{}",
            digest=digest,
            why="the agent asks",
            foreign=self.foreign,
            offers=choices,
            kind="question",
        )
        raise MustAsk(text, asked)

    # --- what was read ------------------------------------------------------------------

    def origin(self, touches: Touches, said: Set[str] = frozenset()) -> dict[str, Any]:
        """What an outcome must be marked with, for the journal: so that any later attempt knows.
        ``said``: what the call itself has found out."""
        read = [
            name
            for name, is_so in (
                (
                    FOREIGN,
                    FOREIGN in said
                    or touches.foreign
                    or bool(touches.hosts)
                    or self._may_hold(touches),
                ),
                (PRIVATE, touches.private or PRIVATE in said),
            )
            if is_so
        ]
        if not read:
            return {}
        return {"origin": read, "mark": new_mark()} if FOREIGN in read else {"origin": read}

    def _may_hold(self, touches: Touches) -> bool:
        """Whether it gives back what the foreign text of this very run may have left behind."""
        return self.foreign and (touches.private or touches.code)

    def shown(self, recall: Recall | None) -> None:
        """What of memory the run is shown, it has read."""
        for one in recall.items if recall is not None else ():
            self.foreign = self.foreign or one.foreign
            self.private = self.private or one.private

    def told(self, tool: str, text: str, output: dict[str, Any]) -> str:
        """A result as the model is handed it, and note what the run has read with it."""
        read: Iterable[str] = output.get("origin", ())
        self.private = self.private or PRIVATE in read
        if FOREIGN not in read:
            return text
        self.foreign = True
        return wrapped(text, tool, str(output.get("mark") or new_mark()))


def _asked_about(past: Step | None) -> bool:
    """Whether the owner is asked anyway what became of a call that was under way."""
    return (
        past is not None
        and past.state in (StepState.INTENT, StepState.UNKNOWN)
        and past.rule is not OnUnknown.REPEAT
    )


def preview_of(tool: Tool[Any], args: Args, context: Context) -> str:
    """What a call will do, in plain words."""
    if tool.preview is not None:
        try:
            return context.hide(tool.preview(args, context))[:_PREVIEW_MOST]
        except Exception:  # noqa: BLE001 - the edge of a tool: its arguments tell as well
            pass
    said = context.hide(msgspec.json.encode(args).decode())
    return f"{tool.name} {said}"[:_PREVIEW_MOST]
