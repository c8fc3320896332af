"""Tools that are shown only once the model asked for their group.

All definitions at once would fill the prompt of every "ping"; so those of a group come when they
are wanted. Until then a request begins as it always does, which keeps the prompt cache warm.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.core.states import Effects, OnUnknown

NAME = "more_tools"


def groups_of(tools: Iterable[Tool[Any]]) -> dict[str, list[Tool[Any]]]:
    """The tools of each group, in their order; those always shown are in none."""
    found: dict[str, list[Tool[Any]]] = {}
    for tool in tools:
        if tool.group:
            found.setdefault(tool.group, []).append(tool)
    return found


def with_more(tools: Iterable[Tool[Any]]) -> tuple[Tool[Any], ...]:
    """The tools, and ``more_tools`` for the groups among them, if there are any."""
    kept = tuple(tool for tool in tools if tool.name != NAME)
    groups = groups_of(kept)
    return (*kept, _more_tools(groups)) if groups else kept


def asked_group(args: Args) -> str:
    """The group that a call of ``more_tools`` asks for."""
    return str(getattr(args, "group", ""))


def signature(tool: Tool[Any]) -> str:
    """A tool and the names of its arguments, for a model that reads no schema:
    ``sql(query, database?)``; a question mark: may be left out."""
    schema = tool.schema(described=False)
    needed = schema.get("required", ())
    names = (name if name in needed else f"{name}?" for name in schema.get("properties", {}))
    return f"{tool.name}({', '.join(names)})"


def _more_tools(groups: dict[str, list[Tool[Any]]]) -> Tool[Any]:
    held = "; ".join(f"{group}: {', '.join(t.name for t in ts)}" for group, ts in groups.items())

    async def show(args: Args, context: Context) -> str:
        tools = groups.get(asked_group(args))
        if tools is None:  # only where arguments did not come through the schema
            raise ToolError(f"there is no such group; there are: {', '.join(groups)}")
        lines = [f"{signature(tool)}: {tool.about}" for tool in tools]
        return "\n".join(["You have these tools now:", *lines])

    choice: Any = Annotated[Literal[tuple(groups)], Meta(description="The group")]
    return Tool(
        name=NAME,
        about=f"Get more tools, by group: {held}.",
        short=f"get more tools, by group: {held}",
        args=msgspec.defstruct(
            "MoreArgs", [("group", choice)], bases=(Args,), frozen=True, forbid_unknown_fields=True
        ),
        run=show,
        effects=Effects.NONE,
        on_unknown=OnUnknown.REPEAT,
    )
