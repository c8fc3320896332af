"""`stead prune`: apply the rules of retention now, or take old words out of the record."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import Any

import click

from stead.cli.api import Api
from stead.cli.common import Cli, json_option, print_json, span
from stead.core.errors import SteadError

_LOOK_S = 0.2


class PruneFailed(SteadError):
    """Pruning was cut off; what it had done stays done. `stead logs` says why."""

    code = "prune_failed"


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--messages", is_flag=True, help="Also the words of messages and the daily logs.")
@click.option(
    "--before", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
    help="With --messages: from before this day (YYYY-MM-DD).",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="With --messages: do not ask.")
@json_option
@click.pass_obj
def prune(
    obj: Cli, dry_run: bool, messages: bool, before: datetime | None, yes: bool, as_json: bool
) -> None:
    """Prune what is older than the rules under [retention] keep it.

    Messages and their replies stay, unless --messages --before DATE is given: then the words of
    messages from before that day, the jobs made of them and the daily logs go for good.
    """
    if messages is not (before is not None):
        raise click.UsageError("--messages and --before DATE belong together.")
    api = obj.api()
    limit = int(before.timestamp() * 1000) if before is not None else 0
    if dry_run or (messages and not yes):
        plan = api.get("/api/v1/prune/plan", messages_before=limit)
        if dry_run:
            _show(plan, as_json)
            return
        _ask(plan, before)
    last = (api.get("/api/v1/prune"))["last"]
    api.post("/api/v1/prune", {"messages_before": limit})
    done = _wait(api, last)
    if as_json:
        print_json(done)
        return
    click.echo(
        f"Pruned {done['jobs']} jobs, {done['calls']} model calls and {done['notices']} notices"
        f" in {span(done['took_ms'])}."
    )
    if messages:
        click.echo(f"The words of {done['messages']} messages and {done['days']} daily logs went.")
    click.echo(
        f"{_mb(done['given_back'])} were given back; the database has {_mb(done['size'])} now."
    )


def _wait(api: Api, before: Any) -> dict[str, Any]:
    while True:
        state = api.get("/api/v1/prune")
        if not state["running"]:
            done: dict[str, Any] | None = state["last"]
            if done is None or done == before:
                raise PruneFailed
            return done
        time.sleep(_LOOK_S)


def _show(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    for rule in plan["jobs"]:
        click.echo(f"{rule['jobs']} jobs {rule['rule']}")
    click.echo(f"{plan['calls']} model calls (their sums stay)")
    if "messages" in plan:
        click.echo(f"the words of {plan['messages']} messages, and {plan['days']} daily logs")
    size = plan["size"]
    click.echo(
        f"The database has {_mb(size['used'])} in use, {_mb(size['free'])} free and"
        f" {_mb(size['log'])} of log." + (" That is too large." if plan["too_large"] else "")
    )


def _ask(plan: dict[str, Any], before: datetime | None) -> None:
    day = f"{before:%Y-%m-%d}"
    click.echo(
        f"The words of {plan['messages']} messages from before {day} and {plan['days']} daily logs"
        " will be gone for good."
    )
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody is there to ask; say --yes if you mean it.")
    click.confirm("Prune them?", abort=True)


def _mb(size: float) -> str:
    return f"{size / 1_000_000:.1f} MB"
