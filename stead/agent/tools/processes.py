"""What a job has left running in the background."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.command import Command
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches

_SETTLE_S = 1.0
"""How long the answer to a text is waited for."""


class ProcessArgs(Args, frozen=True):
    do: Annotated[Literal["list", "write", "stop"], Meta(description="What to do")]
    id: Annotated[str, Meta(description="Which, to write or to stop; such as p3")] = ""
    text: Annotated[str, Meta(description="To write to its input; end a line with \\n")] = ""


async def processes(args: ProcessArgs, context: Context) -> str:
    """A line for each process, or what became of one."""
    there = context.background.of(context.job)
    if args.do == "list":
        return "\n".join(one.about() for one in there.values()) or "no background processes"
    process = there.get(args.id)
    if process is None:
        known = f"there are: {', '.join(there)}" if there else "there are none"
        raise ToolError(
            f"no background process {args.id[:40]!r} of this job runs on this worker; {known}."
            " If a worker died since it was started, it ended then: start it again"
        )
    if args.do == "stop":
        await process.stop()
    elif isinstance(process, Command):
        if process.ended is not None:
            raise ToolError(process.about())
        await process.write(args.text, end=False)
        await process.wait(_SETTLE_S)
    return f"{process.about()}\n[read on with read_output, id={args.id}]"


PROCESSES = Tool(
    name="processes",
    about="List, write to or stop the background processes of this job.",
    short="background processes",
    args=ProcessArgs,
    run=processes,
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # with their worker the processes have ended: it does nothing
    touches=lambda args, context: Touches(private=True, code=args.do == "write"),
    group="processes",
    fresh=True,
)
