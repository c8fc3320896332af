"""What the scripted model does: directives in the owner's last message, made into a plan.

The list of directives is in :mod:`stead.inference.scripted`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

#: How the agent hands tool results to a model without native tool calls.
RESULT = "[result of "

#: How the agent hands over what memory brings to mind: material, so directives in it do nothing.
_RECALLED = re.compile(
    r"^\[(?:From memory|Notes from memory)[^\n]*\]\n.*?^\[end of what memory holds\]\n\n",
    re.MULTILINE | re.DOTALL,
)

_DIRECTIVE = re.compile(r"\[\[\s*(\w+)\s*")
_TOOL_NAME = re.compile(r"[\w.:-]+")
_TOKEN = re.compile(r"\s*\S+|\s+")
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(slots=True)
class Plan:
    """How to answer one call."""

    text: str = ""
    tool: str = ""
    """Name of the tool to call; empty: say ``text``."""
    args: str = "{}"
    """Its arguments as JSON text."""
    raw: bool = False
    """Give ``text`` as it is, even where the answer should be shaped by a schema."""
    slow_ms: float = 0.0
    first_ms: float = 0.0
    fail: int = 0
    """HTTP status to fail with; 0: none."""
    fail_times: int = 0
    """Fail only the first so many times; 0: always."""
    stall: int = -1
    """Tokens after which nothing more comes; 0: not even the head; -1: no stall."""
    cut: int = -1
    """Tokens after which the connection is broken."""
    error: int = -1
    """Tokens after which an error event ends the stream."""
    short: int = -1
    """Tokens after which the stream ends in good order, but without a finish."""
    garbage: bool = False
    cached: int = 0
    think: str = ""
    """What is thought before the answer."""
    together: bool = False
    more: list[tuple[str, str]] = field(default_factory=list)
    """Tools that are called together with ``tool``: names and arguments."""
    images: bool = False
    """Say what pictures there are in the request."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, as far as it decides about the answer."""

    owner: str
    """The owner's last message."""
    results: int
    """Tool results that came after it."""


@dataclass(slots=True)
class _Directive:
    word: str
    text: str
    args: str = "{}"
    words: list[str] = field(default_factory=list)


def text_of(content: Any) -> str:
    """The text of a message's content, which may be text, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""


def without_recall(text: str) -> str:
    """A message without what memory has brought to mind."""
    return _RECALLED.sub("", text)


def asked(messages: list[dict[str, Any]]) -> Asked:
    """Find the owner's last message, and count the tool results after it."""
    results = 0
    for message in reversed(messages):
        role = message.get("role")
        text = text_of(message.get("content"))
        if role == "tool" or (role == "user" and text.startswith(RESULT)):
            results += 1
        elif role == "user":
            return Asked(without_recall(text), results)
    return Asked("", results)


def plan(what: Asked) -> Plan:
    """The plan for a call: the tools in their order, then what is to be said.

    A modifier holds from its place on: one that stands behind two tools is
    for the calls that come once two results are there.
    """
    made = Plan()
    tools: list[_Directive] = []
    says: list[str] = []
    filler = 0
    for directive in _parse(what.owner):
        if directive.word == "tool":
            tools.append(directive)
        elif directive.word in ("say", "raw"):
            says.append(directive.text)
            made.raw = made.raw or directive.word == "raw"
        elif directive.word == "tokens":
            filler = _number(directive, 0)
        elif len(tools) <= what.results:
            _modify(made, directive)
    if made.together and what.results:
        tools = []  # all of them are answered
    if what.results < len(tools):
        made.tool = tools[what.results].text
        made.args = tools[what.results].args
        if made.together:
            made.more = [(tool.text, tool.args) for tool in tools[1:]]
    elif says:
        made.text = "\n".join(says)
    elif filler:
        made.text = " ".join(_WORDS[i % len(_WORDS)] for i in range(filler))
    else:
        first = what.owner.strip().split("\n")[0][:60]
        made.text = f"This is the scripted model. You said: {first}"
    return made


def images_of(messages: list[dict[str, Any]]) -> list[str]:
    """The pictures in chat messages: their address, or their type and size."""
    found: list[str] = []
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            image = part.get("image_url") if isinstance(part, dict) else None
            if isinstance(image, dict):
                kind, _, data = str(image.get("url")).partition(";base64,")
                size = f" of {len(data) * 3 // 4 - data.count('=')} bytes" if data else ""
                found.append(kind.removeprefix("data:") + size)
    return found


def tokens(text: str) -> list[str]:
    """Cut a text into the pieces in which it is streamed; joined they are the text."""
    return _TOKEN.findall(text)


def count(messages: list[dict[str, Any]]) -> int:
    """Prompt tokens, by a rule of thumb: four characters each and four a message."""
    return sum(4 + len(text_of(message.get("content"))) // 4 for message in messages)


def shaped(made: Plan) -> str:
    """The answer in the JSON shape that the agent asks of a model without native tool calls."""
    if not made.tool:
        return json.dumps({"reply": made.text}, ensure_ascii=False)
    try:
        json.loads(made.args)
        return f'{{"tool": {json.dumps(made.tool)}, "args": {made.args}}}'
    except ValueError:
        return json.dumps({"tool": made.tool, "args": made.args}, ensure_ascii=False)


def mode_of(request: dict[str, Any]) -> str:
    """How the answer may call tools: ``schema``, ``native`` or ``plain`` (not at all)."""
    shape = request.get("response_format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        return "schema"
    return "native" if request.get("tools") else "plain"


def _modify(made: Plan, directive: _Directive) -> None:
    word = directive.word
    if word == "slow":
        made.slow_ms = float(_number(directive, 0))
    elif word == "first":
        made.first_ms = float(_number(directive, 0))
    elif word == "cached":
        made.cached = _number(directive, 0)
    elif word in ("garbage", "together", "images"):
        setattr(made, word, True)
    elif word == "think":
        made.think = directive.text
    elif word in ("stall", "cut", "error", "short"):
        setattr(made, word, _number(directive, 0))
    elif word == "fail":
        made.fail = _number(directive, 0, 500)
        made.fail_times = _number(directive, 2) if directive.words[1:2] == ["times"] else 0


def _number(directive: _Directive, index: int, default: int = 0) -> int:
    try:
        return max(0, int(directive.words[index]))
    except (IndexError, ValueError):
        return default


def _parse(text: str) -> list[_Directive]:
    found: list[_Directive] = []
    at = 0
    while match := _DIRECTIVE.search(text, at):
        word = match.group(1)
        start = match.end()
        if word == "tool":
            directive, at = _tool(text, start)
        else:
            end = text.find("]]", start)
            end = len(text) if end < 0 else end
            inside = text[start:end]
            directive = _Directive(word, inside, words=inside.split())
            at = end + 2
        found.append(directive)
    return found


def _tool(text: str, start: int) -> tuple[_Directive, int]:
    """A tool directive; its JSON may hold brackets, so it is read as JSON first."""
    match = _TOOL_NAME.match(text, start)
    name = match.group() if match else ""
    at = match.end() if match else start
    while at < len(text) and text[at].isspace():
        at += 1
    args = ""
    if text[at : at + 1] == "{":
        try:
            _, length = json.JSONDecoder().raw_decode(text[at:])
            args = text[at : at + length]
            at += length
        except ValueError:
            pass  # bad JSON on purpose: it is handed on as it stands
    end = text.find("]]", at)
    end = len(text) if end < 0 else end
    args = args or text[at:end].strip() or "{}"
    return _Directive("tool", name, args), end + 2
