"""`stead model`: local models - list, fetch, remove, run."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from stead.app import models
from stead.app.models import Progress
from stead.cli.common import (
    Cli,
    aside,
    dim,
    json_option,
    on_terminal,
    print_json,
    size,
    span,
    table,
)
from stead.config import prepare_home

_DRAW_S = 0.1
_BAR = 24
_STEP = 10


@click.group()
def model() -> None:
    """List, fetch and remove local models."""


@model.command("list")
@json_option
@click.pass_obj
def list_(obj: Cli, as_json: bool) -> None:
    """Show the models stead knows, and which are on this machine."""
    rows = models.list_models(obj.home)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    click.echo(
        table(
            ["NAME", "SIZE", "HERE", "MEMORY", "LICENCE", "WHAT"],
            [
                [
                    row.name,
                    size(row.bytes),
                    _here(row),
                    f"{row.memory_gb:g} GB" if row.memory_gb else "any",
                    row.licence,
                    row.title + ("  <- auto: for this machine" if row.auto else ""),
                ]
                for row in rows
            ],
        )
    )
    aside(
        "Fetch one with `stead model pull NAME`, "
        "choose it with `stead config set model.local NAME`."
    )


def _here(row: models.ModelRow) -> str:
    if row.state:
        return row.state
    if row.here == "partly":
        return f"{row.fetched * 100 // row.bytes}%"
    return row.here


@model.command()
@click.argument("name", default="auto")
@click.option(
    "--from",
    "given",
    type=click.Path(exists=True, path_type=Path),
    help="Take this file (or the one in this folder) and ask nobody else.",
)
@click.option("--offline", is_flag=True, help="Never touch the network.")
@json_option
@click.pass_obj
def pull(obj: Cli, name: str, given: Path | None, offline: bool, as_json: bool) -> None:
    """Fetch a model (default: the one for this machine), or check the one that is here.

    Interrupted, it keeps what it has; the next try goes on from there.
    """
    prepare_home(obj.home)
    offline = offline or obj.loaded.settings.offline or given is not None
    show = _Bar() if on_terminal(sys.stderr) else _Lines()
    try:
        done = models.pull_model(obj.home, name, show, offline=offline, given=given)
    except KeyboardInterrupt:
        show.end()
        click.echo(
            "Stopped. What is whole of it is kept; the next try goes on from there.", err=True
        )
        raise
    finally:
        show.end()
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(f"{done.name} is here, whole and checked ({size(done.bytes)}): {done.path}")


@model.command()
@click.argument("name")
@json_option
@click.pass_obj
def remove(obj: Cli, name: str, as_json: bool) -> None:
    """Remove a model from this machine's disk."""
    freed = models.remove_model(obj.home, name)
    if as_json:
        print_json({"name": name, "freed": freed})
    elif freed:
        click.echo(f"{name} is removed; {size(freed)} are free again.")
    else:
        click.echo(f"{name} was not here.")


@model.command()
@click.option("--model", "name", default="", help="Instead of model.local in stead.toml.")
@click.option("--offline", is_flag=True, help="Never touch the network.")
@click.pass_obj
def serve(obj: Cli, name: str, offline: bool) -> int:
    """Run the local model in the foreground (`stead up` does this by itself)."""
    prepare_home(obj.home)
    return models.serve_model(obj.home, obj.loaded.settings, model=name, offline=offline)


# --- progress ----------------------------------------------------------------


def _words(progress: Progress) -> str:
    figures = f"{progress.done // 1_000_000} of {progress.total // 1_000_000} MB"
    return f"{progress.phase} {figures}"


class _Lines:
    """Plain lines: one at each tenth fetched, and one whenever something else is done."""

    def __init__(self) -> None:
        self._last: tuple[str, str, int] | None = None

    def __call__(self, progress: Progress) -> None:
        fetching = progress.phase == "fetching"
        percent = progress.done * 100 // progress.total // _STEP * _STEP
        now = (progress.phase, progress.note, percent if fetching else 0)
        if now == self._last:
            return
        self._last = now
        words = f"{_words(progress)}, {percent}%" if fetching else progress.phase
        click.echo(f"{words} ({progress.note})" if progress.note else words, err=True)

    def end(self) -> None:
        """Nothing to tidy up."""


class _Bar:
    """One line of a terminal, drawn over and over."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._phase = ""
        self._start = (0.0, 0)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.phase != self._phase:
            self._phase, self._start = progress.phase, (now, progress.done)
        elif now - self._drawn < _DRAW_S and progress.done < progress.total:
            return
        self._drawn = now
        share = progress.done / progress.total
        bar = "#" * int(share * _BAR)
        text = f"[{bar:-<{_BAR}}] {share:4.0%}  {_words(progress)}{self._pace(progress, now)}"
        note = dim(f"  {progress.note}") if progress.note else ""
        click.echo(f"\r\x1b[K{text}{note}", nl=False, err=True)

    def _pace(self, progress: Progress, now: float) -> str:
        began, first = self._start
        passed = now - began
        if progress.phase != "fetching" or passed < 1 or progress.done <= first:
            return ""
        pace = (progress.done - first) / passed
        left = (progress.total - progress.done) / pace
        return f", {size(int(pace))}/s, {span(left * 1000)} left"

    def end(self) -> None:
        """Leave the line."""
        if self._phase:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._phase = ""
