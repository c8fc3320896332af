"""A chat request, for a model that is asked in Anthropic's messages.

Where the two differ it follows what Anthropic itself does for OpenAI clients
(https://docs.claude.com/en/api/openai-sdk), but refuses what would be ignored there although
it changes the answer.
"""

from __future__ import annotations

import re
from typing import Any

from stead.inference.apis import base, claude_messages
from stead.inference.apis.base import Json, as_flag, as_list, as_object, as_text, refuse

#: Understood, or of no meaning to the answer.
_KNOWN = base.names(
    "model messages max_tokens max_completion_tokens stream stream_options stop temperature "
    "top_p n tools tool_choice parallel_tool_calls response_format reasoning_effort user "
    "safety_identifier frequency_penalty presence_penalty logit_bias logprobs top_logprobs "
    "modalities audio functions function_call web_search_options verbosity moderation "
    "thinking output_config"
) | base.names(
    "seed metadata store prediction service_tier prompt_cache_key prompt_cache_options "
    "prompt_cache_retention"
)
#: Changes the answer, and Claude cannot do it, unless the value says: do not.
_REFUSED = (
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "audio",
    "web_search_options",
    "moderation",
)
#: The tool by which any JSON object is asked for.
JSON_TOOL = "json_answer"

#: Answers are at most so long where the request does not say.
_MOST = ((re.compile(r"claude-(2|3-(haiku|opus|sonnet))"), 4096), (re.compile("claude-3-5"), 8192))
_MOST_ELSE = 32_000
#: Models that are given a budget for thinking; later ones find their own by effort.
_BUDGETED = re.compile(
    r"claude-(2|3)|(opus|sonnet|haiku)-4([-.][0-5])?(?!\d)(?![-.]\d{1,2}(?!\d))", re.IGNORECASE
)
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576}
_LEAST_BUDGET = 1024


def to_messages(request: Json, model: str) -> tuple[Json, bool]:
    """The request, and whether the answer comes by way of the JSON tool."""
    _refuse(request)
    made: Json = {"model": model}
    system, made["messages"] = claude_messages.split(as_list(request.get("messages"), "messages"))
    if system:
        plain = len(system) == 1 and list(system[0]) == ["type", "text"]
        made["system"] = system[0]["text"] if plain else system
    made["max_tokens"] = _most(request, model)
    if as_flag(request.get("stream"), "stream"):
        made["stream"] = True
    stop = request.get("stop")
    if stop:
        stops = [stop] if isinstance(stop, str) else as_list(stop, "stop")
        made["stop_sequences"] = [as_text(text, f"stop[{n}]") for n, text in enumerate(stops)]
    for name in ("temperature", "top_p"):
        value = request.get(name)
        # The usual value is left out: newer models refuse to be told even that.
        if value is not None and value != 1:
            made[name] = base.as_number(value, name, 0, 1, "Claude")
    tools = request.get("tools")
    if tools:
        made["tools"] = [
            _tool(tool, f"tools[{n}]") for n, tool in enumerate(as_list(tools, "tools"))
        ]
    _choose(request, made)
    for name in ("thinking", "output_config"):  # Anthropic's own fields, where they are sent
        if request.get(name) is not None:
            made[name] = dict(as_object(request[name], name))
    by_tool = _shape(request, made)
    _think(request, model, made)
    user = request.get("safety_identifier") or request.get("user")
    if user:
        made["metadata"] = {"user_id": as_text(user, "user")}
    base.pass_unknown(request, _KNOWN, made)
    return made, by_tool


def _refuse(request: Json) -> None:
    for name in _REFUSED:
        if request.get(name):
            raise refuse(name, "Claude has nothing like it")
    for name in ("functions", "function_call"):
        if request.get(name):
            raise refuse(name, "this old way of calling is not translated; use tools")
    if (request.get("n") or 1) != 1:
        raise refuse("n", "Claude gives one answer at a time: n must be 1")
    if (request.get("modalities") or ["text"]) != ["text"]:
        raise refuse("modalities", "Claude answers in text only")
    if (request.get("verbosity") or "medium") != "medium":
        raise refuse("verbosity", "Claude has nothing like it; ask for it in the prompt")


def _most(request: Json, model: str) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        if request.get(name) is not None:
            return base.as_count(request[name], name)
    return next((most for match, most in _MOST if match.search(model)), _MOST_ELSE)


# --- tools ---------------------------------------------------------------------------


def _tool(raw: Any, where: str) -> Json:
    tool = as_object(raw, where)
    if tool.get("type", "function") != "function":
        raise refuse(f"{where}.type", f"{tool['type']!r}: only functions are translated")
    function = as_object(tool.get("function"), f"{where}.function")
    made: Json = {"name": as_text(function.get("name"), f"{where}.function.name")}
    if function.get("description"):
        made["description"] = as_text(function["description"], f"{where}.function.description")
    schema = function.get("parameters") or {}
    schema = as_object(schema, f"{where}.function.parameters")
    made["input_schema"] = schema if schema.get("type") else {"type": "object", **schema}
    if as_flag(function.get("strict"), f"{where}.function.strict"):
        made["strict"] = True
    if tool.get("cache_control") is not None:
        made["cache_control"] = tool["cache_control"]
    return made


