"""`stead node`: the hands. Run one here; invite, join, list, drain, retire or revoke one."""

from __future__ import annotations

import platform
import sys
import time
from typing import Any

import click

from stead import __version__
from stead.cli.api import Api
from stead.cli.common import FAILED, Cli, json_option, print_json, span, table, when
from stead.cli.http import Target, quote
from stead.cli.run import ready, start_options
from stead.config import edit, prepare_home
from stead.core.errors import BadRequest, HomeUnusable
from stead.core.files import write_atomic
from stead.core.ids import uuid7
from stead.core.keys import PREFIX


@click.group()
def node() -> None:
    """Run a node here; invite, join, list, drain, retire or revoke one."""


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
    reply = Api(loaded.address, url=url, key=key).post("/node/v1/hello", hello)
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
@click.option("--undo", is_flag=True, help="Give it new jobs again.")
@json_option
@click.pass_obj
def drain(obj: Cli, name: str, undo: bool, as_json: bool) -> None:
    """Give a node no new jobs; it finishes what it has."""
    reply = obj.api().post(f"/api/v1/nodes/{quote(name)}/drain", {"undo": undo})
    if as_json:
        print_json(reply)
        return
    if undo:
        click.echo(f"The node {name} gets new jobs again.")
        return
    has = f"; it still has {_jobs(reply['running'])}" if reply.get("running") else ""
    click.echo(f"The node {name} gets no new jobs{has}.")
    _stays(name, reply)


@node.command()
@click.argument("name")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(min=0), default=3600.0, show_default=True,
    metavar="SECONDS", help="How long its jobs may take to end.",
)  # fmt: skip
@json_option
@click.pass_obj
def retire(obj: Cli, name: str, wait_s: float, as_json: bool) -> int:
    """Drain a node, wait until its jobs have ended, and take its key back.

    Its other jobs go to other nodes; what no other could do is named, and is kept
    until one can. Interrupted, it stays drained: say it again, or `drain --undo`.
    """
    api = obj.api()
    path = f"/api/v1/nodes/{quote(name)}"
    now = api.post(f"{path}/drain", {"undo": False})
    if not as_json:
        _stays(name, now)
    until, told = time.monotonic() + wait_s, 0
    while now.get("running"):
        if not as_json and now["running"] != told:
            told = now["running"]
            click.echo(f"Waiting for {_jobs(told)} that {name} has ...", err=True)
        if time.monotonic() >= until:
            click.echo(
                f"The node {name} still has {_jobs(now['running'])}. It stays drained: say"
                f" `stead node retire {name}` again later, or `stead node revoke {name}` now.",
                err=True,
            )
            return FAILED
        time.sleep(min(0.5, max(0.0, until - time.monotonic())))
        now = api.get(path)
    api.delete(path)
    if as_json:
        print_json({"name": name, "retired": True, "stays": now.get("stays") or []})
    else:
        click.echo(f"The node {name} is retired: it has no jobs, and may no longer come in.")
    return 0


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _stays(name: str, reply: dict[str, Any]) -> None:
    """Say which jobs only this node could do."""
    for one in reply.get("stays") or []:
        asks = [f"needs {one['needs']}"] if one.get("needs") else []
        asks += [f"must not go to {one['avoid']}"] if one.get("avoid") else []
        click.echo(
            f"{_jobs(one['jobs'])} cannot move ({', '.join(asks) or 'there is no other node'}):"
            f" only {name} could do that. Nothing is lost; it waits for a node that can."
        )


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
    if item.get("draining"):
        state += ", drained"
    elif item.get("silent_ms") is not None:
        state += f", silent for {span(item['silent_ms'])}"
    return [
        str(item.get("name")) + (" (main)" if item.get("main") else ""),
        "revoked" if item.get("revoked") else state,
        str(len(running) if isinstance(running, list) else running),
        ",".join(item.get("labels") or []),
        when(item.get("last_seen")) or "never",
    ]
