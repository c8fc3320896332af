"""A request to the Responses API, for a model that is asked in chat/completions.

Source: https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from stead.inference.apis import base, blocks, messages_request
from stead.inference.apis.base import Json, as_flag, as_list, as_object, as_text, refuse

#: Understood, or of no meaning to the answer.
_KNOWN = base.names(
    "model input instructions stream stream_options max_output_tokens temperature top_p tools "
    "tool_choice parallel_tool_calls reasoning text include previous_response_id conversation "
    "background prompt top_logprobs context_management moderation"
) | base.names("store metadata truncation max_tool_calls")
_KEPT_ELSEWHERE = (
    "nothing is kept here between requests: send the whole conversation in `input` "
    "(with store false the official clients do so)"
)
_REFUSED = {
    "previous_response_id": _KEPT_ELSEWHERE,
    "conversation": _KEPT_ELSEWHERE,
    "background": "answers are given at once here",
    "prompt": "prompts that are kept at OpenAI are not known here: send the text",
    "top_logprobs": "that is not translated",
    "context_management": "that is not translated: send less input",
    "moderation": "that is not translated",
}
_INCLUDED = "reasoning.encrypted_content"
#: The version of what we put in a reasoning item to be given back.
_SEAL = "stead1."


def to_chat(request: Json, model: str, *, claude: bool) -> Json:
    """The chat request. ``claude``: it will be translated further, to Anthropic's messages.

    Raises ``BadRequest``.
    """
    for name, why in _REFUSED.items():
        if request.get(name):
            raise refuse(name, why)
    for n, what in enumerate(as_list(request.get("include") or [], "include")):
        if what == "message.output_text.logprobs":
            raise refuse(f"include[{n}]", "that is not translated")
    made: Json = {"model": model}
    made["messages"] = _messages(request, claude=claude)
    most = request.get("max_output_tokens")
    if most is not None:
        made[messages_request.limit_name(model)] = base.as_count(most, "max_output_tokens")
    if as_flag(request.get("stream"), "stream"):
        made["stream"] = True
        made["stream_options"] = {"include_usage": True}
    for name in ("temperature", "top_p", "parallel_tool_calls"):
        if request.get(name) is not None:
            made[name] = request[name]
    _tools(request, made)
    reasoning = as_object(request.get("reasoning") or {}, "reasoning")
    if reasoning.get("effort") is not None:
        made["reasoning_effort"] = as_text(reasoning["effort"], "reasoning.effort")
    _shape(as_object(request.get("text") or {}, "text"), made)
    base.pass_unknown(request, _KNOWN, made)
    return made


def seals(request: Json) -> bool:
    """Whether the client wants to be able to give thinking back."""
    included = request.get("include")
    return isinstance(included, list) and _INCLUDED in included


def seal(thought: str, thinking_blocks: list[Json]) -> str:
    """Thinking as ``encrypted_content``; it is not secret, only not meant to be read."""
    kept = base.encode({"thought": thought, "blocks": thinking_blocks})
    return _SEAL + base64.b64encode(kept).decode()


def _unseal(text: Any) -> tuple[str, list[Json]]:
    """What :func:`seal` made; nothing if it was another's."""
    if not isinstance(text, str) or not text.startswith(_SEAL):
        return "", []
    try:
        kept = base.parsed(base64.b64decode(text[len(_SEAL) :], validate=True))
    except (ValueError, binascii.Error):
        return "", []
    if not isinstance(kept, dict):
        return "", []
    thought, given = kept.get("thought"), kept.get("blocks")
    return (
        thought if isinstance(thought, str) else "",
        [block for block in given if isinstance(block, dict)] if isinstance(given, list) else [],
    )


# --- input ---------------------------------------------------------------------------


def _messages(request: Json, *, claude: bool) -> list[Json]:
    made = _Messages(claude)
    if request.get("instructions"):
        text = as_text(request["instructions"], "instructions")
        made.out.append({"role": "system", "content": text})
    given = request.get("input")
    if isinstance(given, str):
        made.out.append({"role": "user", "content": given})
    else:
        items = as_list(given, "input")
        if not items:
            raise refuse("input", "there is none")
        for n, raw in enumerate(items):
            made.take(as_object(raw, f"input[{n}]"), f"input[{n}]")
    made.none_waiting()
    return made.out


