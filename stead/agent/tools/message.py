"""Say something to the owner, or by another channel, beside the answer of the job.

The message goes to the gateway with the outcome of this step and into the outbox in the very
write that journals it: once, however often workers die, and known by job and step.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches, Word

NAME = "message"
OWNER = "owner"


class MessageArgs(Args, frozen=True):
    text: Annotated[str, Meta(description="What to say", min_length=1, max_length=20_000)]
    to: Annotated[str, Meta(description="owner (this conversation), or the name of a channel")] = (
        OWNER
    )


async def send(args: MessageArgs, context: Context) -> str:
    """What is told to the model; the message itself travels with the outcome."""
    whom = "the owner" if args.to == OWNER else f"the channel {args.to}"
    return f"the message to {whom} is on its way"


def touches(args: MessageArgs, context: Context) -> Touches:
    """To the owner himself nothing leaves the house."""
    return Touches(owner_only=True) if args.to == OWNER else Touches(sends=True)


def preview(args: MessageArgs, context: Context) -> str:
    """To whom, and every word of it."""
    whom = "you" if args.to == OWNER else f"whoever reads the channel {args.to!r}"
    return f"Send this message to {whom}:\n{args.text}"


MESSAGE = Tool(
    name=NAME,
    about="Send a message now, beside your answer: to the owner, or by a channel.",
    short="send a message",
    args=MessageArgs,
    run=send,
    effects=Effects.OUTSIDE,
    on_unknown=OnUnknown.REPEAT,  # it is sent with its outcome, so without one it was not
    permission=Word.ALLOW,
    touches=touches,
    preview=preview,
    group="talk",
)
