"""`stead where`: where a thing lies, what it is for, and what may be done with it."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from stead.cli.common import Cli, json_option, print_json, size, style
from stead.core.errors import NotFound
from stead.core.home import PLACES, Place

#: Other words for the places of the home directory.
ALIASES: dict[str, str] = {
    "settings": "stead.toml",
    "configuration": "stead.toml",
    "config": "stead.toml",
    "routes": "stead.toml",
    "rules": "stead.toml",
    "backends": "stead.toml",
    "budget": "stead.toml",
    "limits": "stead.toml",
    "database": "state.db",
    "db": "state.db",
    "messages": "state.db",
    "conversations": "state.db",
    "jobs": "state.db",
    "queue": "state.db",
    "steps": "state.db",
    "journal": "state.db",
    "replies": "state.db",
    "outbox": "state.db",
    "costs": "state.db",
    "ledger": "state.db",
    "calls": "state.db",
    "nodes": "state.db",
    "bodies": "audit/",
    "prompts": "audit/",
    "daily log": "memory/",
    "diary": "memory/",
    "memory.md": "memory/",
    "files": "workspace/",
    "keys": "secrets/",
    "key": "secrets/",
    "passwords": "secrets/",
    "owner.key": "secrets/",
    "node.key": "secrets/",
    "runtime.key": "secrets/",
    "log": "logs/",
    "weights": "models/",
    "model": "models/",
    "gguf": "models/",
    "copies": "backups/",
    "backup": "backups/",
    "pids": "run/",
    "model.json": "run/",
    "model state": "run/",
    "reports": "spool/",
}


@click.command()
@click.argument("thing", nargs=-1)
@json_option
@click.pass_obj
def where(obj: Cli, thing: tuple[str, ...], as_json: bool) -> None:
    """Tell where THING lies and what it is for; without THING, list everything.

    THING is a file or folder of the home directory, or a word such as `messages`,
    `settings`, `keys`, `costs`, `logs`.
    """
    word = " ".join(thing)
    everything = [Place(".", "the home directory", "everything that matters is in it", "")]
    places = [_find(obj.home, word)] if word else [*everything, *PLACES]
    if as_json:
        print_json([_as_data(obj.home, place) for place in places])
        return
    for place in places:
        click.echo("\n".join(_lines(obj.home, place, full=bool(word))))


def _find(home: Path, word: str) -> Place:
    by_name = {place.path.rstrip("/"): place for place in PLACES}
    lower = word.lower().strip().rstrip("/")
    for name, place in by_name.items():
        if lower == name:
            return place
    alias = ALIASES.get(lower) or ALIASES.get(lower + "s")
    if alias:
        return by_name[alias.rstrip("/")]
    path = Path(word).expanduser()
    inside = path if path.is_absolute() else home / path
    try:
        parts = inside.resolve().relative_to(home.resolve()).parts
    except ValueError:
        parts = ()
    if parts and parts[0].rsplit(".db", 1)[0] == "state":  # its -wal and -shm belong to it
        return by_name["state.db"]
    if parts and parts[0] in by_name:
        place = by_name[parts[0]]
        return Place(
            "/".join(parts), f"part of {place.path}: {place.what}", place.truth, place.care
        )
    near = difflib.get_close_matches(lower, [*by_name, *ALIASES], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise NotFound(f"There is nothing named {word!r} here{hint} `stead where` lists everything.")


def _as_data(home: Path, place: Place) -> dict[str, object]:
    path = home / place.path
    return {
        "path": str(path),
        "what": place.what,
        "truth": place.truth,
        "care": place.care,
        "exists": path.exists(),
        "bytes": _bytes(path),
    }


def _lines(home: Path, place: Place, *, full: bool) -> list[str]:
    path = home / place.path
    text = str(path) + ("/" if place.path.endswith("/") else "")
    there = f"({size(_bytes(path))})" if path.exists() else "(not there yet)"
    lines = [f"{style(text, bold=True)} {there}", f"  {place.what}"]
    if full:
        lines += [f"  {line}" for line in (place.truth, place.care) if line]
    return lines


def _bytes(path: Path) -> int:
    try:
        if path.is_file():
            return path.stat().st_size
        return sum(f.lstat().st_size for f in path.rglob("*") if f.is_file())
    except OSError:  # something vanished while we counted
        return 0
