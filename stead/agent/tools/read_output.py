"""To read on in what a call printed."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stead.agent.spool import page
from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.command import Command
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches


class OutputArgs(Args, frozen=True):
    id: Annotated[str, Meta(description="As the call gave it, such as p3", pattern="^p[0-9]+$")]
    from_byte: Annotated[int, Meta(description="Where to go on", ge=0)] = 0
    wait: Annotated[
        int, Meta(description="Seconds to wait for more, if it still runs", ge=0, le=60)
    ] = 0


async def read(args: OutputArgs, context: Context) -> str:
    """A part of the output, with a note on where it goes on, or on how its process is."""
    running = context.background.of(context.job).get(args.id)
    if args.wait and isinstance(running, Command):
        await running.more(args.from_byte, args.wait)
    how = f"; {running.about()}" if running is not None else ""
    try:
        if context.keep is None:
            raise FileNotFoundError
        text, upto, size = page(
            context.keep, context.job, args.id, args.from_byte, context.limit - 240, context.hide
        )
    except FileNotFoundError:
        raise ToolError(
            f"there is no output {args.id} of this job on this worker. What a call showed is"
            " above; if a worker died since, its processes ended with it: start them again"
        ) from None
    if upto >= size:
        return f"{text}\n[that is all of {size} bytes{how}]"
    return f"{text}\n[go on with from_byte={upto}; {size} bytes in all{how}]"


READ_OUTPUT = Tool(
    name="read_output",
    about="Read on in a long output, or in that of a background process.",
    short="read on in a long output",
    args=OutputArgs,
    run=read,
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    touches=lambda args, context: Touches(private=True),
    time_limit_s=70.0,
    output_limit=8000,
    fresh=True,
)
