"""`stead jobs`: what is to be done, is being done and was done."""

from __future__ import annotations

from typing import Any

import click

from stead.cli.api import Api
from stead.cli.common import (
    Cli,
    json_option,
    look,
    one_line,
    print_json,
    short,
    span,
    table,
)
from stead.cli.http import quote
from stead.cli.why import show_attempts
from stead.core.states import JobState, Lane

_STATES = click.Choice([state.value for state in JobState])
_LANES = click.Choice([lane.value for lane in Lane])


@click.group(invoke_without_command=True)
@click.option("--state", type=_STATES, help="Only in this state.")
@click.option("--lane", type=_LANES, help="Only in this lane.")
@click.option("--session", help="Only of this conversation.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--before", metavar="ID", help="Older than this job.")
@json_option
@click.pass_context
def jobs(ctx: click.Context, /, as_json: bool, **filters: Any) -> int:
    """List jobs, the newest first; cancel, retry or answer one."""
    if ctx.invoked_subcommand:
        return 0
    obj: Cli = ctx.obj
    filters = {key: value for key, value in filters.items() if value}
    data, code = look(
        obj,
        lambda api: api.get("/api/v1/jobs", **filters),
        lambda home: home.jobs(obj.home, **filters),
    )
    if as_json:
        print_json(data)
        return code
    rows = data["jobs"]
    if not rows:
        click.echo("No jobs." if not filters.keys() - {"limit"} else "No such jobs.")
        return code
    head = ("ID", "STATE", "LANE", "WAITED", "WORKED", "NODE", "TEXT")
    click.echo(table(head, [_row(job) for job in rows]))
    for job in rows if filters.get("state") == JobState.DEAD else ():
        click.echo(f"{short(str(job.get('id')))}: {job.get('error')}")
    if data.get("more"):
        click.echo(f"More: stead jobs --before {rows[-1]['id']}")
    return code


@jobs.command()
@click.argument("job_id", metavar="ID")
@json_option
@click.pass_obj
def show(obj: Cli, job_id: str, as_json: bool) -> int:
    """Show the attempts at a job, also those that were discarded."""
    return show_attempts(obj, job_id, as_json)


@jobs.command()
@click.argument("job_id", metavar="ID")
@json_option
@click.pass_obj
def cancel(obj: Cli, job_id: str, as_json: bool) -> None:
    """Stop a job, or take it out of the queue."""
    _act(obj.api(), job_id, "cancel", None, as_json)


@jobs.command()
@click.argument("job_id", metavar="ID")
@json_option
@click.pass_obj
def retry(obj: Cli, job_id: str, as_json: bool) -> None:
    """Queue a dead job again."""
    _act(obj.api(), job_id, "retry", None, as_json)


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.argument("answer")
@json_option
@click.pass_obj
def answer(obj: Cli, job_id: str, answer: str, as_json: bool) -> None:
    """Answer a job that waits for you.

    Where a step may or may not have happened: `repeat` does it again, `done` takes
    it as happened, `fail` ends the job.
    """
    _act(obj.api(), job_id, "answer", {"answer": answer}, as_json)


def _act(api: Api, job_id: str, verb: str, body: object, as_json: bool) -> None:
    reply = api.post(f"/api/v1/jobs/{quote(job_id)}/{verb}", body)
    if as_json:
        print_json(reply)
        return
    name = short(str(reply.get("job_id") or job_id))
    if reply.get("asked"):
        click.echo(f"{name} was asked to stop.")
    else:
        click.echo(f"{name} is {reply.get('state')} now.")


def _row(job: dict[str, Any]) -> list[str]:
    state = str(job.get("state"))
    return [
        short(str(job.get("id"))),
        state,
        str(job.get("lane") or ""),
        span(job["waited_ms"]) if job.get("waited_ms") is not None else "",
        span(job["worked_ms"]) if job.get("started_at") else "",
        str(job.get("node") or ""),
        one_line(str(job.get("error") or job.get("waiting_for") or job.get("text") or "")),
    ]
