"""Ways in which a model chooses between answering and calling a tool.

==========  ===================================================================
``native``  the API's own tool calls; results as role ``tool``
``schema``  an answer constrained by a JSON Schema, ``{"reply": "text"}`` or
            ``{"tool": "name", "args": {}}``; results as a plain user message
``none``    plain text, no tools
==========  ===================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from stead.agent import prompt
from stead.agent.prompt import Message
from stead.agent.reply import ReplyReader, sound
from stead.agent.tools.base import Tool, Toolbox
from stead.core.nouns import ModelProfile, Turn
from stead.core.ports import ToolCall

Groups = tuple[str, ...]
"""Groups of tools that the model has asked for, in that order."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one model call."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: str = "stop"
    fault: str = ""
    """Why nothing can be done with it, in words; empty: it is fine."""

    def as_output(self) -> dict[str, Any]:
        """As it stands in the journal."""
        calls = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in self.calls]
        output = {"text": self.text, "calls": calls, "finish": self.finish}
        return {**output, "fault": self.fault} if self.fault else output

    @classmethod
    def of(cls, output: dict[str, Any]) -> Answer:
        """The answer that the journal holds."""
        calls = tuple(ToolCall(**call) for call in output.get("calls", ()))
        fault = output.get("fault", "")
        return cls(output.get("text", ""), calls, output.get("finish", "stop"), fault)


class Reader(Protocol):
    """Reads one streamed answer."""

    def feed(self, piece: str) -> str:
        """Take a piece; return what the owner may be shown of it."""
        ...

    def end(self, calls: tuple[ToolCall, ...], finish: str, *, final: bool) -> Answer:
        """The whole answer; ``final``: no tools were offered, so none are taken."""
        ...


class Way(Protocol):
    """One way of choosing tools."""

    temperature: float | None

    def opening(self, turns: Sequence[Turn]) -> list[Message]:
        """The messages at the start, for alternating turns that end with the owner's."""
        ...

    def tools(self, *, final: bool, groups: Groups = ()) -> list[dict[str, Any]]:
        """Definitions of the tools that are offered; ``final``: none, ``groups``: those that the
        model has asked for, in that order."""
        ...

    def schema(self, *, final: bool, groups: Groups = ()) -> dict[str, Any] | None: ...

    def reader(self) -> Reader: ...

    def said(self, answer: Answer) -> Message:
        """The model's own turn that asked for tools."""
        ...

    def told(self, call: ToolCall, result: str) -> Message:
        """The turn that hands a tool's result back."""
        ...


class _PlainReader:
    def __init__(self, *, offered: bool) -> None:
        self._text: list[str] = []
        self._offered = offered

    def feed(self, piece: str) -> str:
        self._text.append(sound(piece))
        return self._text[-1]

    def end(self, calls: tuple[ToolCall, ...], finish: str, *, final: bool) -> Answer:
        text = "".join(self._text)
        if final or not self._offered:
            calls = ()
        taken = tuple(_whole(call, n) for n, call in enumerate(calls, 1))
        fault = "" if text.strip() or taken else "the answer was empty"
        return Answer(text, taken, finish, fault)


class Plain:
    """No tools, plain text."""

    temperature: float | None = None

    def __init__(self, system: str) -> None:
        self._system = system

    def opening(self, turns: Sequence[Turn]) -> list[Message]:
        head = {"role": "system", "content": self._system}
        return [head, *map(prompt.turned, turns)]

    def tools(self, *, final: bool, groups: Groups = ()) -> list[dict[str, Any]]:
        return []

    def schema(self, *, final: bool, groups: Groups = ()) -> dict[str, Any] | None:
        return None

    def reader(self) -> Reader:
        return _PlainReader(offered=bool(self.tools(final=False)))

    def said(self, answer: Answer) -> Message:
        return prompt.assistant(answer.text)

    def told(self, call: ToolCall, result: str) -> Message:
        return prompt.user(prompt.told(call.name, result))


class Native(Plain):
    """The API's own tool calls."""

    def __init__(self, system: str, tools: Toolbox, *, small: bool = False) -> None:
        super().__init__(system)
        self._toolbox, self._small = tools, small
        self._made: dict[Groups, list[dict[str, Any]]] = {}

    def tools(self, *, final: bool, groups: Groups = ()) -> list[dict[str, Any]]:
        if final:
            return []
        if groups not in self._made:
            shown = self._toolbox.shown(groups, small=self._small)
            self._made[groups] = [_definition(tool) for tool in shown]
        return self._made[groups]

    def said(self, answer: Answer) -> Message:
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": _name(call.name), "arguments": _valid(call.arguments)},
            }
            for call in answer.calls
        ]
        return {"role": "assistant", "content": answer.text or None, "tool_calls": calls}

    def told(self, call: ToolCall, result: str) -> Message:
        return {"role": "tool", "tool_call_id": call.id, "content": result}


