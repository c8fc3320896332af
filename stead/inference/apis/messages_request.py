"""A request to Anthropic's messages, for a model that is asked in chat/completions.

Sources: https://docs.claude.com/en/api/messages and
https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stead.inference.apis import base, blocks
from stead.inference.apis.base import Json, as_flag, as_list, as_object, as_text, refuse
from stead.inference.apis.errors import NoThreads

_REFUSED = ("container", "mcp_servers", "inference_geo", "compaction")
#: These say how Anthropic is to run or bill the call, not what is to be answered: left out.
_IGNORED = base.names(
    "cache_control service_tier context_management speed diagnostics billing_policy fallbacks "
    "fallback_credit_token user_profile_id workspace_id"
)
_KNOWN = (
    base.names(
        "model messages system max_tokens stream stop_sequences temperature top_p tools "
        "tool_choice metadata thinking output_config output_format thread"
    )
    | _IGNORED
    | frozenset(_REFUSED)
)

#: Models that know the answer's limit only by its newer name.
_NEWER_LIMIT = re.compile(r"(^|/)(o[1-9]|gpt-[5-9]|gpt-\d\d)", re.IGNORECASE)
#: Models that refuse to be told how much to think.
_NO_EFFORT = re.compile(r"(^|/)(gpt-3|gpt-4|chatgpt-4)", re.IGNORECASE)
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
#: Thinking budgets up to so many tokens, and the effort that comes near.
_BUDGETS = ((4096, "low"), (16_384, "medium"))


def limit_name(model: str) -> str:
    """What the limit of the answer is called for that model."""
    return "max_completion_tokens" if _NEWER_LIMIT.search(model) else "max_tokens"


def to_chat(request: Json, model: str) -> Json:
    """The chat request. Raises ``BadRequest``."""
    for name in _REFUSED:
        if request.get(name):
            raise refuse(name, "only Anthropic's own servers have that")
    if request.get("thread"):
        raise NoThreads(param="thread")
    made: Json = {"model": model, "messages": messages(request)}
    made[limit_name(model)] = base.as_count(request.get("max_tokens"), "max_tokens")
    if as_flag(request.get("stream"), "stream"):
        made["stream"] = True
        made["stream_options"] = {"include_usage": True}
    stops = request.get("stop_sequences")
    if stops:
        made["stop"] = [
            as_text(stop, f"stop_sequences[{n}]")
            for n, stop in enumerate(as_list(stops, "stop_sequences"))
        ]
    for name in ("temperature", "top_p"):
        if request.get(name) is not None:
            made[name] = base.as_number(request[name], name, 0, 1, "Anthropic's API")
    if request.get("tools"):
        made["tools"] = list(_tools(as_list(request["tools"], "tools")))
    _choose(request, made)
    _think(request, model, made)
    user = as_object(request.get("metadata") or {}, "metadata").get("user_id")
    if user:
        made["user"] = as_text(user, "metadata.user_id")
    base.pass_unknown(request, _KNOWN, made)
    return made


# --- messages ------------------------------------------------------------------------


@dataclass(slots=True)
class _Turn:
    role: str
    blocks: list[tuple[Json, str]] = field(default_factory=list)
    """Each with its place in the request."""


def messages(request: Json) -> list[Json]:
    """The messages of a chat request, the system prompt first."""
    made: list[Json] = []
    system = request.get("system")
    if system:
        texts = [_plain(block, where) for block, where in blocks.of(system, "system")]
        made.append({"role": "system", "content": "\n\n".join(texts)})
    given = as_list(request.get("messages"), "messages")
    if not given:
        raise refuse("messages", "there is none")
    waiting: dict[str, str] = {}
    turns = list(_turns(given))
    for turn in turns:
        if turn.role == "assistant":
            made.append(_assistant(turn, waiting))
        elif turn.role == "system":
            texts = [_plain(block, where) for block, where in turn.blocks]
            made.append({"role": "system", "content": "\n\n".join(texts)})
        else:
            made.extend(_user(turn, waiting))
        if waiting and turn.role != "assistant":
            raise _unanswered(waiting)
    if waiting:
        raise _unanswered(waiting)
    if turns[-1].role == "assistant":
        raise refuse(
            f"messages[{len(given) - 1}]",
            "the last message is the assistant's, and a model behind chat/completions cannot be "
            "made to go on from the middle of its own answer",
        )
    return made


def _unanswered(waiting: dict[str, str]) -> Exception:
    call, where = next(iter(waiting.items()))
    return refuse(where, f"the tool_use {call} has no tool_result in the message after it")


def _turns(given: list[Any]) -> Iterator[_Turn]:
    """Messages of one role in a row are one turn, as in Anthropic's API."""
    turn: _Turn | None = None
    for n, raw in enumerate(given):
        where = f"messages[{n}]"
        message = as_object(raw, where)
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            raise refuse(f"{where}.role", "user, assistant or system is wanted")
        content = blocks.of(message.get("content"), f"{where}.content")
        if turn is not None and turn.role != role:
            yield turn
            turn = None
        turn = turn or _Turn(role)
        turn.blocks.extend(content)
    if turn is not None:
        yield turn


def _plain(block: Json, where: str) -> str:
    if block.get("type") != "text":
        raise refuse(f"{where}.type", "only text can stand here")
    return base.text_of(block, where)


