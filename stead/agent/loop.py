"""The agent loop: ask the model, run the tools it chose, until it answers.

Limits are checked before each call, every step is journalled, and a job that
died is resumed from its journal (see :mod:`stead.agent.steps` for the rules).
What is emitted as ``token`` in one attempt is, joined, the text of the result.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from stead.agent import prompt, recall
from stead.agent.choose import Answer, Way, choose
from stead.agent.guard import Guard
from stead.agent.limits import Meter
from stead.agent.permits import Asker, Gate
from stead.agent.spool import forget_outputs
from stead.agent.steps import Made, MustAsk, Output, Plan, Steps
from stead.agent.tools import toolbox
from stead.agent.tools.ask_owner import AskArgs
from stead.agent.tools.base import Look, Toolbox, ToolError
from stead.agent.tools.memory import MEMORY_READ, MEMORY_SEARCH, OFF, RememberArgs
from stead.agent.tools.message import MessageArgs
from stead.agent.tools.more_tools import NAME as MORE_TOOLS
from stead.agent.tools.more_tools import asked_group
from stead.core.attached import Attached
from stead.core.errors import BackendFailed, SteadError
from stead.core.nouns import Limits, ModelProfile, Turn, Usage
from stead.core.permits import Approval
from stead.core.ports import Emit, Journal, ModelChunk, ModelClient, ModelRequest, ToolCall
from stead.core.recall import Recall, is_off_the_record
from stead.core.states import Effects, Failure, StepState
from stead.permit.answer import Shown
from stead.permit.foreign import mark_of, wrapped

__all__ = ["BadAnswer", "Result", "Task", "Toolbox", "run", "toolbox"]


_REQUEST = fields(ModelRequest)
OUT_OF_STEPS = "not run: the step limit of this job is reached; answer with what you have"


class BadAnswer(SteadError):
    """The model {model} twice gave an answer that cannot be used: {why}.
    Ask another way, or set how it chooses tools (`tools`) for it in stead.toml."""

    status = 502
    code = "bad_answer"
    failure = Failure.SCHEMA


@dataclass(slots=True)
class Task:
    """One message to answer, with all that is needed for it."""

    id: str
    session: str
    text: str
    instructions: str = ""
    """The owner's own instructions for this turn."""
    history: list[Turn] = field(default_factory=list)
    profile: ModelProfile = field(default_factory=lambda: ModelProfile(name="main"))
    limits: Limits = field(default_factory=Limits)
    started_ago_ms: int = 0
    """How long ago the first attempt began."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """``max_tokens`` and ``temperature`` for this job alone."""
    answers: dict[int, str] = field(default_factory=dict)
    """What the owner said about steps whose outcome is unknown:
    seq -> ``repeat``, ``done`` or ``fail``."""
    asker: Asker = field(default_factory=Asker)
    """What it may do, and for whom."""
    channels: tuple[str, ...] = ()
    """That a message can be sent by."""
    from_outside: str = ""
    """Who wrote the message, where that is not the owner: a channel."""
    recall: Recall | None = None
    """What of memory goes with the message."""
    memory: Look | None = None
    """How it looks into memory by itself."""
    files: tuple[Attached, ...] = ()
    """What hangs on the message."""
    files_said: Mapping[str, str] = field(default_factory=dict)
    """By the id of a file, of the message or of the conversation: where it lies, and what it is."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """By the id of a file: what the model is shown, as ``data:`` addresses."""


@dataclass(slots=True)
class Result:
    """The end of an attempt: ``done`` with the text, or ``waiting`` with a question."""

    outcome: str
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    waiting_for: str = ""
    approval: Approval | None = None
    """With ``waiting``: the question as data, where it is about a call."""
    read: str = ""
    """What it has read, or heard of in its conversation: ``foreign``, ``private``, or both."""


async def run(
    task: Task,
    model: ModelClient,
    tools: Toolbox,
    journal: Journal,
    emit: Emit,
    role: str = "main",
) -> Result:
    """Answer one message. Raises a ``SteadError`` when the job failed.

    A model call that fails (network, timeout, unavailable, rate limit...) is
    settled as failed and raised: the queue tries again, and the next attempt
    makes that call again. A tool that fails tells the model so.
    """
    job, waits = _Job(task, model, tools, journal, emit, role), False
    try:
        await job.work()
    except MustAsk as question:
        waits = True
        return Result(
            "waiting",
            usage=job.meter.usage,
            waiting_for=str(question),
            approval=question.approval,
        )
    finally:
        await tools.end(task.id, waits=waits)
        if is_off_the_record(task.session):
            forget_outputs(tools.context.keep, task.id)
    return Result("done", "".join(job.shown), job.meter.usage, read=job.read)


class _Job:
    def __init__(
        self,
        task: Task,
        model: ModelClient,
        tools: Toolbox,
        journal: Journal,
        emit: Emit,
        role: str,
    ) -> None:
        self.task, self.model, self.tools, self.emit, self.role = task, model, tools, emit, role
        self.meter = Meter(task.limits, task.started_ago_ms)
        answers = {int(seq): said for seq, said in task.answers.items()}  # JSON has text keys
        self.steps = Steps(journal, self.meter, emit, answers)
        self.way: Way = choose(task.profile, role, tools)
        self.shown: list[str] = []
        self._gap = False
        turns = prompt.window(task.history, prompt.budget(task.profile))
        text = task.text
        if task.from_outside:
            text = wrapped(text, task.from_outside, mark_of(task.id))
        small = task.profile.prompt == "small"
        recalled = recall.block(task.recall, mark_of(task.id), small=small)
        said = [_with_files(_quoted(turn, task.id), task) for turn in turns]
        whole = f"{recalled}\n\n{text}" if recalled else text
        last = _with_files(Turn("user", whole, files=task.files), task)
        self.talk = self.way.opening(prompt.conversation(said, last, task.instructions))
        self.shows = any(isinstance(one["content"], list) for one in self.talk)
        """Whether the model is shown pictures."""
        self.results: list[int] = []
        self.guard = Guard()
        heard = {word for turn in turns for word in turn.read.split()}
        self.gate = Gate(task.asker, tools, heard, job=task.id)
        self.seen = Shown()
        self.seen.knows(task.text)
        self.seen.knows(recalled)
        self.gate.shown(task.recall)
        if task.pictures:  # words in a picture are others' words
            self.gate.foreign = self.gate.private = True
        self.echo = recall.Echo(task.text)
        self.echo.shows(recalled)
        for turn in turns:
            if recall.RECALLED in turn.read.split():
                self.echo.shows(turn.text)
        self._notice()
        self.groups: tuple[str, ...] = ()
        """Of tools that the model has asked for; known from the outcomes alone, so a job that is
        resumed offers the same."""

    @property
    def read(self) -> str:
        """What goes on with the answer: what was read, and whether it was only remembered."""
        made = self.echo.made_of("".join(self.shown))
        return " ".join(filter(None, (self.gate.read, recall.RECALLED if made else "")))

    async def work(self) -> None:
        """The loop."""
        faulty = False
        while True:
            answer = await self._ask(again=faulty)
            if answer.fault:
                faulty = True
                continue
            faulty = False
            if not answer.calls:
                return
            self.talk.append(self.way.said(answer))
            for call in answer.calls:
                result = await self._use(call)
                self.results.append(len(self.talk))
                self.talk.append(self.way.told(call, result))

    async def _ask(self, *, again: bool) -> Answer:
        """One model call. ``again``: its last answer was of no use, so it gets no tools now."""
        final = again or self.guard.tired or self.meter.last_answer
        request = self._request(final)
        inputs = {one.name: getattr(request, one.name) for one in _REQUEST}
        # In words for people, and for the daily log: there nothing that was recalled belongs.
        asked = str(self.talk[-1]["content"]) if self.results else self.task.text
        plan = Plan(f"model:{self.role}", inputs, asked)

        async def call() -> Made:
            return await self._stream(request, final=final, again=again)

        output, replayed = await self.steps.take(plan, call)
        answer = Answer.of(output)
        if replayed:
            self._say(answer.text, end=True)
        self._gap = bool(self.shown)
        if answer.finish == "length" and not answer.calls and not answer.fault:
            self.emit("note", f"The answer was cut off at {request.max_tokens} tokens.")
        return answer

    def _request(self, final: bool) -> ModelRequest:
        most = self.meter.answer_tokens(self.task.overrides.get("max_tokens"))
        temperature = self.task.overrides.get("temperature", self.way.temperature)
        room = self.task.profile.context - min(most, self.task.profile.context // 2)
        return ModelRequest(
            model=self.task.profile.seeing if self.shows else self.task.profile.name,
            messages=prompt.shrink(self.talk, self.results, room),
            tools=self.way.tools(final=final, groups=self.groups),
            schema=self.way.schema(final=final, groups=self.groups),
            max_tokens=most,
            temperature=temperature,
        )

    async def _stream(self, request: ModelRequest, *, final: bool, again: bool) -> Made:
        reader = self.way.reader()
        said: list[str] = []
        finish = ""
        calls: tuple[ToolCall, ...] = ()
        usage = Usage()
        stream = self.model.stream(request)
        try:
            async for chunk in stream:
                usage = chunk.usage or usage
                finish = chunk.finish or finish
                calls += chunk.calls
                if chunk.note:
                    self.emit("note", chunk.note)
                if chunk.text:
                    said.append(reader.feed(chunk.text))
                    self._say(said[-1])
        except SteadError as problem:
            # Of many a model nobody knows whether it sees before it was tried.
            if self.shows and not said and problem.failure is Failure.SCHEMA:
                self._hide_pictures(problem.message)
                return await self._stream(self._request(final), final=final, again=again)
            return Made(usage=usage, problem=problem)
        finally:
            await _close(stream)
        if not finish:  # never passed off as whole
            broken = BackendFailed(backend=request.model, why="the answer broke off")
            return Made(usage=usage, problem=broken)
        answer = reader.end(calls, finish, final=final)
        if answer.fault and again:
            return Made(usage=usage, problem=BadAnswer(model=request.model, why=answer.fault))
        self._say(answer.text[len("".join(said)) :], end=True)
        return Made(answer.as_output(), usage)

    def _hide_pictures(self, why: str) -> None:
        """The model takes no pictures: it is told so, and goes on without."""
        self.shows = False
        self.emit("note", f"the model was not shown the pictures: {why}")
        self.talk = [prompt.without_pictures(message) for message in self.talk]

    async def _use(self, call: ToolCall) -> str:
        """One tool call; its result or its error as text for the model.

        A call that is refused is a step too, so that the numbers never depend on why.
        """
        plan = Plan(
            name=f"tool:{call.name[:64]}",
            input={"tool": self.tools.fingerprint(call.name), "args": call.arguments},
            shown=call.arguments,
            intent=False,
            counts=False,
        )
        known = self.guard.known(call)
        try:
            tool, args = self.tools.read(call.name, call.arguments)
        except ToolError as problem:
            return await self._refuse(
                plan, call, {"result": known} if known else {"error": str(problem)}
            )
        if tool.fresh:
            known = ""
        group = asked_group(args) if tool.name == MORE_TOOLS else ""
        if group in self.groups:
            known = self.guard.needless(group)
        if known:
            return await self._refuse(plan, call, {"result": known})
        if not self.meter.room_for_tool:
            return await self._refuse(plan, call, {"error": OUT_OF_STEPS})
        plan = replace(plan, rule=tool.on_unknown, effects=tool.effects)
        if isinstance(args, MessageArgs) and args.to not in ("owner", *self.task.channels):
            there = ", ".join(("owner", *self.task.channels))
            error = f"there is no channel {args.to[:60]!r}; a message goes to: {there}"
            return await self._refuse(plan, call, {"error": error})
        off = is_off_the_record(self.task.session)
        if isinstance(args, RememberArgs) and off:
            return await self._refuse(plan, call, {"error": OFF})
        try:
            touches = self.gate.touches(tool, args)
            refusal = self.gate.refusal(tool, args, touches, *self.steps.coming())
        except ToolError as problem:
            return await self._refuse(plan, call, {"error": str(problem)})
        if refusal:
            return await self._refuse(plan, call, {"error": refusal})
        if isinstance(args, AskArgs):
            return await self._ask_owner(plan, call, args)
        effects = tool.effects is not Effects.NONE

        step, most = self.steps.next, prompt.result_chars(self.task.profile)

        async def run_it() -> Made:
            done = await self.tools.call(
                tool, args, most, job=self.task.id, step=step, memory=self.task.memory
            )
            said: Output = {"result" if done.ok else "error": done.text}
            if isinstance(args, MessageArgs) and done.ok:
                said["post"] = {"to": args.to, "text": self.seen.whole(args.text)}
            if isinstance(args, RememberArgs) and done.ok:
                text = self.tools.context.hide(args.text)
                said["remember"] = {"text": text, "read": self.remembers(text)}
            return Made(said | self.gate.origin(touches, done.read))

        output, _ = await self.steps.take(replace(plan, intent=effects, counts=True), run_it)
        if group and "result" in output:
            self.groups += (group,)
        return self._tell(call, output, fresh=tool.fresh)

    def remembers(self, text: str) -> str:
        """What is written down with a thing: what was read before, and whether it is new."""
        old = recall.RECALLED if self.echo.made_of(text) else ""
        return " ".join(filter(None, (self.gate.read, old)))

    async def _ask_owner(self, plan: Plan, call: ToolCall, args: AskArgs) -> str:
        """A question of the agent's own: its job waits, and the answer is the result."""
        seq, past = self.steps.coming()
        done = past is not None and past.state is StepState.DONE
        said = {} if done else self.gate.question(args.question, tuple(args.choices), seq)

        async def answered() -> Made:
            return Made(said)

        output, _ = await self.steps.take(replace(plan, counts=True), answered)
        return self._tell(call, output, fresh=True)

    async def _refuse(self, plan: Plan, call: ToolCall, output: Output) -> str:
        async def say_no() -> Made:
            return Made(output)

        told, _ = await self.steps.take(plan, say_no)
        return self._tell(call, told)

    def _tell(self, call: ToolCall, output: Output, *, fresh: bool = False) -> str:
        text = str(output["result"]) if "result" in output else f"error: {output['error']}"
        first = text.strip().split("\n", 1)[0]
        self.emit("tool", f"{call.name[:64]}: {first[:140]}")
        told = self.gate.told(call.name[:64], text, output)
        if call.name in (MEMORY_SEARCH.name, MEMORY_READ.name) and "result" in output:
            self.echo.shows(text)
        self.seen.knows(text)
        self._notice()
        return told + self.guard.note(call, text, told, fresh=fresh)

    def _notice(self) -> None:
        """What the run has read decides how its answer is shown."""
        read = "foreign" in self.gate.read, "private" in self.gate.read
        if read == (True, True) and (self.seen.foreign, self.seen.private) != read:
            for turn in self.task.history:
                self.seen.knows(turn.text)
        self.seen.foreign, self.seen.private = read

    def _say(self, text: str, *, end: bool = False) -> None:
        """Show the owner more of the answer; two answers of one job are set apart. What showing
        it could send out is made harmless, once foreign text was read."""
        text = self.seen.feed(text) + (self.seen.end() if end else "")
        if not text:
            return
        if self._gap:
            text = f"\n\n{text}"
            self._gap = False
        self.shown.append(text)
        self.emit("token", text)


def _quoted(turn: Turn, job_id: str) -> Turn:
    """A turn of the conversation; what came in from outside then is foreign text still."""
    if turn.role != "user" or "foreign" not in turn.read:
        return turn
    return Turn("user", wrapped(turn.text, "outside", mark_of(job_id)), turn.read)


def _with_files(turn: Turn, task: Task) -> Turn:
    """A turn with what hangs on it: where it lies in words, and the pictures that are shown."""
    if not turn.files:
        return turn
    told = [task.files_said.get(file.id, f"{file.name}, which is not here") for file in turn.files]
    text = "\n".join(filter(None, (turn.text, *(f"[attached: {one}]" for one in told))))
    shown = tuple(task.pictures[one.id] for one in turn.files if one.id in task.pictures)
    return replace(turn, text=text, pictures=shown)


async def _close(stream: AsyncIterator[ModelChunk]) -> None:
    """Cut the model off at once when nobody listens any more (a cancelled job)."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
