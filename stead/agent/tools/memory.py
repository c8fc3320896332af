"""Looking into memory, and writing something down.

The looks ask the gateway, which holds the memory, for the very attempt they are made in. What is
to be remembered travels with the outcome of its step: the gateway writes it into the daily log in
the write that journals the step, so once, however often workers die.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.core.recall import MemoryAsk
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches, Word

GROUP = "memory"
REMEMBER = "remember"
OFF = "this conversation is off the record: nothing of it is remembered"


class SearchArgs(Args, frozen=True):
    query: Annotated[str, Meta(description="What to look for", min_length=1, max_length=2000)]
    layer: Literal["", "standing", "card", "fact", "contact", "daily"] = ""
    person: Annotated[str, Meta(max_length=200)] = ""
    since: Annotated[str, Meta(description="YYYY-MM-DD", pattern=r"^(\d{4}-\d\d-\d\d)?$")] = ""
    until: Annotated[str, Meta(description="YYYY-MM-DD", pattern=r"^(\d{4}-\d\d-\d\d)?$")] = ""
    limit: Annotated[int, Meta(ge=1, le=20)] = 8


class ReadArgs(Args, frozen=True):
    citation: Annotated[
        str, Meta(description="As memory_search gave it: PATH#L1-L9@HASH", max_length=300)
    ]


class RememberArgs(Args, frozen=True):
    text: Annotated[
        str, Meta(description="One thing, in a full sentence", min_length=1, max_length=4000)
    ]


async def search(args: SearchArgs, context: Context) -> str:
    """What is remembered of it, with the source of each."""
    return await _look(
        context,
        MemoryAsk(
            "", 0, query=args.query, layer=args.layer, person=args.person, since=args.since,
            until=args.until, limit=args.limit,
        ),
    )  # fmt: skip


async def read(args: ReadArgs, context: Context) -> str:
    """The lines of a source, and those around them."""
    return await _look(context, MemoryAsk("", 0, citation=args.citation))


async def _look(context: Context, ask: MemoryAsk) -> str:
    if context.memory is None:
        raise ToolError("there is no memory here")
    reply = await context.memory(ask)
    context.read.update(["foreign"] * reply.foreign + ["private"] * reply.private)
    return reply.text


async def remember(args: RememberArgs, context: Context) -> str:
    """What is told to the model; the words themselves travel with the outcome."""
    return "written into today's log"


def looks(args: SearchArgs | ReadArgs, context: Context) -> Touches:
    """What is remembered is the owner's own; whether it holds foreign text, the answer says."""
    return Touches(private=True)


def writes(args: RememberArgs, context: Context) -> Touches:
    return Touches(owner_only=True)


MEMORY_SEARCH = Tool(
    name="memory_search",
    about="Search all that is remembered: conversations, notes, facts, people. Give words, not a"
    " sentence; narrow by layer, person or dates.",
    short="search what is remembered",
    args=SearchArgs,
    run=search,
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    touches=looks,
    group=GROUP,
    fresh=True,
)
MEMORY_READ = Tool(
    name="memory_read",
    about="Read a source that memory_search or a recalled note cites, with the lines around it.",
    short="read a remembered source",
    args=ReadArgs,
    run=read,
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    touches=looks,
    group=GROUP,
    fresh=True,
)
REMEMBER_TOOL = Tool(
    name=REMEMBER,
    about="Write one thing into today's log that the owner wants remembered. What he says in the"
    " conversation is remembered anyway.",
    short="remember something",
    args=RememberArgs,
    run=remember,
    effects=Effects.OUTSIDE,
    on_unknown=OnUnknown.REPEAT,  # it is written with its outcome, so without one it was not
    permission=Word.ALLOW,
    touches=writes,
    group=GROUP,
)
