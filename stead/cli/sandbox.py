"""`stead sandbox`: what tools can see, and a sandbox for a command of your own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from stead.cli.common import Cli, harmless, json_option, print_json
from stead.config import prepare_home


@click.group()
def sandbox() -> None:
    """Explain what a tool can see; run a command in a sandbox like a tool's."""


@sandbox.command()
@click.argument("tool", required=False)
@json_option
@click.pass_obj
def explain(obj: Cli, tool: str | None, as_json: bool) -> int:
    """Say what TOOL can see: folders, hosts, limits. Without TOOL: which walls there are.

    The exit code is 1 where no sandbox holds.
    """
    from stead.app import sandboxes as app  # late: all tools there are

    prepare_home(obj.home)
    walls = app.walls_report(obj.loaded)
    view = app.tool_view(obj.loaded, tool) if tool else {}
    if as_json:
        print_json({**view, "sandbox": walls} if tool else walls)
    else:
        for line in (*(_tool(view) if tool else ()), *_walls(walls, brief=bool(tool))):
            click.echo(harmless(line))
    return 0 if walls["works"] else 1


def _tool(view: dict[str, Any]) -> list[str]:
    lines = [f"{view['tool']} runs {view['where']}"]
    lines.append(f"  may change: {view['effects']}; without a rule of yours: {view['permission']}")
    if "limits" in view:
        lines += [f"  writes {path}" for path in view["writes"]]
        lines += [f"  reads {path}" for path in view["reads"]]
        if not view["hosts"]:
            lines.append("  reaches nothing: it has no network")
        for host in view["hosts"]:
            port = f":{host['port']}" if host["port"] else ""
            used = f", with {', '.join(host['credentials'])}" if host["credentials"] else ""
            lines.append(f"  reaches {host['name']}{port}{used}")
        limits = view["limits"]
        lines.append(
            f"  at most {limits['memory_mb']} MB of memory, {limits['processes']} processes,"
            f" files of {limits['file_mb']} MB, {limits['disk_mb']} MB written in all"
        )
        lines.append(f"  its environment holds only {', '.join(view['environment'])}")
    lines.append(
        f"  stopped after {view['time_limit_s']:g} s; {view['output_limit']} characters of output"
    )
    return lines


def _walls(walls: dict[str, Any], *, brief: bool) -> list[str]:
    if not walls["works"]:
        return [f"No sandbox holds here, so tools that change things are off: {walls['why']}"]
    lines = [f"sandboxes: {walls['kind']}; tried on this machine: {', '.join(walls['walls'])}"]
    lines += [f"  missing here: {what}" for what in walls["weaker"]]
    if not brief:
        if walls["landlock"]:
            lines.append(f"  second wall around files: Landlock {walls['landlock']}")
        lines.append(f"  all of them read {', '.join(walls['everyone_reads'])}")
        lines.append(f"  and of /etc: {', '.join(walls['of_etc'])}")
        lines.append("  none of them sees your home, other processes, or the network")
    return lines


@sandbox.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--write", multiple=True, type=click.Path(path_type=Path), help="A folder it may change."
)
@click.option("--read", multiple=True, type=click.Path(path_type=Path), help="One it may read.")
@click.option("--host", multiple=True, help="A host it may reach: NAME or NAME:PORT.")
@click.option("--memory", type=click.IntRange(16), default=1024, show_default=True, help="MB.")
@click.option("--processes", type=click.IntRange(1), default=128, show_default=True)
@click.option("--seconds", type=click.FloatRange(0), default=0.0, help="0: no limit.")
@click.option("--json", "as_json", is_flag=True, help="How it ended, as JSON on stderr.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(
    obj: Cli,
    write: tuple[Path, ...],
    read: tuple[Path, ...],
    host: tuple[str, ...],
    memory: int,
    processes: int,
    seconds: float,
    as_json: bool,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND in a sandbox like a tool's: -- CMD ARGS. Its exit code is this one's.

    Without options it sees programs and libraries, an empty home, and no network.
    """
    from stead.app import sandboxes as app  # late: all tools there are

    prepare_home(obj.home)
    code, why = app.run_in(
        obj.loaded,
        command,
        write=[path.resolve() for path in write],
        read=[path.resolve() for path in read],
        hosts=host,
        cwd=Path.cwd().resolve(),
        memory_mb=memory,
        processes=processes,
        seconds=seconds,
    )
    if as_json:
        click.echo(json.dumps({"code": code, "why": why}), err=True)
    elif why:
        click.echo(f"stead: it {why}", err=True)
    return code
