"""`stead services`: the light services, how they are; start, stop and try one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from stead.cli.api import Refused
from stead.cli.common import Cli, json_option, one_line, print_json, span, table

_PATH = "/api/v1/services"


@click.group(invoke_without_command=True)
@click.pass_context
def services(ctx: click.Context) -> None:
    """The light services: embeddings, transcription, speech, OCR, voice activity.

    They start by themselves when they are used.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@services.command("list")
@json_option
@click.pass_obj
def list_(obj: Cli, as_json: bool) -> None:
    """Say of each how it is, and how to install what is missing."""
    states = obj.api().get(_PATH)
    if as_json:
        print_json(states)
        return
    rows = [
        (
            state["name"],
            state["phase"],
            f"{state['memory_mb']} MB" if state["memory_mb"] else "-",
            ", ".join(f"/v1/{api}" for api in state["apis"]),
            state["install"] or one_line(state["words"], 100),
        )
        for state in states
    ]
    click.echo(table(("service", "is", "memory", "serves", ""), rows))


@services.command()
@click.argument("name")
@json_option
@click.pass_obj
def start(obj: Cli, name: str, as_json: bool) -> None:
    """Start one now, so that its first request does not wait."""
    _show(obj.api().post(f"{_PATH}/{quote(name, safe='')}/start"), as_json)


@services.command()
@click.argument("name")
@json_option
@click.pass_obj
def stop(obj: Cli, name: str, as_json: bool) -> None:
    """End one now; it starts again when it is used."""
    _show(obj.api().post(f"{_PATH}/{quote(name, safe='')}/stop"), as_json)


@services.command()
@click.argument("name", required=False)
@json_option
@click.pass_obj
def test(obj: Cli, name: str | None, as_json: bool) -> int:
    """Ask one, or all that are installed, for something whose answer is known."""
    api = obj.api()
    names = [name] if name else [
        state["name"] for state in api.get(_PATH) if state["phase"] not in ("missing", "off")
    ]  # fmt: skip
    results, failed = [], 0
    for one in names:
        try:
            results.append({"ok": True, **api.post(f"{_PATH}/{quote(one, safe='')}/test")})
        except Refused as error:  # the others are tried all the same
            failed += 1
            results.append({"ok": False, "name": one, "words": error.message})
    if as_json:
        print_json(results)
        return 1 if failed else 0
    for result in results:
        took = ""
        if result["ok"]:
            took = f" (start {span(result['start_ms'])}, answer {span(result['answer_ms'])})"
        click.echo(f"{result['name']}: {result['words']}{took}")
    return 1 if failed else 0


def _show(state: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    click.echo(f"{state['name']} is {state['phase']}: {state['words']}")
