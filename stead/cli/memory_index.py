"""`stead memory stats` and `stead memory reindex`: the index over what is remembered."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from stead.cli.common import AWAY, Cli, json_option, on_terminal, print_json, size, span
from stead.cli.common import when as moment_words
from stead.core.errors import GatewayAway, SteadError

_LOOK_S = 0.3


class ReindexFailed(SteadError):
    """The index could not be made anew: {why}. The old one goes on being searched."""


@click.command()
@json_option
@click.pass_obj
def stats(obj: Cli, as_json: bool) -> int:
    """Say how much is remembered, and how the index over it is."""
    code = 0
    try:
        told = obj.api().get("/api/v1/memory/stats")
    except GatewayAway as error:
        from stead.app import memory  # late: only a gateway that is down needs it

        click.echo(f"{error.message}. From the index in the home directory:", err=True)
        told, code = memory.stats(obj.home), AWAY
    if as_json:
        print_json(told)
        return code
    for line in words(told):
        click.echo(line)
    return code


def words(told: dict[str, Any]) -> list[str]:
    """How the index is, in lines for people."""
    layers = ", ".join(f"{count:,} {layer}" for layer, count in told["by_layer"].items())
    lines = [
        f"{told['entries']:,} entries ({layers or 'none'}) from {told['files']:,} files",
        f"the index has {size(told['bytes'])}, made {moment_words(told['built']) or 'never'}",
    ]
    if told["model"]:
        share = f"{told['meanings']:,} of {told['to_embed']:,}"
        lines.append(f"meanings by {told['model']}: {share}")
    else:
        lines.append("meanings are not compared; `pip install 'stead[embed]'` adds what does")
    if told["stale"]:
        lines.append(f"not up to date: {told['stale']}")
    return lines


@click.command()
@json_option
@click.pass_obj
def reindex(obj: Cli, as_json: bool) -> int:
    """Make the index anew from the files. Searches go on meanwhile in the old one."""
    try:
        report, code = _by_gateway(obj), 0
    except GatewayAway as error:
        from stead.app import memory  # late: only a gateway that is down needs it

        click.echo(f"{error.message}. It is made here:", err=True)
        report, code = memory.reindex(obj.home, _progress), 0
    _progress_end()
    if not report["rebuilt"]:
        raise ReindexFailed(why=report["stale"])
    if as_json:
        print_json(report)
        return code
    took = span(report["took_ms"])
    click.echo(f"{report['total']:,} entries from {report['files']:,} files in {took}.")
    if report["stale"]:
        click.echo(f"This may not be all: {report['stale']}.", err=True)
    return code


def _by_gateway(obj: Cli) -> dict[str, Any]:
    api = obj.api()
    api.post("/api/v1/memory/reindex")
    while True:
        state = api.get("/api/v1/memory/reindex")
        if not state["running"]:
            report: dict[str, Any] | None = state["report"]
            if report is None:
                raise ReindexFailed(why=state["why"] or "the gateway was started anew meanwhile")
            return report
        _progress(state["done"], state["total"])
        time.sleep(_LOOK_S)


def _progress(done: int, total: int) -> None:
    if on_terminal(sys.stderr) and done:
        of = f" of about {total:,}" if total > done else ""
        click.echo(f"\r{done:,} entries{of}   ", nl=False, err=True)


def _progress_end() -> None:
    if on_terminal(sys.stderr):
        click.echo("\r" + 40 * " " + "\r", nl=False, err=True)
