"""`stead memory search`: find what is remembered."""

from __future__ import annotations

import sys
from typing import Any

import click

from stead.cli.common import (
    AWAY,
    Cli,
    aside,
    dim,
    for_eyes,
    json_option,
    one_line,
    print_json,
    sound,
)
from stead.cli.common import when as moment_words
from stead.cli.when import as_moment
from stead.core.errors import GatewayAway

_LAYERS = ("standing", "card", "fact", "contact", "daily")


@click.command()
@click.argument("words", nargs=-1)
@click.option(
    "--limit", type=click.IntRange(1, 200), default=10, show_default=True, help="At most."
)
@click.option("--layer", type=click.Choice(_LAYERS), multiple=True, help="Only of this layer.")
@click.option("--person", default="", help="Said by this person, or about it.")
@click.option("--since", callback=as_moment, metavar="WHEN", help="From then on (3d, 2026-03-01).")
@click.option("--until", callback=as_moment, metavar="WHEN", help="Up to then.")
@click.option("--as-of", callback=as_moment, metavar="WHEN", help="What held then.")
@click.option("--session", default="", help="Only of this conversation.")
@click.option("--exact", is_flag=True, help="These words, in this order.")
@click.option("--why", is_flag=True, help="Show what made each fit.")
@json_option
@click.pass_obj
def search(
    obj: Cli, words: tuple[str, ...], limit: int, layer: tuple[str, ...], person: str,
    since: int | None, until: int | None, as_of: int | None, session: str, exact: bool, why: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Find what is remembered, the best first, each with the file and line it stands on.

    Without words: the newest.
    """
    asked: dict[str, Any] = {
        "q": sound(" ".join(words)), "limit": limit, "person": sound(person), "since": since,
        "until": until, "as_of": as_of, "session": sound(session),
    }  # fmt: skip
    code = 0
    try:
        path = "/api/v1/memory/search" + ("?" if layer else "") + "&".join(
            f"layer={one}" for one in layer
        )  # fmt: skip
        found = _get(obj, path, {**asked, "exact": 1 if exact else None})
    except GatewayAway as error:
        click.echo(f"{error.message}. From the index in the home directory:", err=True)
        found, code = _at_home(obj, asked, layer, exact), AWAY
    if as_json:
        print_json(found)
        return code
    show(found, why)
    return code


def _get(obj: Cli, path: str, asked: dict[str, Any]) -> Any:
    from urllib.parse import urlencode  # late: a few milliseconds that few commands need

    given = {name: value for name, value in asked.items() if value not in (None, "")}
    tail = urlencode(given)
    return obj.api().get(path + ("&" if "?" in path else "?") + tail if tail else path)


def _at_home(obj: Cli, asked: dict[str, Any], layers: tuple[str, ...], exact: bool) -> Any:
    from stead.app import memory  # late: only a gateway that is down needs it

    more = {name: value for name, value in asked.items() if name != "q"}
    return memory.search(obj.home, text=asked["q"], layers=layers, exact=exact, **more)


def show(found: dict[str, Any], why: bool) -> None:
    """For people."""
    if found["meant"]:
        aside(f"understood as: {found['meant']}")
    for hit in found["hits"]:
        first, last = hit["lines"]
        place = f"{hit['path']}:{first}" + (f"-{last}" if last != first else "")
        about = [moment_words(hit["at"])[:16], hit["speaker"], hit["title"]]
        if hit["until"]:
            about.append(f"until {moment_words(hit['until'])[:10]}")
        if hit["foreign"]:
            about.append("written by others")
        click.echo(f"{place}  {dim(', '.join(filter(None, about)))}")
        click.echo(f"  {for_eyes(one_line(hit['text'], 300), sys.stdout)}")
        if why:
            parts = [f"{name} {value:g}" for name, value in hit["signals"].items() if value]
            told = f"{hit['score']:g}: {', '.join(parts)}"
            click.echo(f"  {dim(told)}")
    if not found["hits"]:
        click.echo("Nothing that fits is remembered." if not found["stale"] else "Nothing found.")
    if found["stale"]:
        click.echo(f"This may not be all: {found['stale']}.", err=True)