def _choose(request: Json, made: Json) -> None:
    choice = request.get("tool_choice")
    chosen: Json | None = None
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        choice = _allow(choice, made)
    if isinstance(choice, dict):
        if choice.get("type") != "function":
            raise refuse("tool_choice.type", "only functions can be chosen")
        function = as_object(choice.get("function"), "tool_choice.function")
        name = as_text(function.get("name"), "tool_choice.function.name")
        chosen = {"type": "tool", "name": name}
    elif choice in ("auto", "none"):
        chosen = {"type": choice} if made.get("tools") else None
    elif choice == "required":
        chosen = {"type": "any"}
    elif choice is not None:
        raise refuse("tool_choice", "none, auto, required or a function is wanted")
    one_by_one = request.get("parallel_tool_calls") is not None and not as_flag(
        request["parallel_tool_calls"], "parallel_tool_calls"
    )
    if one_by_one and made.get("tools"):
        chosen = chosen or {"type": "auto"}
        if chosen["type"] != "none":
            chosen["disable_parallel_tool_use"] = True
    if chosen:
        made["tool_choice"] = chosen


def _allow(choice: Json, made: Json) -> str:
    """Leave only the tools that are allowed; return the mode."""
    allowed = as_object(choice.get("allowed_tools"), "tool_choice.allowed_tools")
    mode = allowed.get("mode")
    if mode not in ("auto", "required"):
        raise refuse("tool_choice.allowed_tools.mode", "auto or required is wanted")
    names = set()
    where = "tool_choice.allowed_tools.tools"
    for n, raw in enumerate(as_list(allowed.get("tools"), where)):
        function = as_object(as_object(raw, f"{where}[{n}]").get("function"), f"{where}[{n}]")
        names.add(as_text(function.get("name"), f"{where}[{n}].function.name"))
    made["tools"] = [tool for tool in made.get("tools", []) if tool["name"] in names]
    if not made["tools"]:
        raise refuse(where, "none of them is among the tools")
    return str(mode)


# --- thinking, shape of the answer ---------------------------------------------------


def _think(request: Json, model: str, made: Json) -> None:
    """Translate the effort, where Anthropic's own `thinking` does not say it."""
    effort = request.get("reasoning_effort")
    if effort in (None, "none") or made.get("thinking") is not None:
        return
    if effort not in (*_BUDGETS, "max"):
        raise refuse("reasoning_effort", f"none, {', '.join(_BUDGETS)} or max is wanted")
    # Claude refuses to think where it is made to call a tool.
    forced = made.get("tool_choice", {}).get("type") in ("any", "tool")
    if not _BUDGETED.search(model):
        if not forced:
            made["thinking"] = {"type": "adaptive"}
        config = made.setdefault("output_config", {})
        config.setdefault("effort", "low" if effort == "minimal" else effort)
        return
    budget = min(_BUDGETS.get(effort, _BUDGETS["xhigh"]), made["max_tokens"] - 1)
    # Nor does it think where its thinking before a tool's result is missing.
    if budget < _LEAST_BUDGET or forced or _thoughtless(made["messages"]):
        return
    made["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _thoughtless(messages: list[Json]) -> bool:
    last = next((m for m in reversed(messages) if m["role"] == "assistant"), None)
    if last is None or not isinstance(last["content"], list):
        return False
    kinds = [block["type"] for block in last["content"]]
    return "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking")


def _shape(request: Json, made: Json) -> bool:
    if request.get("response_format") is None:
        return False
    shape = as_object(request["response_format"], "response_format")
    kind = shape.get("type")
    if kind == "text":
        return False
    if kind == "json_schema":
        named = as_object(shape.get("json_schema"), "response_format.json_schema")
        schema = as_object(named.get("schema"), "response_format.json_schema.schema")
        config = made.setdefault("output_config", {})
        if config.get("format"):
            raise refuse("response_format", "output_config.format says it already")
        config["format"] = {"type": "json_schema", "schema": schema}
        return False
    if kind != "json_object":
        raise refuse("response_format.type", "text, json_schema or json_object is wanted")
    if made.get("tools") or made.get("thinking", {}).get("type", "disabled") != "disabled":
        raise refuse(
            "response_format.type",
            "json_object cannot be had from Claude together with tools or thinking; "
            "use json_schema",
        )
    made["tools"] = [
        {
            "name": JSON_TOOL,
            "description": "Give the whole answer, as the JSON object that was asked for.",
            "input_schema": {"type": "object", "additionalProperties": True},
        }
    ]
    made["tool_choice"] = {"type": "tool", "name": JSON_TOOL}
    return True