class Schema(Plain):
    """Constrained JSON, for small local models."""

    temperature: float | None = 0.0

    def __init__(self, system: str, tools: Toolbox, *, small: bool = False) -> None:
        super().__init__(system)
        self._toolbox, self._small = tools, small
        self._examples = prompt.examples(tools)
        self._reply = _object({"reply": {"type": "string"}})
        self._either: dict[Groups, dict[str, Any]] = {}

    def opening(self, turns: Sequence[Turn]) -> list[Message]:
        shown = [
            prompt.turned(turn)
            if turn.role == "user"
            else prompt.assistant(prompt.dumps({"reply": turn.text}))
            for turn in turns
        ]
        return [{"role": "system", "content": self._system}, *self._examples, *shown]

    def schema(self, *, final: bool, groups: Groups = ()) -> dict[str, Any] | None:
        if final:
            return self._reply
        if groups not in self._either:
            self._either[groups] = {"oneOf": [self._reply, *self._calls(groups)]}
        return self._either[groups]

    def _calls(self, groups: Groups) -> list[dict[str, Any]]:
        return [
            _object({"tool": {"const": tool.name}, "args": tool.schema(described=False)})
            for tool in self._toolbox.shown(groups, small=self._small)
        ]

    def reader(self) -> Reader:
        return _SchemaReader()

    def said(self, answer: Answer) -> Message:
        call = answer.calls[0]
        return prompt.assistant(f'{{"tool": {prompt.dumps(call.name)}, "args": {call.arguments}}}')


class SchemaReply(Schema):
    """The role ``light`` of a small local model: it may only reply, but it reads the very same
    beginning as the role ``main``, so that one entry of the prompt cache serves both and a
    conversation may change between them without being read anew."""

    def schema(self, *, final: bool, groups: Groups = ()) -> dict[str, Any] | None:
        return super().schema(final=True)


class _SchemaReader:
    def __init__(self) -> None:
        self._reply = ReplyReader()

    def feed(self, piece: str) -> str:
        return self._reply.feed(piece)

    def end(self, calls: tuple[ToolCall, ...], finish: str, *, final: bool) -> Answer:
        if self._reply.text.strip():  # also of an answer that was cut off
            return Answer(self._reply.text, (), finish)
        try:
            said = json.loads(self._reply.raw)
        except ValueError:
            said = None
        match said:
            case {"reply": str(text)} if text.strip():
                return Answer(sound(text), (), finish)
            case {"tool": str(name)} if not final:
                arguments = prompt.dumps(said.get("args", {}))
                return Answer("", (ToolCall("", name, sound(arguments)),), finish)
        short = sound(self._reply.raw[:80])
        why = "it was cut off" if finish == "length" else "it has not the shape asked for"
        return Answer("", (), finish, f"the answer cannot be used ({why}): {short!r}")


@lru_cache(maxsize=32)  # a way is constant, and making it takes as long as a commit
def choose(profile: ModelProfile, role: str, tools: Toolbox) -> Way:
    """The way of this profile; the role ``light`` has no tools."""
    system = prompt.system(profile, role, tools)
    small = profile.prompt == "small"
    if profile.tools == "schema":
        kind = SchemaReply if role == "light" else Schema
        return kind(system, tools, small=small)
    if role == "light" or profile.tools == "none":
        return Plain(system)
    return Native(system, tools, small=small)


def _definition(tool: Tool[Any]) -> dict[str, Any]:
    """A tool as the API takes it."""
    function = {"name": tool.name, "description": tool.about, "parameters": tool.schema()}
    return {"type": "function", "function": function}


def _whole(call: ToolCall, number: int) -> ToolCall:
    """The call with an id, which some backends leave out, and with text that can be stored."""
    return ToolCall(call.id or f"call_{number}", sound(call.name), sound(call.arguments))


def _name(name: str) -> str:
    """A name that a backend takes back; models invent others."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"


def _valid(arguments: str) -> str:
    """Arguments that a backend takes back: some refuse a request that has no JSON there.

    What was really said is quoted in the error that the model is handed.
    """
    try:
        return arguments if isinstance(json.loads(arguments), dict) else "{}"
    except ValueError:
        return "{}"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
