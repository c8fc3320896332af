"""`stead chaos`: break a stead of its own on purpose, and judge what became of it."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from stead.cli.common import FAILED, Cli, json_option, on_terminal, print_json
from stead.cli.run import ready
from stead.core.errors import BadRequest
from stead.core.files import write_atomic

if TYPE_CHECKING:
    from stead.chaos.plan import Plan
    from stead.chaos.run import Outcome


@click.group(invoke_without_command=True)
@click.option("--messages", type=click.IntRange(1), default=200, show_default=True,
              help="How many are sent.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True,
              help="What is said, and which faults come when, follow from it.")  # fmt: skip
@click.option("--nodes", type=click.IntRange(1, 9), default=2, show_default=True,
              help="How many nodes.")  # fmt: skip
@click.option("--kills", type=click.IntRange(0), help="Default: one for 20 messages.")
@click.option("--partitions", type=click.IntRange(0), help="Default: one for 100 messages.")
@click.option("--others", type=click.IntRange(0),
              help="Faults of all other kinds together. Default: one for 50 messages.")  # fmt: skip
@click.option("--faults", metavar="LIST", default="all", show_default=True,
              help="Kinds allowed (-KIND: not this one); `list` lists them.")  # fmt: skip
@click.option("--only", metavar="LIST", help="Of the plan, these faults alone, by number.")
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False, path_type=Path),
              help="Carry out a plan that was kept, instead of making one.")  # fmt: skip
@click.option("--show-plan", is_flag=True, help="Print the plan as JSON and do nothing.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="A new folder for homes and logs of the run, which then stays.")  # fmt: skip
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write a report there (Markdown).")  # fmt: skip
@click.option("--shrink", "shrink_s", type=click.FloatRange(0), default=600.0, show_default=True,
              help="Seconds to look for a smaller plan that fails too; 0: do not.")  # fmt: skip
@json_option
@click.pass_context
def chaos(ctx: click.Context, /, **given: Any) -> int:
    """Break a stead of its own on purpose, and judge what became of it.

    A gateway, nodes and a scripted model are started in a home of their own (yours is never
    touched) and killed, cut off, starved and lied to while messages come in. Then it is counted,
    from the outside, whether any was lost, answered twice or paid twice.

    Exit codes: 0 nothing was, 1 something was, 2 misuse.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    if given["faults"] == "list":
        return _list()
    try:
        plan = _plan(given)
    except BadRequest as error:
        raise click.UsageError(error.message) from error
    if given["show_plan"]:
        click.echo(plan.as_json(), nl=False)
        return 0
    return _run(plan, given)


def _list() -> int:
    from stead.chaos.kinds import KINDS  # late: other commands need nothing of the harness

    for kind in KINDS.values():
        click.echo(f"{kind.name:14} {kind.about}  ({', '.join(kind.targets)})")
    return 0


def _plan(given: dict[str, Any]) -> Plan:
    """The plan that was asked for. Raises ``BadRequest``."""
    from stead.chaos import plan as plans  # late: other commands need nothing of the harness

    if given["plan_file"] is not None:
        plan = plans.read(given["plan_file"])
    else:
        wishes = plans.Wishes(
            messages=given["messages"],
            nodes=given["nodes"],
            kills=-1 if given["kills"] is None else given["kills"],
            partitions=-1 if given["partitions"] is None else given["partitions"],
            others=-1 if given["others"] is None else given["others"],
            kinds=plans.kinds_named(given["faults"]),
        )
        plan = plans.make(given["seed"], wishes)
    if given["only"]:
        try:
            numbers = [int(word) for word in given["only"].split(",")]
        except ValueError:
            raise BadRequest(why="--only takes numbers with commas between them") from None
        plan = plan.only(numbers)
    return plan


def _run(plan: Plan, given: dict[str, Any]) -> int:
    from stead.chaos import report  # late: other commands need nothing of the harness
    from stead.chaos.run import carry_out

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # connections break here on purpose
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: no process is left behind
        signal.signal(number, _interrupted)
    outcome = carry_out(plan, keep=given["keep"], say=_say)
    _clear()
    if given["report"] is not None:
        written = report.markdown(outcome, _command())
        write_atomic(given["report"].absolute(), written.encode(), mode=0o644)
    if given["as_json"]:
        print_json(report.data(outcome))
    else:
        click.echo(report.text(outcome))
    if outcome.verdict.sound:
        return 0
    if given["shrink_s"] and plan.faults:
        _shrink(outcome, given["shrink_s"])
    return FAILED


def _shrink(outcome: Outcome, most_s: float) -> None:
    from stead.chaos.shrink import shrink  # late: only a run that failed needs it

    click.echo("Looking for a smaller plan that fails too (Ctrl-C ends it) ...", err=True)
    smaller = shrink(outcome.plan, outcome.verdict, most_s, _say)
    _clear()
    file = Path(f"chaos-{smaller.seed}.plan.json")
    write_atomic(file.absolute(), smaller.as_json().encode(), mode=0o644)
    click.echo(f"{len(smaller.faults)} of {len(outcome.plan.faults)} faults are enough:", err=True)
    for fault in smaller.faults[:20]:
        click.echo(f"  {fault.words()}", err=True)
    click.echo(f"See it again with: stead chaos --plan {file} --shrink 0", err=True)


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _command() -> str:
    """As it was typed, without the paths of this machine."""
    words = sys.argv[1:]
    kept = words[words.index("chaos") :] if "chaos" in words else ["chaos"]
    told = [Path(word).name if word.startswith("/") else word for word in kept]
    return shlex.join(["stead", *told])


def _say(words: str) -> None:
    """How it goes: one line at a terminal, written over; a file gets the end alone."""
    if on_terminal(sys.stderr):
        sys.stderr.write(f"\r\x1b[K{words[:150]}")
        sys.stderr.flush()


def _clear() -> None:
    if on_terminal(sys.stderr):
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


@chaos.command(hidden=True)
@click.argument("port", type=int)
@click.pass_obj
def model(obj: Cli, port: int) -> int:
    """The model of a run."""
    from stead.chaos import model as server  # late: only the model's own process needs it

    server.serve(obj.home, port)
    return 0


@chaos.command(hidden=True)
@click.pass_obj
def hands(obj: Cli) -> int:
    """A node of a run: an ordinary node with tools whose effects can be counted."""
    loaded = ready(obj)
    from stead.app.node import run  # late: only the node's own process needs it
    from stead.chaos.effects import toolbox

    return run(obj.home, loaded, toolbox)