class _Messages:
    """Chat messages as they grow: thinking, words and calls of one turn are one message."""

    def __init__(self, claude: bool) -> None:
        self.out: list[Json] = []
        self._claude = claude
        self._waiting: dict[str, str] = {}
        self._shown: list[Json] = []
        """Pictures of tool results, which tool messages cannot hold."""

    def take(self, item: Json, where: str) -> None:
        kind = item.get("type") or "message"
        if kind != "function_call_output":
            self._show()
        if kind == "message":
            self._message(item, where)
        elif kind == "reasoning":
            self._reasoning(item)
        elif kind == "function_call":
            self._call(item, where)
        elif kind == "function_call_output":
            self._output(item, where)
        elif kind == "item_reference":
            raise refuse(f"{where}.type", _KEPT_ELSEWHERE)
        else:
            raise refuse(f"{where}.type", f"{kind!r} is not translated")

    def none_waiting(self) -> None:
        for call, where in self._waiting.items():
            raise refuse(where, f"the function call {call} has no function_call_output after it")
        self._show()

    def _show(self) -> None:
        if self._shown and not self._waiting:
            self.out.append({"role": "user", "content": self._shown})
            self._shown = []

    def _own(self) -> Json:
        """The assistant's message that grows."""
        if not self.out or self.out[-1]["role"] != "assistant":
            self.out.append({"role": "assistant", "content": None})
        return self.out[-1]

    def _message(self, item: Json, where: str) -> None:
        role = item.get("role")
        if role not in ("user", "assistant", "system", "developer"):
            raise refuse(f"{where}.role", "user, assistant, system or developer is wanted")
        parts = list(_parts(item.get("content"), f"{where}.content"))
        if role == "assistant":
            text = "".join(_only_text(part, where) for part in parts)
            own = self._own()
            own["content"] = (own["content"] or "") + text
            return
        if self._waiting:
            self.none_waiting()
        if role == "user":
            self.out.append({"role": "user", "content": blocks.simplest(parts)})
        else:  # not every server knows the role `developer`
            text = "\n\n".join(_only_text(part, where) for part in parts)
            self.out.append({"role": "system", "content": text})

    def _reasoning(self, item: Json) -> None:
        thought, kept = _unseal(item.get("encrypted_content"))
        if not thought:
            content = item.get("content")
            parts = content if isinstance(content, list) else []
            texts = (part.get("text") for part in parts if isinstance(part, dict))
            thought = "\n\n".join(text for text in texts if isinstance(text, str))
        if self._claude and kept:
            self._own().setdefault("thinking_blocks", []).extend(kept)
        elif thought and not self._claude and not kept:
            own = self._own()
            before = own.get("reasoning_content")
            own["reasoning_content"] = f"{before}\n\n{thought}" if before else thought

    def _call(self, item: Json, where: str) -> None:
        call_id = as_text(item.get("call_id"), f"{where}.call_id")
        function = {
            "name": as_text(item.get("name"), f"{where}.name"),
            "arguments": as_text(item.get("arguments"), f"{where}.arguments"),
        }
        call = {"id": call_id, "type": "function", "function": function}
        self._own().setdefault("tool_calls", []).append(call)
        self._waiting[call_id] = where

    def _output(self, item: Json, where: str) -> None:
        call_id = as_text(item.get("call_id"), f"{where}.call_id")
        if call_id not in self._waiting:
            raise refuse(
                f"{where}.call_id", f"no function_call with the call_id {call_id} waits for it"
            )
        del self._waiting[call_id]
        texts: list[str] = []
        shown: list[Json] = []
        for part in _parts(item.get("output"), f"{where}.output"):
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                shown.append(part)
        text = "\n\n".join(texts)
        if shown:
            text = text or "[The result is shown below.]"
            self._shown += [
                {"type": "text", "text": f"[Result of the tool call {call_id}:]"},
                *shown,
            ]
        self.out.append({"role": "tool", "tool_call_id": call_id, "content": text})


