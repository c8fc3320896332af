"""`stead prices`: what the models of the configuration cost, and where that is known from."""

from __future__ import annotations

from typing import Any

import click

from stead.cli.common import Cli, harmless, json_option, print_json, table


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def prices(ctx: click.Context, /, as_json: bool) -> None:
    """Show what your models cost; renew the list of prices."""
    if ctx.invoked_subcommand:
        return
    from stead.app import prices as app  # late: the list, and only this command needs it

    obj: Cli = ctx.obj
    settings = obj.loaded.settings
    data = app.listed(obj.home, settings.budget, settings.backend)
    if as_json:
        print_json(data)
        return
    click.echo(f"Prices by {data['list']}, as of {data['day']}; dollars a million tokens.")
    rows = [_row(one) for one in data["models"]]
    head = ("MODEL", "BACKEND", "IN", "CACHED", "OUT", "KNOWN FROM")
    click.echo(table(head, rows) if rows else "No backend is configured; local models are free.")


@prices.command()
@json_option
@click.pass_obj
def update(obj: Cli, as_json: bool) -> None:
    """Make the list anew from the package genai-prices, as it is installed here.

    Get the newest first: pip install -U 'stead[prices]'. Then `stead config apply`.
    """
    from stead.app import prices as app  # late: as above

    made = app.renew(obj.home, obj.loaded.settings.budget)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made['path']} has the prices of {made['models']} models ({made['list']}).")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    name, backend = harmless(one["model"]), harmless(one["backend"])
    if one["unpriced"]:
        return (name, backend, "?", "?", "?", "not known, so it is not asked (budget.unpriced)")
    if not one["paid"]:
        return (name, backend, "free", "", "", harmless(one["source"]))
    usd = one["usd_per_mtok"]
    cached = usd["cached"] if usd["cached"] is not None else usd["in"]
    cells = (usd["in"], cached, usd["out"])
    return (name, backend, *("" if c is None else f"{c:g}" for c in cells), harmless(one["source"]))
