"""`stead help`: topics that come with the program, and the help of its commands."""

from __future__ import annotations

import difflib
from importlib.resources import files

import click

from stead.cli.common import style
from stead.core.errors import NotFound

#: Name and one line; the text is topics/NAME.md. Shown in this order.
TOPICS: dict[str, str] = {
    "start": "from nothing to the first answer",
    "chat": "talking in the terminal: keys, commands, pipes",
    "page": "the page in the browser",
    "home": "the home directory, and how stead is configured",
    "models": "local models, cloud models, lanes and what they cost",
    "approvals": "what the agent may do, and what it asks",
    "memory": "what stead remembers, and how to make it forget",
    "jobs": "jobs, retries, dead letters, and how to find out why",
    "nodes": "more machines",
    "api": "the APIs that programs use, and their keys",
    "scripts": "exit codes, JSON, environment variables, colours",
    "trouble": "what to look at when something does not work",
}


@click.command("help")
@click.argument("topic", nargs=-1, shell_complete=lambda ctx, param, begun: _words(ctx, begun))
@click.pass_context
def help_(ctx: click.Context, topic: tuple[str, ...]) -> None:
    """Explain TOPIC: one of those listed without it, or a command."""
    if not topic:
        click.echo(style("Topics (stead help TOPIC):", bold=True))
        for name, line in TOPICS.items():
            click.echo(f"  {name:<12}{line}")
        click.echo("The commands: stead --help. One of them: stead help COMMAND.")
        return
    if len(topic) == 1 and topic[0].lower() in TOPICS:
        _page(topic[0].lower())
        return
    root = ctx.find_root()
    group, at = root.command, root
    for word in topic:
        found = group.get_command(at, word) if isinstance(group, click.Group) else None
        if found is None:
            raise NotFound(what=f"topic or command {' '.join(topic)!r}{_near(root, topic[0])}")
        at, group = click.Context(found, info_name=word, parent=at), found
    click.echo(group.get_help(at))


def _words(ctx: click.Context, begun: str) -> list[str]:
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    return [one for one in [*TOPICS, *root.command.list_commands(root)] if one.startswith(begun)]


def _page(name: str) -> None:
    text = (files("stead.cli.topics") / f"{name}.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        click.echo(style(line.lstrip("# "), bold=True) if line.startswith("#") else line)


def _near(root: click.Context, word: str) -> str:
    """``; did you mean ...?``, where something is called nearly like that."""
    assert isinstance(root.command, click.Group)
    names = [*TOPICS, *root.command.list_commands(root)]
    near = difflib.get_close_matches(word.lower(), names, 2)
    return f"; did you mean {' or '.join(near)}?" if near else "; `stead help` lists them"