def _parts(content: Any, where: str) -> Iterator[Json]:
    for part, place in blocks.of(content, where):
        kind = part.get("type")
        if kind in ("input_text", "output_text", "text"):
            yield {"type": "text", "text": base.text_of(part, place)}
        elif kind == "refusal":
            yield {"type": "text", "text": as_text(part.get("refusal"), f"{place}.refusal")}
        elif kind == "input_image":
            if not part.get("image_url"):
                raise refuse(f"{place}.file_id", "it lies elsewhere: send it as image_url")
            image: Json = {"url": as_text(part["image_url"], f"{place}.image_url")}
            if part.get("detail") not in (None, "auto"):
                image["detail"] = part["detail"]
            yield {"type": "image_url", "image_url": image}
        elif kind == "input_file":
            if not part.get("file_data"):
                raise refuse(place, "a file that lies elsewhere: send its file_data")
            file: Json = {"file_data": as_text(part["file_data"], f"{place}.file_data")}
            if part.get("filename"):
                file["filename"] = as_text(part["filename"], f"{place}.filename")
            yield {"type": "file", "file": file}
        elif kind == "input_audio":
            audio = as_object(part.get("input_audio"), f"{place}.input_audio")
            yield {"type": "input_audio", "input_audio": audio}
        else:
            raise blocks.unknown(part, place)


def _only_text(part: Json, where: str) -> str:
    if part["type"] != "text":
        raise refuse(f"{where}.content", "only text can stand here")
    return str(part["text"])


# --- tools, shape --------------------------------------------------------------------


def _tools(request: Json, made: Json) -> None:
    given = request.get("tools")
    if given:
        tools = as_list(given, "tools")
        made["tools"] = [_tool(raw, f"tools[{n}]") for n, raw in enumerate(tools)]
    else:
        made.pop("parallel_tool_calls", None)
    choice = request.get("tool_choice")
    if isinstance(choice, dict):
        kind = choice.get("type")
        if kind == "function":
            made["tool_choice"] = _named(choice, "tool_choice")
        elif kind == "allowed_tools":
            where = "tool_choice.tools"
            tools = as_list(choice.get("tools"), where)
            named = [_named(as_object(t, where), f"{where}[{n}]") for n, t in enumerate(tools)]
            allowed = {"mode": choice.get("mode"), "tools": named}
            made["tool_choice"] = {"type": "allowed_tools", "allowed_tools": allowed}
        else:
            raise refuse("tool_choice.type", f"{kind!r}: only functions are translated")
    elif choice is not None and (given or choice == "required"):
        made["tool_choice"] = as_text(choice, "tool_choice")


def _named(choice: Json, where: str) -> Json:
    if choice.get("type") != "function":
        raise refuse(f"{where}.type", "only functions are translated")
    return {"type": "function", "function": {"name": as_text(choice.get("name"), f"{where}.name")}}


def _tool(raw: Any, where: str) -> Json:
    tool = as_object(raw, where)
    if tool.get("type") != "function":
        raise refuse(
            f"{where}.type",
            f"{tool.get('type')!r} is a tool of OpenAI's own servers or models; "
            "only functions are translated",
        )
    function: Json = {"name": as_text(tool.get("name"), f"{where}.name")}
    if tool.get("description"):
        function["description"] = as_text(tool["description"], f"{where}.description")
    if tool.get("parameters") is not None:
        function["parameters"] = as_object(tool["parameters"], f"{where}.parameters")
    if tool.get("strict") is not None:
        function["strict"] = as_flag(tool["strict"], f"{where}.strict")
    return {"type": "function", "function": function}


def _shape(text: Json, made: Json) -> None:
    if text.get("verbosity"):
        made["verbosity"] = as_text(text["verbosity"], "text.verbosity")
    if text.get("format") is None:
        return
    shape = as_object(text["format"], "text.format")
    kind = shape.get("type")
    if kind == "json_schema":
        schema = as_object(shape.get("schema"), "text.format.schema")
        named: Json = {"name": shape.get("name") or "answer", "schema": schema}
        for name in ("description", "strict"):
            if shape.get(name) is not None:
                named[name] = shape[name]
        made["response_format"] = {"type": "json_schema", "json_schema": named}
    elif kind == "json_object":
        made["response_format"] = {"type": "json_object"}
    elif kind != "text":
        raise refuse("text.format.type", "text, json_schema or json_object is wanted")
