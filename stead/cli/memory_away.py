"""`stead memory away`: a copy of memory to take along, and what was said there brought home."""

from __future__ import annotations

from pathlib import Path

import click

from stead.cli.common import Cli, harmless, json_option, print_json


@click.group()
def away() -> None:
    """Take a copy of memory along, and bring home what was said there.

    Daily logs of home are read-only in the copy; what is said there goes into
    memory/YYYY-MM-DD.DEVICE.md. Cards may be edited on both sides.
    """


@away.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--device", default="", metavar="NAME", help="What the other device is called.")
@json_option
@click.pass_obj
def export(obj: Cli, folder: Path, device: str, as_json: bool) -> None:
    """Bring the copy in FOLDER up to date; only what differs is copied."""
    from stead.app import away as app  # late: only these commands need it

    done = app.export(obj.home, folder, device)
    if as_json:
        print_json(done)
        return
    click.echo(
        f"Copied {len(done['copied'])} files, removed {len(done['removed'])};"
        f" {done['same']} were the same."
    )
    for path in done["kept"]:
        click.echo(f"- {harmless(path)} was changed there: bring it home first (away merge)")


@away.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--dry-run", is_flag=True, help="Only show what would come home.")
@json_option
@click.pass_obj
def merge(obj: Cli, folder: Path, dry_run: bool, as_json: bool) -> None:
    """Bring home what was said and changed in the copy in FOLDER. Again is the same as once."""
    from stead.app import away as app  # late: only these commands need it

    done = app.merge(obj.home, folder, dry=dry_run)
    if as_json:
        print_json(done)
        return
    entries = sum(done["lines"].values())
    click.echo(
        f"{'Would bring' if dry_run else 'Brought'} home from {done['device']}: {entries} entries"
        f" of daily logs, {done['operations']} operations of the graph, {len(done['changed'])}"
        " other files."
    )
    if done["forgotten"]:
        click.echo(f"{done['forgotten']} entries were left out: they are forgotten here.")
    for path in done["conflicts"]:
        click.echo(f"- changed on both sides: {harmless(path)} shows both")
    for words in done["notes"]:
        click.echo(f"- {harmless(words)}")
