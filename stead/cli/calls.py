"""`stead calls`: what was asked of models, by whom, what it cost and why it went there."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from stead.cli.common import (
    Cli,
    for_eyes,
    json_option,
    look,
    one_line,
    print_json,
    short,
    style,
    table,
    took,
    usd,
    when,
)
from stead.cli.http import quote
from stead.cli.replay import replay
from stead.cli.when import as_moment

_SUMS = ("model", "backend", "lane", "key", "share", "day", "month", "session")
_FOLLOW_S = 1.0
#: Answers may end so long before they are seen here, while following.
_OVERLAP_MS = 5000
_SHOWN = 2000
"""Characters of a body that are shown to a person, if not all are asked for."""


def _filters(command: Any) -> Any:
    """The options that choose calls."""
    for option in reversed(
        (
            click.option("--key", help="Only of this caller: owner, job or the name of a key."),
            click.option("--lane", help="Only in this lane."),
            click.option("--model", help="Only of this model."),
            click.option("--backend", help="Only at this backend."),
            click.option("--api", help="Only of this API, such as chat/completions."),
            click.option("--since", callback=as_moment, help="Not before: 2h, 14:00, 2026-11-21."),
            click.option("--until", callback=as_moment, help="Before, said in the same way."),
            click.option("--status", help="Only with this HTTP status: 429, or 5xx."),
            click.option("--outcome", help="ok, left, error (any), or the code of an error."),
            click.option("--slow", type=float, metavar="SECONDS", help="That took so long."),
            click.option("--cost-over", type=float, metavar="USD", help="That cost more."),
            click.option("--job", metavar="ID", help="Only of this job or message."),
        )
    ):
        command = option(command)
    return command


def _query(given: dict[str, Any]) -> dict[str, Any]:
    """The options as the API names them."""
    found = {name: value for name, value in given.items() if value not in (None, "")}
    if (slow := found.pop("slow", None)) is not None:
        found["slow_ms"] = int(slow * 1000)
    if (cost := found.pop("cost_over", None)) is not None:
        found["cost_over"] = int(cost * 1_000_000)
    return found


@click.group(invoke_without_command=True)
@_filters
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=30, show_default=True)
@click.option("--before", metavar="ID", help="Older than this call.")
@click.option("-f", "--follow", is_flag=True, help="Go on with those that end from now on.")
@json_option
@click.pass_context
def calls(ctx: click.Context, /, follow: bool, as_json: bool, **given: Any) -> int:
    """List requests to models, the newest first; show one, ask one again, or sum them up."""
    if ctx.invoked_subcommand:
        return 0
    obj: Cli = ctx.obj
    filters = _query(given)
    if follow:
        _follow(obj, filters, as_json)
        return 0
    data, code = look(
        obj,
        lambda api: api.get("/api/v1/calls", **filters),
        lambda home: home.calls(obj.home, **filters),
    )
    if as_json:
        print_json(data)
        return code
    rows = data["calls"]
    if not rows:
        click.echo("No such calls." if filters.keys() - {"limit"} else "No calls yet.")
        return code
    click.echo(table(_HEAD, [_row(call) for call in rows]))
    if data.get("more"):
        click.echo(f"More: add --before {rows[-1]['id']}")
    return code


_HEAD = ("ID", "WHEN", "KEY", "LANE", "MODEL", "BACKEND", "TOKENS", "COST", "TOOK", "HOW IT ENDED")


def _row(call: dict[str, Any]) -> list[str]:
    tokens = f"{call['prompt_tokens']}+{call['completion_tokens']}"
    return [
        short(str(call["id"])),
        when(call["at"]),
        one_line(str(call["caller"]), 20),
        one_line(str(call["lane"] or "-"), 16),
        one_line(str(call["model"] or call["asked"] or "-"), 28),
        one_line(str(call["backend"] or "-"), 20),
        tokens + ("~" if call["estimated"] else ""),
        usd(call["cost_micro"]),
        took(call["total_ms"]),
        _end(call),
    ]


def _end(call: dict[str, Any]) -> str:
    """``ok``, or what else became of it; with what had failed before."""
    if call["state"] == "reserved":
        return style("under way", fg="cyan")
    outcome = str(call["outcome"])
    words = {"left": "the client left", "cut_off": "cut off by a stop of the gateway"}
    text = words.get(outcome, outcome)
    if outcome not in ("ok", "left"):
        text = style(f"{text} ({call['status']})" if call["status"] else text, fg="red")
    if call["tried"]:
        text += f", after {len(call['tried'])} that failed"
    return f"{text}, shadow of {short(call['shadow_of'])}" if call["shadow_of"] else text


def _follow(obj: Cli, filters: dict[str, Any], as_json: bool) -> None:
    """Print calls as they end, until it is interrupted; the newest few first."""
    api = obj.api()
    shown = api.get("/api/v1/calls", **{**filters, "limit": min(10, filters["limit"])})["calls"]
    if not as_json:
        click.echo(table(_HEAD, []))
    widths = [8, 19, 10, 8, 20, 12, 10, 9, 9]
    seen: dict[str, float] = {}
    since = int(time.time() * 1000)
    while True:
        for call in reversed(shown):
            if call["id"] in seen or call["state"] == "reserved":
                continue
            seen[call["id"]] = time.monotonic()
            if as_json:  # a line each, for programs that read as it comes
                click.echo(msgspec.json.encode(call).decode())
            else:
                cells = _row(call)
                told = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
                click.echo("  ".join([*told, cells[-1]]))
        horizon = time.monotonic() - 60.0
        seen = {ident: at for ident, at in seen.items() if at > horizon}
        time.sleep(_FOLLOW_S)
        asked = int(time.time() * 1000)
        shown = api.get(
            "/api/v1/calls",
            **{**filters, "limit": 500, "ended_after": since - _OVERLAP_MS},
        )["calls"]
        since = asked


# --- one call ----------------------------------------------------------------------------------


@calls.command()
@click.argument("ident", metavar="ID")
@click.option("--full", is_flag=True, help="Bodies that are kept in full.")
@json_option
@click.pass_obj
def show(obj: Cli, ident: str, full: bool, as_json: bool) -> int:
    """Show all that is known of a call. ID is its id, or a piece of at least 6 characters."""
    call, code = look(
        obj,
        lambda api: api.get(f"/api/v1/calls/{quote(ident)}"),
        lambda home: home.call(obj.home, ident),
    )
    if as_json:
        print_json(call)
    else:
        click.echo("\n".join(_story(call, full)))
    return code


def _story(call: dict[str, Any], full: bool) -> Iterator[str]:
    """A call line by line: who, where, why, what it used and cost, how long it took, bodies."""
    yield f"{style('Call', bold=True)} {call['id']}: {_end(call)}"
    for label, text in _facts(call):
        if text:
            yield f"  {label:<10}{text}"
    for number, one in enumerate(call["tried"], 1):
        yield f"  {f'tried {number}':<10}{one_line(str(one), 300)}"
    for shadow in call.get("shadows") or []:
        cost, time_ = usd(shadow["cost_micro"]), took(shadow["total_ms"])
        name = f"{short(shadow['id'])} at {shadow['model']}"
        yield f"  shadow    {name}: {_end(shadow)}, {cost}, {time_}"
    bodies = call.get("bodies")
    if bodies is None:
        yield "  bodies    not kept ([audit] in stead.toml says which are)"
        return
    for name, label in (("request", "Asked"), ("answer", "Answered")):
        part = bodies[name]
        notes = [f"{part['size']} bytes", str(part["type"])]
        notes += ["cut"] * bool(part["cut"]) + ["blacked out in places"] * bool(part["redacted"])
        yield style(label, bold=True) + f" ({', '.join(note for note in notes if note)})"
        text = str(part.get("words") or part.get("text") or f"[{part['size']} bytes, no text]")
        if not full and len(text) > _SHOWN:
            text = f"{text[:_SHOWN]}\n[... {len(text) - _SHOWN} characters more: --full]"
        yield from (f"  {_plain(line)}" for line in text.splitlines())


def _plain(text: str) -> str:
    return for_eyes(text, sys.stdout)


def _facts(call: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "came", when(call["at"])
    key = f" (key {call['key_id'][-8:]})" if call["key_id"] else ""
    yield "from", f"{_plain(str(call['caller']))}{key}, paid from {call['share']}"
    if call["job_id"]:
        yield "job", f"{call['job_id']} (stead why {short(call['job_id'])})"
    streamed = ", streamed" if call["stream"] else ""
    yield "asked", _plain(f"{call['asked'] or 'no model named'} by /v1/{call['api']}{streamed}")
    lane = f"lane {call['lane']}: " if call["lane"] else ""
    place = f" at {call['backend']}" if call["backend"] else ""
    instance = f" ({call['instance']})" if call["instance"] else ""
    yield "went to", _plain(f"{lane}{call['model'] or 'no model'}{place}{instance}")
    yield "why", _plain(str(call["reason"]))
    yield "status", str(call["status"] or "")
    yield "error", _plain(str(call["error"]))
    yield "tokens", _tokens(call)
    yield "cost", _cost(call)
    yield "times", _times(call)
    yield "bytes", f"{call['bytes_in']} in, {call['bytes_out']} out"
    if call["shadow_of"]:
        yield "shadow of", str(call["shadow_of"])


def _tokens(call: dict[str, Any]) -> str:
    prompt = f"{call['prompt_tokens']} in"
    of_it = [
        f"{call[name]} {words}"
        for name, words in (
            ("cached_tokens", "from cache"), ("cache_write_tokens", "to cache"),
        )
        if call[name]
    ]  # fmt: skip
    prompt += f" ({', '.join(of_it)})" if of_it else ""
    answer = f"{call['completion_tokens']} out"
    answer += f" ({call['reasoning_tokens']} reasoning)" if call["reasoning_tokens"] else ""
    return f"{prompt}, {answer}" + (", estimated" if call["estimated"] else "")


def _cost(call: dict[str, Any]) -> str:
    text = usd(call["cost_micro"])
    if call["reserved_micro"]:
        text += f" of {usd(call['reserved_micro'])} that were set aside"
    if call["state"] == "unknown":
        text += " (what it really used is not known)"
    return text


def _times(call: dict[str, Any]) -> str:
    parts = [f"{took(call['total_ms'])} in all"]
    if call["first_ms"]:
        parts.append(f"{took(call['first_ms'])} to the first byte")
    if call["waited_ms"] >= 1:
        parts.append(f"{took(call['waited_ms'])} of it before it was sent")
    return ", ".join(parts)


# --- sums --------------------------------------------------------------------------------------


@calls.command("sum")
@click.option("--by", type=click.Choice(_SUMS), default="model", show_default=True)
@click.option("--since", callback=as_moment, help="Not before: 7d, 2026-11-01.")
@click.option("--until", callback=as_moment, help="Before, said in the same way.")
@click.option("--key", help="Only of this caller.")
@click.option("--lane", help="Only in this lane.")
@click.option("--model", help="Only of this model.")
@click.option("--backend", help="Only at this backend.")
@json_option
@click.pass_obj
def sum_(obj: Cli, /, as_json: bool, **given: Any) -> int:
    """Sum up calls, tokens and money. Days and months are those of UTC."""
    filters = _query(given)
    data, code = look(
        obj,
        lambda api: api.get("/api/v1/calls/sums", **filters),
        lambda home: home.call_sums(obj.home, **filters),
    )
    if as_json:
        print_json(data)
        return code
    rows = data["sums"]
    if not rows:
        click.echo("No calls in that time." if filters.keys() - {"by"} else "No calls yet.")
        return code
    names = ("calls", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_micro")
    by = str(data["by"])
    body = [[one_line(str(row[by] or "-"), 40), *_cells(row)] for row in rows]
    total = {name: sum(row[name] for row in rows) for name in names}
    head = (by.upper(), "CALLS", "ERRORS", "TOKENS IN", "FROM CACHE", "TOKENS OUT", "COST")
    click.echo(table(head, [*body, ["all", *_cells(total)]] if len(rows) > 1 else body))
    return code


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["calls"]), str(row["errors"] or "-"), str(row["prompt_tokens"]),
        str(row["cached_tokens"] or "-"), str(row["completion_tokens"]), usd(row["cost_micro"]),
    ]  # fmt: skip


calls.add_command(replay)
