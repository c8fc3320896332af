"""`stead undo`: take back what tools changed in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stead.cli.common import (
    Cli,
    dim,
    harmless,
    json_option,
    one_line,
    print_json,
    short,
    table,
    when,
)
from stead.cli.when import as_moment

if TYPE_CHECKING:
    from stead.app.undo import Told


@click.command()
@click.argument("words", nargs=-1, metavar="[ID | list | show ID]")
@click.option("--job", metavar="ID", default="", help="All that this job changed.")
@click.option("--since", callback=as_moment, metavar="TIME", help="All since then: 2h, 14:00, ...")
@click.option("--redo", is_flag=True, help="Take back an undo: the last one, or that of ID.")
@click.option("--force", is_flag=True, help="Also where files have changed since (that is kept).")
@click.option("--dry-run", is_flag=True, help="Only show what would be undone.")
@click.option("-n", "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@json_option
@click.pass_obj
def undo(
    obj: Cli,
    words: tuple[str, ...],
    job: str,
    since: int | None,
    redo: bool,
    force: bool,
    dry_run: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Take back the last change that a tool made in files, or the one named.

    `list` shows the changes, `show ID` one of them with what it did. What has changed since is
    shown and left alone. An undo can be undone: --redo. Works with everything else stopped.
    """
    from stead.app import undo as app  # late: only this command needs what changes files

    if words[:1] == ("list",) and len(words) == 1:
        _list(obj, job, since, limit, as_json)
        return
    if words[:1] == ("show",):
        if len(words) != 2:
            raise click.UsageError("Say which change: stead undo show ID.")
        _show(obj, words[1], as_json)
        return
    if len(words) > 1 or (words and (job or since is not None)):
        raise click.UsageError("Name one change, or --job, or --since.")
    chosen = app.choose(
        obj.home, ident=words[0] if words else "", job=job, since_ms=since, redo=redo
    )
    if dry_run:
        for change in chosen:
            click.echo(_line(change))
        return
    done = app.undo(obj.home, chosen, force=force, redo=redo)
    if as_json:
        print_json(
            [
                {"id": one.id, "undone_by": one.new_id, "paths": one.paths, "notes": one.notes}
                for one in done
            ]
        )
        return
    for change, one in zip(chosen, done, strict=True):
        click.echo(f"{'Redone' if redo else 'Undone'}: {_line(change)}")
        for note in one.notes:
            click.echo(f"  {harmless(note)}")
    if not redo:
        click.echo(dim("Back again: stead undo --redo"))


def _line(change: Told) -> str:
    from stead.app import undo as app  # late, see above

    entry = change.entry
    paths = app.paths(change)
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    of = f", job {short(entry.job)}" if entry.job else ""
    what = one_line(", ".join(paths[:3]), 120)
    return f"{short(entry.id)} {entry.tool} {what}{more} ({when(entry.at_ms)}{of})"


def _list(obj: Cli, job: str, since: int | None, limit: int, as_json: bool) -> None:
    from stead.app import undo as app  # late, see above

    found, stuck = app.changes(obj.home)
    found = [
        change
        for change in found
        if change.entry.job.endswith(job) and (since is None or change.entry.at_ms >= since)
    ][:limit]
    if as_json:
        print_json({"changes": [app.as_dict(change) for change in found], "unsettled": stuck})
        return
    if stuck:
        click.echo(f"{stuck} changes were cut off, and their workspace is not there to look at.")
    if not found:
        click.echo("No tool has changed a file" + (" there." if job or since else " yet."))
        return
    rows = [
        [
            short(change.entry.id),
            when(change.entry.at_ms),
            change.entry.tool,
            short(change.entry.job),
            "undone" if change.undone else "",
            one_line(", ".join(app.paths(change)), 80),
        ]
        for change in found
    ]
    click.echo(table(("ID", "WHEN", "TOOL", "JOB", "STATE", "WHAT"), rows))


def _show(obj: Cli, ident: str, as_json: bool) -> None:
    from stead.app import undo as app  # late, see above

    change = app.one(obj.home, ident)
    diff = app.diff(obj.home, change)
    if as_json:
        print_json({**app.as_dict(change), "diff": diff})
        return
    click.echo(_line(change))
    if change.undone:
        click.echo("It has been undone; `stead undo --redo` with its id brings it back.")
    click.echo(harmless(diff))
