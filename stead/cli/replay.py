"""`stead calls replay`: ask again, of another model, and lay both answers side by side."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from typing import Any

import click

from stead.cli.api import Api
from stead.cli.common import (
    FAILED,
    Cli,
    aside,
    for_eyes,
    json_option,
    print_json,
    short,
    style,
    took,
    usd,
)
from stead.cli.http import quote
from stead.core.errors import SteadError

#: Longest silence of a model that is asked again, in seconds.
_SILENCE_S = 900.0
#: Its row is written a moment after the answer.
_ROW_S = 3.0


@click.command()
@click.argument("ident", metavar="ID")
@click.option("--model", required=True, help="The model or lane to ask instead.")
@json_option
@click.pass_obj
def replay(obj: Cli, ident: str, model: str, as_json: bool) -> int:
    """Ask the same again of another model, through the door, and compare the answers.

    This is a call like any other: it is counted, and costs what it costs. It needs the body of
    the first one, which is kept where [audit] in stead.toml says so.
    """
    api = obj.api()
    first = api.get(f"/api/v1/calls/{quote(ident)}")
    kept = first.pop("bodies", None)
    if kept is None:
        click.echo(_not_kept(first), err=True)
        return FAILED
    from stead.app import replays  # late: only this command asks again

    request = replays.prepare(kept, model)
    for warning in request.warnings:
        click.echo(warning, err=True)
    aside(f"Asking {model} ...")
    second = _ask(api, request)
    result = {
        "first": {"call": first, "words": kept["answer"]["words"]},
        "second": {"call": second["call"], "words": second["words"]},
    }
    if as_json:
        print_json(result)
    else:
        click.echo(_beside(result, model))
    return 0 if second["status"] < 400 else FAILED


def _not_kept(call: dict[str, Any]) -> str:
    return (
        f"What was said in call {short(call['id'])} was not kept, so it cannot be asked again.\n"
        'Which bodies are kept is set under [audit] in stead.toml: keep = "errors" or "all",\n'
        "or a [[audit.rule]] for a key or a lane. It holds for calls from then on, except for\n"
        "those of which a rule of the house says that nothing may be kept."
    )  # fmt: skip


def _ask(api: Api, request: Any) -> dict[str, Any]:
    """The answer in words, and the row of the new call, as far as it is known."""
    began = time.monotonic()
    answer = api.ask(request.path, request.body, request.type, timeout=_SILENCE_S)
    from stead.app import replays  # late, see above

    took_ms = (time.monotonic() - began) * 1000
    words = replays.words(answer.body, answer.headers.get("content-type", ""))
    row = _row(api, answer.headers.get("x-stead-call", ""))
    known = {"status": answer.status, "total_ms": round(took_ms, 1), "model": request.model}
    return {"words": words, "status": answer.status, "call": row or known}


def _row(api: Api, ident: str) -> dict[str, Any] | None:
    until = time.monotonic() + _ROW_S
    while ident and time.monotonic() < until:
        try:
            found: dict[str, Any] = api.get(f"/api/v1/calls/{quote(ident)}")
        except SteadError as error:
            if error.status != 404:
                return None
        else:
            if found["state"] != "reserved":
                found.pop("bodies", None)
                return found
        time.sleep(0.1)
    return None


# --- side by side ------------------------------------------------------------------------------


def _beside(result: dict[str, Any], model: str) -> str:
    """Both answers in two columns; one below the other where the window is narrow."""
    width = shutil.get_terminal_size((100, 24)).columns
    heads, bodies = [], []
    for name in ("first", "second"):
        call = result[name]["call"]
        heads.append(_facts(call, model if name == "second" else ""))
        text = for_eyes(str(result[name]["words"]) or "[nothing]", sys.stdout)
        bodies.append(text)
    if width < 80:
        parts = []
        for head, body in zip(heads, bodies, strict=True):
            parts += [style(head[0], bold=True), *head[1:], "", body, ""]
        return "\n".join(parts).rstrip()
    column = (width - 3) // 2
    left, right = (
        [*head, "", *_wrapped(body, column)] for head, body in zip(heads, bodies, strict=True)
    )
    lines = []
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else ""
        other = right[number] if number < len(right) else ""
        text = f"{one[:column]:<{column}} | {other[:column]}".rstrip()
        lines.append(style(text, bold=True) if number == 0 else text)
    return "\n".join(lines)


def _facts(call: dict[str, Any], asked: str) -> list[str]:
    model = call.get("model") or asked or "-"
    place = f" at {call['backend']}" if call.get("backend") else ""
    told = [f"{model}{place}"]
    if "prompt_tokens" in call:
        guess = " (estimated)" if call.get("estimated") else ""
        told.append(f"{call['prompt_tokens']} + {call['completion_tokens']} tokens{guess}")
        first = f", {took(call['first_ms'])} to the first byte" if call.get("first_ms") else ""
        told.append(f"{took(call['total_ms'])}{first}")
        told.append(f"{usd(call['cost_micro'])}, {call.get('outcome') or call.get('status')}")
        told.append(f"call {short(str(call['id']))}")
    else:
        told += [f"status {call.get('status')}", took(call.get("total_ms")), "", ""]
    return told


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines() or [""]:
        lines += textwrap.wrap(line, width, drop_whitespace=False) or [""]
    return lines