def _assistant(turn: _Turn, waiting: dict[str, str]) -> Json:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for block, where in turn.blocks:
        kind = block.get("type")
        if kind == "text":
            texts.append(base.text_of(block, where))
        elif kind == "thinking":
            # Thinking that Anthropic has signed is of use to nobody else.
            if block.get("signature") == base.UNSIGNED:
                thoughts.append(as_text(block.get("thinking"), f"{where}.thinking"))
        elif kind == "redacted_thinking":
            continue
        elif kind == "tool_use":
            calls.append(_call(block, where))
            waiting[calls[-1]["id"]] = where
        else:
            raise blocks.unknown(block, where)
    made: Json = {"role": "assistant", "content": "".join(texts)}
    if calls:
        made["tool_calls"] = calls
        made["content"] = made["content"] or None
    if thoughts:
        made["reasoning_content"] = "\n\n".join(thoughts)
    return made


def _call(block: Json, where: str) -> Json:
    given = as_object(block.get("input"), f"{where}.input")
    name = as_text(block.get("name"), f"{where}.name")
    function = {"name": name, "arguments": base.arguments_text(given)}
    return {"id": as_text(block.get("id"), f"{where}.id"), "type": "function", "function": function}


def _user(turn: _Turn, waiting: dict[str, str]) -> Iterator[Json]:
    """Tool results first, each a message of its own, and then what the user says."""
    parts: list[Json] = []
    for block, where in turn.blocks:
        if block.get("type") != "tool_result":
            parts.extend(blocks.to_chat(block, where))
            continue
        call = as_text(block.get("tool_use_id"), f"{where}.tool_use_id")
        if call not in waiting:
            raise refuse(
                f"{where}.tool_use_id", f"the message before has no tool_use with the id {call}"
            )
        del waiting[call]
        text, shown = _result(block, where)
        if as_flag(block.get("is_error"), f"{where}.is_error"):
            text = f"[tool error] {text}"
        if shown:
            # Tool messages hold text only, so what is to be seen follows as the user's.
            text = text or "[The result is shown below.]"
            parts.append({"type": "text", "text": f"[Result of the tool call {call}:]"})
            parts.extend(shown)
        yield {"role": "tool", "tool_call_id": call, "content": text}
    if parts or not any(block.get("type") == "tool_result" for block, _ in turn.blocks):
        yield {"role": "user", "content": blocks.simplest(parts)}


def _result(block: Json, where: str) -> tuple[str, list[Json]]:
    """The text of a tool's result, and the parts of it that are none."""
    texts: list[str] = []
    shown: list[Json] = []
    content = block.get("content")
    if content is None:
        return "", []
    for inner, place in blocks.of(content, f"{where}.content"):
        for part in blocks.to_chat(inner, place):
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                shown.append(part)
    return "\n\n".join(texts), shown


# --- tools, thinking -----------------------------------------------------------------


def _tools(given: list[Any]) -> Iterator[Json]:
    for n, raw in enumerate(given):
        where = f"tools[{n}]"
        tool = as_object(raw, where)
        kind = tool.get("type") or "custom"
        if kind != "custom":
            raise refuse(
                f"{where}.type", f"{kind} is known to Anthropic's models only; give it as a schema"
            )
        callers = tool.get("allowed_callers")
        if callers and callers != ["direct"]:
            raise refuse(f"{where}.allowed_callers", "only the model itself can call it here")
        schema = as_object(tool.get("input_schema"), f"{where}.input_schema")
        function: Json = {"name": as_text(tool.get("name"), f"{where}.name")}
        if tool.get("description"):
            function["description"] = as_text(tool["description"], f"{where}.description")
        function["parameters"] = schema
        if tool.get("strict") is not None:
            function["strict"] = as_flag(tool["strict"], f"{where}.strict")
        yield {"type": "function", "function": function}


def _choose(request: Json, made: Json) -> None:
    if request.get("tool_choice") is None:
        return
    choice = as_object(request["tool_choice"], "tool_choice")
    kind = choice.get("type")
    words = {"auto": "auto", "any": "required", "none": "none"}
    if kind in ("auto", "none") and not made.get("tools"):
        return  # there is nothing to choose, and some servers refuse to be told so
    if kind == "tool":
        name = as_text(choice.get("name"), "tool_choice.name")
        made["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif isinstance(kind, str) and kind in words:
        made["tool_choice"] = words[kind]
    else:
        raise refuse("tool_choice.type", "auto, any, tool or none is wanted")
    if as_flag(choice.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use"):
        made["parallel_tool_calls"] = False


def _think(request: Json, model: str, made: Json) -> None:
    """The shape of the answer, and how hard to think about it."""
    config = as_object(request.get("output_config") or {}, "output_config")
    for name, value in config.items():
        if value is not None and name not in ("format", "effort", "task_budget"):
            raise refuse(f"output_config.{name}", "chat/completions has no word for that")
    shape = config.get("format") or request.get("output_format")
    if shape:
        where = "output_config.format" if config.get("format") else "output_format"
        shape = as_object(shape, where)
        if shape.get("type") != "json_schema":
            raise refuse(f"{where}.type", "json_schema is wanted")
        schema = as_object(shape.get("schema"), f"{where}.schema")
        named = {"name": "answer", "schema": schema, "strict": True}
        made["response_format"] = {"type": "json_schema", "json_schema": named}
    effort = config.get("effort")
    if effort is not None and effort not in _EFFORTS:
        raise refuse("output_config.effort", f"one of {', '.join(_EFFORTS)} is wanted")
    effort = effort or _effort_of(request.get("thinking"))
    if effort and not _NO_EFFORT.search(model):
        strong = effort in ("xhigh", "max")
        made["reasoning_effort"] = "high" if strong and not _NEWER_LIMIT.search(model) else effort


def _effort_of(thinking: Any) -> str:
    if thinking is None:
        return ""
    config = as_object(thinking, "thinking")
    if as_text(config.get("type"), "thinking.type") != "enabled":
        return ""  # as much as the model finds right
    budget = base.as_count(config.get("budget_tokens"), "thinking.budget_tokens")
    return next((word for most, word in _BUDGETS if budget <= most), "high")
