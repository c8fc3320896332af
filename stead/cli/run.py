"""`stead up` and `stead gateway`: start and stay in the foreground."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from stead.cli.common import Cli
from stead.config import Loaded, load, prepare_home

_F = TypeVar("_F", bound=Callable[..., Any])


def start_options(command: _F) -> _F:
    """``--listen`` and ``--offline``, for this start only."""
    command = click.option("--offline", is_flag=True, help="Never touch the network.")(command)
    return click.option("--listen", metavar="HOST:PORT", help="The gateway's address.")(command)


def ready(obj: Cli, listen: str | None = None, offline: bool = False) -> Loaded:
    """The home made fit for use, and the configuration with the options of this start."""
    for note in prepare_home(obj.home):
        click.echo(note, err=True)
    options: dict[str, object] = {}
    if listen:
        options["listen"] = listen
    if offline:
        options["offline"] = True
    return load(obj.home, options=options)


@click.command()
@start_options
@click.pass_obj
def up(obj: Cli, listen: str | None, offline: bool) -> int:
    """Start gateway, node and local model in the foreground; Ctrl-C stops them all."""
    loaded = ready(obj, listen, offline)
    from stead.app import run  # late: everything there is, and only a start needs it

    return run.up(obj.home, loaded)


@click.command()
@start_options
@click.pass_obj
def gateway(obj: Cli, listen: str | None, offline: bool) -> int:
    """Run the gateway alone, in the foreground."""
    loaded = ready(obj, listen, offline)
    from stead.app import run  # late: everything there is, and only a start needs it

    return run.gateway(obj.home, loaded)
