"""`stead version`."""

from __future__ import annotations

import platform

import click

from stead import __version__
from stead.cli.common import json_option, print_json


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version."""
    if as_json:
        print_json({"stead": __version__, "python": platform.python_version()})
    else:
        click.echo(f"stead {__version__}")
