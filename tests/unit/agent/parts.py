"""Small real parts for the tests: a model that follows a script, a journal in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stead.agent.loop import Result, Task, run
from stead.agent.prompt import examples
from stead.agent.tools import toolbox
from stead.agent.tools.base import Args, Context, Tool, Toolbox
from stead.core.errors import SteadError
from stead.core.nouns import Limits, ModelProfile, Step, Usage
from stead.core.ports import ModelChunk, ModelRequest, ToolCall
from stead.core.states import Effects, OnUnknown, StepState
from stead.permit.words import Word

NATIVE = ModelProfile(name="big", tools="native", prompt="full", context=128_000)
SCHEMA = ModelProfile(name="small", tools="schema", prompt="small", context=8192)

USED = Usage(prompt_tokens=100, completion_tokens=10, cost_micro=500)


@dataclass
class Say:
    """One scripted answer. ``raw``: text as it is, also where a schema is asked for."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = ""
    raw: bool = False
    problem: SteadError | None = None
    usage: Usage = USED


def call(name: str, **args: Any) -> Say:
    """An answer that calls one tool."""
    return Say(calls=((name, json.dumps(args)),))


class Script:
    """A ``ModelClient`` whose answer depends only on the results that it has been handed,
    so that it gives the same answer to the same request, as a replay needs."""

    def __init__(self, *says: Say | Callable[[ModelRequest], Say]) -> None:
        self.says = list(says)
        self.asked: list[ModelRequest] = []

    def __call__(self, request: ModelRequest) -> Say:
        at = sum(1 for message in request.messages if is_result(message))
        say = self.says[min(at, len(self.says) - 1)]
        return say if isinstance(say, Say) else say(request)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        self.asked.append(request)
        say = self(request)
        text = say.text
        calls: tuple[ToolCall, ...] = ()
        if request.schema is not None and not say.raw:
            text = json.dumps({"reply": say.text})
            if say.calls:
                name, args = say.calls[0]
                text = f'{{"tool": {json.dumps(name)}, "args": {args}}}'
        elif say.calls:
            calls = tuple(ToolCall(f"call_{n}", *one) for n, one in enumerate(say.calls))
        for at in range(0, len(text), 3):
            yield ModelChunk(text=text[at : at + 3])
            await asyncio.sleep(0)
        if say.problem is not None:
            raise say.problem
        finish = say.finish or ("tool_calls" if calls else "stop")
        yield ModelChunk(calls=calls, finish=finish, usage=say.usage)


class InTurn(Script):
    """Gives its answers one after the other, whatever is asked; the last one stays."""

    def __call__(self, request: ModelRequest) -> Say:
        say = self.says[min(len(self.asked), len(self.says)) - 1]
        return say if isinstance(say, Say) else say(request)


def is_result(message: dict[str, Any]) -> bool:
    """Whether a message hands back a tool's result of this job."""
    content = message.get("content") or ""
    example = any(content == shown["content"] for shown in examples(toolbox(Path("/"))))
    return not example and (message["role"] == "tool" or content.startswith("[result of "))


class Died(BaseException):
    """The worker was killed here."""


class Memory:
    """A ``Journal`` in memory. ``die_after``: the worker dies right after so many operations."""

    def __init__(self, past: Iterable[Step] = (), die_after: int = -1) -> None:
        self.steps = {step.seq: step for step in past}
        self._past = dict(self.steps)
        self.operations: list[tuple[str, Step]] = []
        self.replays: list[Step] = []
        self._left = die_after

    def past(self, seq: int) -> Step | None:
        return self._past.get(seq)

    async def intend(self, step: Step) -> None:
        assert step.state is StepState.INTENT
        self._write("intend", step)

    async def settle(self, step: Step) -> None:
        assert step.state is not StepState.INTENT
        self._write("settle", step)

    async def replayed(self, step: Step) -> None:
        assert step.state is StepState.REPLAYED
        self.replays.append(step)

    def _write(self, what: str, step: Step) -> None:
        self.operations.append((what, step))
        self.steps[step.seq] = step
        self._left -= 1
        if self._left == 0:
            raise Died

    def list(self) -> list[Step]:
        return [self.steps[seq] for seq in sorted(self.steps)]


@dataclass
class Said:
    """An ``Emit`` that keeps what it was told."""

    events: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, type: str, text: str) -> None:
        self.events.append((type, text))

    def all(self, type: str) -> list[str]:
        return [text for kind, text in self.events if kind == type]


class WordArgs(Args, frozen=True):
    word: str
    times: int = 1


@dataclass
class Bell:
    """Tools that count how often they ran."""

    rule: OnUnknown = OnUnknown.ASK
    rung: list[str] = field(default_factory=list)
    looked: int = 0
    die: bool = False

    async def ring(self, args: WordArgs, context: Context) -> str:
        self.rung.append(args.word)
        if self.die:
            raise Died
        return f"rang {args.word}"

    async def look(self, args: WordArgs, context: Context) -> str:
        self.looked += 1
        return f"saw {args.word}"

    def toolbox(self, workspace: Path = Path("/nonexistent")) -> Toolbox:
        ring = Tool(
            name="ring",
            about="Ring a bell.",
            short="ring a bell",
            args=WordArgs,
            run=self.ring,
            effects=Effects.OUTSIDE,
            permission=Word.ALLOW,
            on_unknown=self.rule,
            small=True,
        )
        look = replace(ring, name="look", run=self.look, effects=Effects.NONE)
        return Toolbox([ring, look], Context(workspace))


@dataclass
class Tried:
    """One attempt at a job and all it left behind."""

    model: Script
    journal: Memory
    said: Said
    result: Result | None = None
    problem: SteadError | None = None
    died: bool = False


def attempt(
    model: Script,
    tools: Toolbox,
    *,
    past: Iterable[Step] = (),
    die_after: int = -1,
    profile: ModelProfile = NATIVE,
    role: str = "main",
    limits: Limits | None = None,
    **fields: Any,
) -> Tried:
    """Run the agent once, to its end or its death."""
    task = Task(id="job", session="main", text=fields.pop("text", "do it"), profile=profile)
    task = replace(task, limits=limits or Limits(), **fields)
    tried = Tried(model, Memory(past, die_after), Said())
    try:
        tried.result = asyncio.run(run(task, model, tools, tried.journal, tried.said, role))
    except Died:
        tried.died = True
    except SteadError as problem:
        tried.problem = problem
    return tried
