"""`stead memory show|edit|history|undo`: the files of memory, and what they were before."""

from __future__ import annotations

import sys

import click

from stead import config
from stead.cli.common import (
    Cli,
    aside,
    dim,
    for_eyes,
    json_option,
    on_terminal,
    one_line,
    print_json,
    size,
    table,
    when,
)
from stead.core.errors import NotFound, SteadError


@click.command()
@click.argument("what", default="")
@click.option("--at", metavar="CHANGE", default="", help="As it was after that change.")
@json_option
@click.pass_obj
def show(obj: Cli, what: str, at: str, as_json: bool) -> None:
    """Show a remembered file, or the lines that a source names; without WHAT, list the files.

    WHAT is a path (memory/MEMORY.md), a name (MEMORY, 2026-11-20), the topic of a card, or a source
    as search shows it (memory/2026-11-20.md#L41-L44@1a2b3c4d).
    """
    from stead.app import memory_files as app  # late: only these commands need it

    if not what:
        _list(obj, as_json)
        return
    shown = app.show(obj.home, what, at)
    if as_json:
        print_json(
            {"path": shown.path, "first": shown.first, "moved": shown.moved, "text": shown.text}
        )
        return
    if shown.moved:
        aside(f"It stands at line {shown.first} now.")
    click.echo(for_eyes(shown.text, sys.stdout), nl=not shown.text.endswith("\n"))


def _list(obj: Cli, as_json: bool) -> None:
    from stead.app import memory_files as app  # late, see above

    found, trouble = app.files(obj.home)
    long = app.write.too_long(obj.home, app.guards_of(obj.loaded.settings))
    if as_json:
        rows = [
            {"path": one.path, "layer": one.layer, "bytes": one.bytes, "changed": one.changed}
            for one in found
        ]
        print_json({"files": rows, "trouble": trouble, "too_long": long})
        return
    if found:
        cells = [[one.layer, size(one.bytes), when(one.changed), one.path] for one in found]
        click.echo(table(["layer", "size", "changed", "path"], cells))
    else:
        click.echo("Nothing is remembered yet.")
    for words in filter(None, (trouble, long)):
        click.echo(f"{words}.", err=True)


@click.command()
@click.argument("what")
@click.option("--editor", default="", help="Default: $VISUAL, $EDITOR, vi.")
@click.option("-y", "--yes", is_flag=True, help="Also where much of the file goes.")
@json_option
@click.pass_obj
def edit(obj: Cli, what: str, editor: str, yes: bool, as_json: bool) -> None:
    """Edit a remembered file in your editor, or replace it by what comes on stdin.

    A topic that has no card gets one. Secrets and card numbers are masked. If stead (or you,
    elsewhere) changed the file meanwhile nothing is overwritten.
    """
    from stead.app import memory_files as app  # late, see above

    held = app.opened(obj.home, what)
    piped = not on_terminal(sys.stdin)
    if piped:
        text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    else:
        text = app.in_editor(held, editor or config.editor())
    if text == held.text:
        click.echo("Nothing was changed.")
        return
    doubts = app.doubts(held, text, app.guards_of(obj.loaded.settings))
    if doubts and not yes:
        click.echo(for_eyes(app.diff(held, text), sys.stderr), err=True)
        if piped:
            raise SteadError(f"{doubts} (--yes does it all the same.)")
        click.confirm(f"{doubts}\nSave it all the same?", abort=True)
    try:
        change, trouble = app.save(obj.home, held, text, f"edited {held.path}")
    except app.write.Stale as stale:
        if piped:
            raise
        mine = app.kept_text(type(held)(held.path, text, ""), held.path)
        raise SteadError(f"{stale.message} Your text is kept in {mine}.") from None
    if as_json:
        print_json({"path": held.path, "change": change, "trouble": trouble})
        return
    click.echo(f"{held.path} is saved." + (f" Change {change[:8]}." if change else ""))
    if trouble:
        click.echo(trouble, err=True)


@click.command()
@click.argument("what", default="")
@click.option("-n", "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@click.option("--diff", "differences", is_flag=True, help="Show what each change did.")
@json_option
@click.pass_obj
def history(obj: Cli, what: str, limit: int, differences: bool, as_json: bool) -> None:
    """List the changes of memory, knowledge and settings: by stead, and by hand.

    WHAT is a file; without it, all.
    """
    from stead.app import memory_files as app  # late, see above

    kept = app.history
    path = what
    if what and what != "stead.toml" and not what.startswith("knowledge/"):
        try:
            path = app.path_named(obj.home, what)
        except NotFound:
            path = what  # one that is gone, perhaps
    kept.settle(obj.home)
    found = kept.commits(obj.home, path, limit)
    texts = [kept.diff(obj.home, one.id, path) if differences else "" for one in found]
    if as_json:
        rows = [
            {"id": one.id, "at": one.at, "message": one.message, "paths": one.paths, "diff": text}
            for one, text in zip(found, texts, strict=True)
        ]
        print_json({"changes": rows})
        return
    if not found:
        click.echo("No change is known" + (f" of {what}." if what else " yet."))
        return
    for one, text in zip(found, texts, strict=True):
        paths = one_line(", ".join(one.paths), 80)
        click.echo(f"{one.id[:8]}  {when(one.at)}  {one_line(one.message, 60)}  {dim(paths)}")
        if text:
            click.echo(for_eyes(text, sys.stdout))


@click.command()
@click.argument("change", default="")
@json_option
@click.pass_obj
def undo(obj: Cli, change: str, as_json: bool) -> None:
    """Take back a change of memory: the latest, or the one named (`stead memory history`).

    What came later in other lines stays. An undo is a change too, and can be taken back by its
    name. Daily logs and the journal of facts are only ever added to, and stay.
    """
    from stead.app import memory_files as app  # late, see above

    done = app.history.undo(obj.home, change)
    if as_json:
        print_json({"change": done.id, "undone": done.message, "paths": done.paths})
        return
    click.echo(f"Taken back: {done.message} ({', '.join(done.paths)}).")
    click.echo(dim(f"Back again: stead memory undo {done.id[:8]}"))
