"""`stead node`: the hands. Run one here; invite, join, list or revoke one."""

from __future__ import annotations

import platform
import sys
from typing import Any

import click

from stead import __version__
from stead.cli.api import Api
from stead.cli.common import Cli, json_option, print_json, table, when
from stead.cli.http import Target, quote
from stead.cli.run import ready, start_options
from stead.config import edit, prepare_home
from stead.core.errors import BadRequest, HomeUnusable
from stead.core.files import write_atomic
from stead.core.ids import uuid7
from stead.core.keys import PREFIX


@click.group()
def node() -> None:
    """Run a node here; invite, join, list or revoke one."""


@node.command()
@start_options
@click.pass_obj
def run(obj: Cli, listen: str | None, offline: bool) -> int:
    """Run a node alone, in the foreground.

    With --listen it works for the gateway of this machine that listens there.
    """
    loaded = ready(obj, listen, offline)
    from stead.app import run as app  # late: everything there is, and only a start needs it

    return app.node(obj.home, loaded)


@node.command()
@click.argument("name")
@json_option
@click.pass_obj
def invite(obj: Cli, name: str, as_json: bool) -> None:
    """Make a key for a node on another machine; it is shown only now."""
    api = obj.api()
    made = api.post("/api/v1/nodes", {"name": name})
    if as_json:
        print_json({**made, "url": api.url})
        return
    click.echo(f"On the machine of the node {made['name']}, say:")
    click.echo(f"  stead node join {api.url} {made['key']}")
    click.echo("The key is not shown again; `stead node revoke` takes it back.", err=True)
    if Target.of(api.url).host in ("127.0.0.1", "::1", "localhost"):
        click.echo(
            "The gateway listens on this machine only. For a node elsewhere lay a tunnel to it, "
            "or set `listen` and your own gateway.key_file in stead.toml.",
            err=True,
        )


@node.command()
@click.argument("url")
@click.argument("key")
@json_option
@click.pass_obj
def join(obj: Cli, url: str, key: str, as_json: bool) -> None:
    """Make this machine a node of the gateway at URL, with the KEY of the invitation.

    KEY `-` is read from stdin, so that it stays out of the shell's history.
    """
    if key == "-":
        key = sys.stdin.readline().strip()
    if not key.startswith(PREFIX["node"]):
        raise BadRequest(f"That is not a node's key (they begin with {PREFIX['node']})")
    Target.of(url)
    for note in prepare_home(obj.home):
        click.echo(note, err=True)
    loaded = obj.loaded
    hello = {"boot": uuid7(), "version": __version__, "facts": {"host": platform.node()}}
    reply = Api(loaded, url=url, key=key).post("/node/v1/hello", hello)
    name = str(reply.get("name") or "")
    file = obj.home / "secrets" / "node.key"
    try:
        write_atomic(file, f"{key}\n".encode(), mode=0o600)
    except OSError as error:
        raise HomeUnusable(f"The key file {file} cannot be written: {error.strerror}") from error
    edit(obj.home, "node.key_file", "secrets/node.key")
    edit(obj.home, "node.gateway", url.rstrip("/"))
    if as_json:
        print_json({"name": name, "gateway": url.rstrip("/"), "key_file": str(file)})
    else:
        click.echo(f"This machine is the node {name} of {url}. Start it: stead node run")


@node.command("list")
@json_option
@click.pass_obj
def list_(obj: Cli, as_json: bool) -> None:
    """List the nodes that the gateway knows."""
    data = obj.api().get("/api/v1/nodes")
    if as_json:
        print_json(data)
        return
    rows = [_row(item) for item in (data["nodes"] if isinstance(data, dict) else data)]
    click.echo(table(("NAME", "STATE", "RUNNING", "LABELS", "LAST SEEN"), rows) if rows else "None")


@node.command()
@click.argument("name")
@json_option
@click.pass_obj
def revoke(obj: Cli, name: str, as_json: bool) -> None:
    """Take a node's key back. Its jobs go to other nodes when their leases run out."""
    reply = obj.api().delete(f"/api/v1/nodes/{quote(name)}")
    if as_json:
        print_json(reply)
    else:
        click.echo(f"The node {name} may no longer come in.")


def _row(item: dict[str, Any]) -> list[str]:
    running = item.get("running") or 0
    state = "here" if item.get("alive") else "away"
    return [
        str(item.get("name")),
        "revoked" if item.get("revoked") else state,
        str(len(running) if isinstance(running, list) else running),
        ",".join(item.get("labels") or []),
        when(item.get("last_seen")) or "never",
    ]
