"""What a tool is. To add one: copy a file of this folder and add a line to ``__init__.py``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from stead.agent.background import Background
from stead.agent.changes import GONE, input_hash
from stead.agent.named import Database, Peripheral
from stead.agent.pool import Pool
from stead.agent.repair import repaired
from stead.agent.web import Web
from stead.core.errors import SteadError
from stead.core.recall import MemoryAsk, MemoryReply
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches, Word
from stead.sandbox.box import Box, Walls


class Args(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a tool's arguments: one definition gives the schema and the validation."""


A = TypeVar("A", bound=Args)


class ToolUndeclared(SteadError):
    """The tool {name!r} cannot be used: it does not declare {missing}.
    Every tool says what it may change (`effects`: none, workspace or outside) and what is to be
    done when a worker dies in its call (`on_unknown`: repeat, ask or fail)."""

    code = "tool_undeclared"


class ToolTwice(SteadError):
    """There are two tools named {name!r}; give one of them another name."""

    code = "tool_twice"


#: Stands for what a tool has not declared; no toolbox lets it in.
_UNDECLARED: Any = None


Look = Callable[[MemoryAsk], Awaitable[MemoryReply]]


class ToolError(Exception):
    """A tool could not do it. The text goes to the model, so it says what to do instead."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where a tool works, and how long and how much it may."""

    workspace: Path
    until: float = float("inf")
    """``time.monotonic()`` at which the call is given up; long loops look at it."""
    limit: int = 6000
    """Characters of output that will be handed on; the rest is cut."""
    walls: Walls | None = None
    """Where its processes run; None: nothing that has effects may run here."""
    job: str = ""
    """Id of the job it works for."""
    step: int = 0
    """The place of the call in its job: with ``job`` it names the call on every worker."""
    keep: Path | None = None
    """A folder of stead's own for what calls leave behind: long outputs (``spool/``), what was
    there before a change (``undo/``). No sandbox sees it but that of a tool that mounts it."""
    low: bool = False
    """Background work: the lowest priority there is."""
    background: Background = field(default_factory=Background)
    """What calls have started that goes on without them."""
    web: Web = field(default_factory=Web)
    """What the owner's settings say to tools that reach the network."""
    databases: Mapping[str, Database] = field(default_factory=dict)
    """By name, as the owner's settings have them."""
    peripherals: Mapping[str, Peripheral] = field(default_factory=dict)
    hide: Callable[[str], str] = str
    """Hides the secrets that are known on this machine; all that tools give back goes through."""
    memory: Look | None = None
    """A look into memory, by the very attempt that a call belongs to; None: there is none here."""
    read: set[str] = field(default_factory=set)
    """What a call has found out about what it gives back: ``foreign``, ``private``."""
    closing: tuple[Callable[[], Awaitable[None]], ...] = ()
    """What ends with the toolbox."""

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.until


@dataclass(frozen=True, slots=True)
class Tool(Generic[A]):
    """One tool. ``run`` returns text or raises :class:`ToolError`."""

    name: str
    about: str
    """One or two sentences for a model with native tool calls."""
    short: str
    """A few words for the short prompt of a small model."""
    args: type[A]
    run: Callable[[A, Context], Awaitable[str]]
    effects: Effects = _UNDECLARED
    """What it may change. Must be declared, as the rule: a toolbox refuses a tool without."""
    on_unknown: OnUnknown = _UNDECLARED
    """What to do when a worker died between the call and its outcome (invariant 3)."""
    version: int = 1
    """Raise it when the same arguments come to do something else: a call that an earlier version
    left without an outcome is then not repeated before the owner was asked."""
    time_limit_s: float = 20.0
    output_limit: int = 6000
    """Characters."""
    permission: Word | None = None
    """What holds where no rule of the owner's says anything; None: ``ask`` for effects outside,
    else ``allow``. See :mod:`stead.permit.judge` and ``Touches.word`` for what
    makes it stricter."""
    touches: Callable[[A, Context], Touches] | None = None
    """What a call would touch; None: nothing. Raises :class:`ToolError`."""
    preview: Callable[[A, Context], str] | None = None
    """What a call will do, in plain words for the owner; None: its name and arguments."""
    box: Callable[[A, Context], Box] | None = None
    """The sandbox of a call: the process of a ``run`` that is :func:`blocking` is put into it;
    another ``run`` starts its processes in it by itself (``context.walls``)."""
    reads_only: Callable[[A], bool] | None = None
    """Of a tool with effects (and with no ``box``): whether a call with these arguments has none,
    so that it may be done, and done again, without a question."""
    group: str = ""
    """Empty: always shown to the model. Else shown once the model asked for this group."""
    small: bool = False
    """Whether small local models are shown it too: they read slowly and get a chosen few."""
    fresh: bool = False
    """Its result changes by itself: a model that looks again is in no loop."""

    @property
    def default(self) -> Word:
        """What holds for it by its own declaration."""
        if self.permission is not None:
            return self.permission
        return Word.ASK if self.effects is Effects.OUTSIDE else Word.ALLOW

    def as_called(self, args: A) -> Tool[A]:
        """The tool as it is for this call."""
        if self.reads_only is None or not self.reads_only(args):
            return self
        return replace(
            self, effects=Effects.NONE, on_unknown=OnUnknown.REPEAT, permission=Word.ALLOW
        )

    def schema(self, *, described: bool = True) -> dict[str, Any]:
        """JSON Schema of the arguments, flat (no references)."""
        return args_schema(self.args, described=described)


