"""Ask the owner something in the midst of a job, and go on with his answer."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Word

NAME = "ask_owner"


class AskArgs(Args, frozen=True):
    question: Annotated[str, Meta(description="In full sentences; the owner sees only this")]
    choices: Annotated[list[str], Meta(description="Answers to choose from; empty: any words")] = []


async def ask(args: AskArgs, context: Context) -> str:
    """Never reached: the loop waits for the owner, and his words are the result."""
    raise ToolError("the owner cannot be asked here")


ASK_OWNER = Tool(
    name=NAME,
    about="Ask the owner a question and wait for the answer. Only where you cannot go on without.",
    short="ask the owner",
    args=AskArgs,
    run=ask,
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    permission=Word.ALLOW,
    group="talk",
)
