"""The messages of a chat request as Anthropic's API has them."""

from __future__ import annotations

from typing import Any

from stead.inference.apis import base, blocks
from stead.inference.apis.base import Json, as_list, as_object, as_text, refuse


def split(given: list[Any]) -> tuple[list[Json], list[Json]]:
    """The system prompt as text blocks, and the turns. Raises ``BadRequest``.

    System and developer messages go to the front, wherever they stood: Anthropic's models have
    one system prompt (the newest take more, but most do not).
    """
    made = _Turns()
    for n, raw in enumerate(given):
        where = f"messages[{n}]"
        message = as_object(raw, where)
        role = message.get("role")
        if role in ("system", "developer"):
            made.system.extend(_marked(message, _texts(message.get("content"), where), where))
        elif role == "user":
            made.user(message, where)
        elif role == "assistant":
            made.assistant(message, where)
        elif role == "tool":
            made.tool(message, where)
        else:
            raise refuse(f"{where}.role", f"{role!r} is not translated")
    made.check(len(given))
    return made.system, made.turns


class _Turns:
    """Turns as they grow: those of one role in a row are one."""

    def __init__(self) -> None:
        self.system: list[Json] = []
        self.turns: list[Json] = []
        self._waiting: dict[str, str] = {}
        """Tool calls without their results, and where they stand."""

    def check(self, count: int) -> None:
        self._none_waiting()
        if not self.turns:
            raise refuse("messages", "there is no message with the role `user`")
        if self.turns[-1]["role"] == "assistant":
            raise refuse(
                f"messages[{count - 1}]",
                "the last message is the assistant's; Claude would go on from the middle of it "
                "instead of answering",
            )
        for turn in self.turns:
            content = turn["content"]
            if len(content) == 1 and list(content[0]) == ["type", "text"]:
                turn["content"] = content[0]["text"]

    def _none_waiting(self) -> None:
        for call, where in self._waiting.items():
            raise refuse(where, f"the tool call {call} has no `tool` message after it")

    def _add(self, role: str, content: list[Json]) -> None:
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"].extend(content)
        else:
            self.turns.append({"role": role, "content": content})

    def user(self, message: Json, where: str) -> None:
        self._none_waiting()
        made: list[Json] = []
        for part, place in blocks.of(message.get("content"), f"{where}.content"):
            made.extend(blocks.to_messages(part, place))
        if not made:
            raise refuse(f"{where}.content", "it is empty, which Claude refuses")
        self._add("user", _marked(message, made, where))

    def tool(self, message: Json, where: str) -> None:
        call = as_text(message.get("tool_call_id"), f"{where}.tool_call_id")
        if call not in self._waiting:
            raise refuse(
                f"{where}.tool_call_id",
                f"no tool call with the id {call} comes before it and waits for a result",
            )
        del self._waiting[call]
        made: list[Json] = []
        for part, place in blocks.of(message.get("content"), f"{where}.content"):
            made.extend(blocks.to_messages(part, place))
        result: Json = {"type": "tool_result", "tool_use_id": base.plain_id(call)}
        if made:
            plain = len(made) == 1 and list(made[0]) == ["type", "text"]
            result["content"] = made[0]["text"] if plain else made
        self._add("user", _marked(message, [result], where))

    def assistant(self, message: Json, where: str) -> None:
        self._none_waiting()
        made = [*_thoughts(message, where)]
        content = message.get("content")
        if content is not None:
            made.extend(_texts(content, where, refusals=True))
        if message.get("refusal"):
            text = as_text(message["refusal"], f"{where}.refusal")
            made.append({"type": "text", "text": text})
        for name in ("audio", "function_call"):
            if message.get(name):
                raise refuse(f"{where}.{name}", "that is not translated")
        calls = as_list(message.get("tool_calls") or [], f"{where}.tool_calls")
        for n, raw in enumerate(calls):
            made.append(self._call(raw, f"{where}.tool_calls[{n}]"))
        if made:  # an empty message says nothing, and Claude refuses it
            self._add("assistant", _marked(message, made, where))

    def _call(self, raw: Any, where: str) -> Json:
        call = as_object(raw, where)
        if call.get("type", "function") != "function":
            raise refuse(f"{where}.type", f"{call['type']!r}: only functions are translated")
        function = as_object(call.get("function"), f"{where}.function")
        call_id = as_text(call.get("id"), f"{where}.id")
        self._waiting[call_id] = where
        given = as_text(function.get("arguments"), f"{where}.function.arguments")
        return {
            "type": "tool_use",
            "id": base.plain_id(call_id),
            "name": as_text(function.get("name"), f"{where}.function.name"),
            "input": base.arguments_of(given),
        }


def _thoughts(message: Json, where: str) -> list[Json]:
    """Thinking that Claude signed earlier, which it wants back unchanged."""
    given = as_list(message.get("thinking_blocks") or [], f"{where}.thinking_blocks")
    made = []
    for n, raw in enumerate(given):
        block = as_object(raw, f"{where}.thinking_blocks[{n}]")
        if block.get("type") not in ("thinking", "redacted_thinking"):
            raise blocks.unknown(block, f"{where}.thinking_blocks[{n}]")
        if block.get("signature") != base.UNSIGNED:
            made.append(block)
    return made


def _texts(content: Any, where: str, *, refusals: bool = False) -> list[Json]:
    made: list[Json] = []
    for part, place in blocks.of(content, f"{where}.content"):
        kind = part.get("type")
        if kind == "text":
            made.extend(blocks.text_block(part, place))
        elif kind == "refusal" and refusals:
            text = as_text(part.get("refusal"), f"{place}.refusal")
            made.append({"type": "text", "text": text})
        else:
            raise blocks.unknown(part, place)
    return made


def _marked(message: Json, made: list[Json], where: str) -> list[Json]:
    """A cache mark on the message as a whole is one on its last block."""
    if made and message.get("cache_control") is not None:
        made[-1]["cache_control"] = as_object(message["cache_control"], f"{where}.cache_control")
    return made
