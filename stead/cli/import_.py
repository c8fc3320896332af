"""`stead import`: bring in what another assistant remembers."""

from __future__ import annotations

from pathlib import Path

import click

from stead.cli.common import Cli, dim, harmless, json_option, print_json


@click.group(name="import")
def import_() -> None:
    """Bring in what another assistant remembers."""


@import_.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
@click.pass_obj
def openclaw(obj: Cli, path: Path, dry_run: bool, as_json: bool) -> None:
    """Bring in an OpenClaw workspace (PATH: ~/.openclaw, or the workspace itself).

    Its notes and conversations go into memory/imported/openclaw/; MEMORY.md, USER.md, SOUL.md and
    AGENTS.md become yours where you have none. Never taken: credentials, dreams, links. Done again,
    it takes only what is new.
    """
    from stead.app import memory_files as app  # late: only this command needs it

    guards = app.guards_of(obj.loaded.settings)
    report, trouble = app.bring_in(obj.home, path.expanduser(), guards, dry=dry_run)
    if as_json:
        rows = [
            {"source": one.source, "what": one.what, "target": one.target, "why": one.why,
             "messages": one.entries}
            for one in report.steps
        ]  # fmt: skip
        print_json({"dry_run": dry_run, "steps": rows, "trouble": trouble})
        return
    for one in report.steps:
        if one.what == "same":
            continue
        goes = f" -> {one.target}" if one.target else ""
        why = dim(f"  ({one.why})") if one.why else ""
        click.echo(harmless(f"{one.what:8} {one.source}{goes}") + why)
    counts = {what: sum(one.what == what for one in report.steps) for what in _WORDS}
    told = ", ".join(f"{count} {_WORDS[what]}" for what, count in counts.items() if count)
    click.echo(f"{'Would be: ' if dry_run else ''}{told or 'nothing there'}.")
    if trouble:
        click.echo(trouble, err=True)


_WORDS = {"new": "new", "changed": "renewed", "same": "as before", "skipped": "left out"}