@dataclass(frozen=True, slots=True)
class Blocking(Generic[A]):
    """A tool's ``run`` made of an ordinary function.

    Where there is a pool of processes it runs there, else in a thread.
    """

    function: Callable[[A, Context], str]

    async def __call__(self, args: A, context: Context) -> str:
        return await asyncio.to_thread(self.function, args, context)


def blocking(function: Callable[[A, Context], str]) -> Callable[[A, Context], Awaitable[str]]:
    """Make a tool's ``run`` of an ordinary function: the one crossing from async to sync here."""
    return Blocking(function)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool call gave: its result, or an error for the model to learn from."""

    text: str
    ok: bool = True
    read: frozenset[str] = frozenset()
    """What the call itself says about it: ``foreign``, ``private``."""


class Toolbox:
    """The tools an agent may use, and where they work."""

    def __init__(
        self, tools: Iterable[Tool[Any]], context: Context, pool: Pool | None = None
    ) -> None:
        """Raises ``ToolUndeclared`` and ``ToolTwice``."""
        self._tools: dict[str, Tool[Any]] = {}
        for tool in tools:
            _check_declared(tool)
            if tool.name in self._tools:
                raise ToolTwice(name=tool.name)
            self._tools[tool.name] = tool
        self._prints = {name: fingerprint(tool) for name, tool in self._tools.items()}
        self._context = context
        self._pool = pool
        self._low: Toolbox | None = None
        self._only: dict[tuple[str, ...], Toolbox] = {}
        self._is_low = False

    def with_pool(self, pool: Pool) -> Toolbox:
        """The same tools, run in these processes, unless they have some of their own."""
        return self if self._pool is not None else Toolbox(self, self._context, pool)

    @property
    def walls(self) -> Walls | None:
        return self._context.walls

    async def aclose(self) -> None:
        """End the processes of the tools."""
        await self._context.background.aclose()
        if self._pool is not None:
            await self._pool.aclose()
        if self._context.walls is not None:
            await self._context.walls.aclose()
        for close in self._context.closing:
            await close()

    def in_background(self) -> Toolbox:
        """The same tools for background work: at the lowest priority, if there is a pool."""
        if self._low is None:
            self._low = Toolbox(self, self._context, self._pool)
            self._low._is_low = True
        return self._low

    def only(
        self, names: tuple[str, ...], grouped: Callable[[list[Tool[Any]]], Iterable[Tool[Any]]]
    ) -> Toolbox:
        """Those of the tools that are named so (``*``: any part of a name); to a model the others
        are not there. They share all else with these. ``grouped``: adds the tool that shows the
        groups there are."""
        if "*" in names:
            return self
        found = self._only.get(names)
        if found is None:
            kept = [tool for tool in self if any(fnmatchcase(tool.name, one) for one in names)]
            found = self._only[names] = Toolbox(grouped(kept), self._context, self._pool)
            found._is_low = self._is_low
        return found

    def __iter__(self) -> Iterator[Tool[Any]]:
        return iter(self._tools.values())

    @property
    def context(self) -> Context:
        """Where its tools work."""
        return self._context

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def shown(self, groups: Sequence[str] = (), *, small: bool = False) -> list[Tool[Any]]:
        """The tools that a model is shown which has asked for these groups; those of a group
        come last, so that a list that grows begins as it did. ``small``: the chosen few."""
        if small:
            return [tool for tool in self if tool.small]
        first = [tool for tool in self if not tool.group]
        return first + [tool for group in groups for tool in self if tool.group == group]

    def fingerprint(self, name: str) -> str:
        """What tells one version of a tool from another; of a tool that is not there, ``gone``."""
        return self._prints.get(name, GONE)

    def read(self, name: str, arguments: str) -> tuple[Tool[Any], Args]:
        """The tool and its arguments out of what a model asked for.

        Raises ``ToolError`` with words that let the model correct itself.
        """
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(self._unknown(name))
        try:
            args = msgspec.json.decode(arguments or "{}", type=tool.args, strict=False)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as problem:
            args = _repaired(tool, arguments)
            if args is None:
                expected = msgspec.json.encode(tool.schema(described=False)).decode()
                raise ToolError(
                    f"wrong arguments {arguments[:200]!r}: {problem}. Expected: {expected}"
                ) from problem
        return tool.as_called(args), args

    def _unknown(self, name: str) -> str:
        """Words on a tool that there is not, with those that may be meant."""
        import difflib  # late: only an invented tool needs it

        text = f"there is no tool {name[:60]!r}"
        near = [self._tools[one] for one in difflib.get_close_matches(name[:60], self._tools, 2)]
        meant = [f"{one.name!r}" + (f" (group {one.group})" if one.group else "") for one in near]
        text += f", did you mean {' or '.join(meant)}?" if meant else ""
        return f"{text}; there are: {', '.join(tool.name for tool in self.shown())}"

    async def end(self, job: str, *, waits: bool = False) -> None:
        """An attempt at a job is over: what its calls have started ends with it. ``waits``: for
        the owner's answer."""
        await self._context.background.end(job, waits=waits)

    async def call(
        self, tool: Tool[Any], args: Args, most: int, *, job: str = "", step: int = 0,
        memory: Look | None = None,
    ) -> Outcome:  # fmt: skip
        """Run a tool within its limits; ``most``: characters the model can take; ``job`` and
        ``step``: which call it is; ``memory``: how its job looks into memory.

        Never raises for what a tool does: whatever went wrong becomes text.
        """
        limit = max(200, min(tool.output_limit, most))
        until = time.monotonic() + tool.time_limit_s
        context = replace(
            self._context, until=until, limit=limit, job=job, step=step, low=self._is_low,
            memory=memory, read=set(),
        )  # fmt: skip
        if isinstance(tool.run, Blocking) and self._pool is not None and self._pool.has(tool):
            return await self._in_process(self._pool, tool, args, context)
        if tool.box is not None and isinstance(tool.run, Blocking):
            return Outcome("this tool works on a node only: there are no sandboxes here", ok=False)
        try:
            async with asyncio.timeout(tool.time_limit_s) as timer:
                text = await tool.run(args, context)
        except Exception as problem:  # noqa: BLE001 - edge of a tool: its bug must not end the job
            if isinstance(problem, TimeoutError) and timer.expired():
                return Outcome(f"gave up after {tool.time_limit_s:g} s{_unsure(tool)}", ok=False)
            return Outcome(cut(self._context.hide(failed(problem)), limit), ok=False)
        return Outcome(cut(self._context.hide(text), limit), read=frozenset(context.read))

    async def _in_process(
        self, pool: Pool, tool: Tool[Any], args: Args, context: Context
    ) -> Outcome:
        try:
            answer = await pool.call(
                tool.name,
                msgspec.json.encode(args).decode(),
                context,
                seconds=tool.time_limit_s,
                low=self._is_low,
                box=None if tool.box is None else tool.box(args, context),
            )
        except OSError as problem:
            return Outcome(f"no process could be started for it: {failed(problem)}", ok=False)
        except Exception as problem:  # noqa: BLE001 - edge of a tool: its box may be wrong
            return Outcome(cut(failed(problem), context.limit), ok=False)
        text = self._context.hide(answer.text)
        return Outcome(text + ("" if answer.whole else _unsure(tool)), ok=answer.ok)


def _repaired(tool: Tool[Any], arguments: str) -> Any:
    """The arguments as they are meant, where they can be read in one other way; else None."""
    text = repaired(arguments, tool.name, tool.schema(described=False))
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=tool.args, strict=False)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None


def _unsure(tool: Tool[Any]) -> str:
    return "" if tool.effects is Effects.NONE else "; it may still have had its effect"


def failed(problem: Exception) -> str:
    """What a tool raised, as text for the model."""
    if isinstance(problem, ToolError | SteadError):
        return str(problem)
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    if isinstance(problem, MemoryError):
        return "the tool ran out of memory"
    return f"the tool broke: {type(problem).__name__}: {problem}"


def _check_declared(tool: Tool[Any]) -> None:
    missing: list[str] = []
    if not isinstance(tool.effects, Effects):
        missing.append("its effects")
    if not isinstance(tool.on_unknown, OnUnknown):
        missing.append("what to do about an unknown outcome (on_unknown)")
    if missing:
        raise ToolUndeclared(name=tool.name, missing=" and ".join(missing))


def fingerprint(tool: Tool[Any]) -> str:
    """Hash of what decides what a call of a tool does and what may be done about it."""
    schema = tool.schema(described=False)
    return input_hash([tool.name, tool.version, schema, tool.effects, tool.on_unknown])


def cut(text: str, limit: int) -> str:
    """The text, or its beginning with a note on how much is missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[cut: {len(text) - limit} of {len(text)} characters left out]"


@cache
def args_schema(args: type[Args], *, described: bool) -> dict[str, Any]:
    """JSON Schema of a Struct without references, titles and defaults; not to be changed."""
    (top,), parts = msgspec.json.schema_components([args], ref_template="{name}")
    dropped = {"title", "default"} if described else {"title", "default", "description"}

    def flat(node: Any) -> Any:
        if isinstance(node, list):
            return [flat(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return flat(parts[node["$ref"]])
        kept = {key: value for key, value in node.items() if key not in dropped}
        properties = kept.pop("properties", None)
        made = {key: flat(value) for key, value in kept.items()}
        if properties is not None:  # its keys are names of arguments, never dropped
            made["properties"] = {key: flat(value) for key, value in properties.items()}
        return made

    schema: dict[str, Any] = flat(top)
    if described:
        return schema
    schema.pop("description", None)
    return schema
