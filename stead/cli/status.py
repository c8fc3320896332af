"""`stead status`: what works and what does not."""

from __future__ import annotations

from typing import Any

import click

from stead.cli.common import AWAY, Cli, json_option, print_json, span, style, usd, when
from stead.core.errors import GatewayAway


@click.command()
@json_option
@click.pass_obj
def status(obj: Cli, as_json: bool) -> int:
    """Say what works and what does not. Exit code 3: the gateway is not reachable."""
    try:
        data = obj.api(loosely=True).get("/api/v1/status")
        code, away = 0, ""
    except GatewayAway as error:
        from stead.app import offline  # late: only a gateway that is down needs it

        data = offline.status(obj.home)
        code, away = AWAY, error.message
    if as_json:
        print_json({**data, "gateway_error": away} if away else data)
        return code
    if away:
        click.echo(style(away, fg="red"))
        click.echo("This is what the home directory says:")
    click.echo("\n".join(words(data)))
    return code


def words(data: dict[str, Any]) -> list[str]:
    """The status in lines; what the gateway's own sentences say is not said twice."""
    lines = [f"stead {data['version']}"] if data.get("version") else []
    said = " ".join(map(str, [*(data.get("works") or []), *(data.get("not_yet") or [])]))
    for label, key in _PLACES:
        text = when(data.get(key))
        if text and text not in said:
            lines.append(f"  {label:<8} {text}")
    for sentence in data.get("works") or []:
        lines.append(style("  ok       ", fg="green") + str(sentence))
    for sentence in data.get("not_yet") or []:
        lines.append(style("  not yet  ", fg="yellow") + str(sentence))
    lines += _model(data.get("model") or {}, said)
    lines += [_node(node) for node in data.get("nodes") or [] if str(node.get("name")) not in said]
    lines += _queue(data.get("queue") or {})
    lines += _today(data.get("today") or {})
    lines += _outbox(data.get("outbox") or {})
    return lines


_PLACES = (("address", "url"), ("home", "home"), ("since", "since"))


def _model(model: dict[str, Any], said: str) -> list[str]:
    text = str(model.get("words") or model.get("phase") or "")
    return [f"  model    {text.removeprefix('model ')}"] if text and text not in said else []


def _node(node: dict[str, Any]) -> str:
    alive = bool(node.get("alive"))
    text = style("  node     ", fg="green" if alive else "yellow") + str(node.get("name"))
    text += " is here" if alive else " is away"
    if not alive and node.get("last_seen"):
        text += f", last seen {when(node['last_seen'])}"
    running = node.get("running") or 0
    count = len(running) if isinstance(running, list) else running
    if count:
        text += f", working on {count} job{'s' if count != 1 else ''}"
    if node.get("labels"):
        text += f" ({', '.join(node['labels'])})"
    return text


def _queue(queue: dict[str, Any]) -> list[str]:
    parts = [f"{queue[k]} {k}" for k in ("queued", "running", "waiting", "dead") if queue.get(k)]
    text = ", ".join(parts) or "nothing to do"
    if queue.get("queued") and queue.get("oldest_ms"):
        text += f"; the oldest has waited {span(queue['oldest_ms'])}"
    if queue.get("dead"):
        text += "; see `stead jobs --state dead`"
    return [f"  jobs     {text}"] if queue else []


def _today(today: dict[str, Any]) -> list[str]:
    if not today:
        return []
    calls, tokens = today.get("calls") or 0, today.get("tokens") or 0
    cost = usd(today.get("cost_micro") or 0)
    lines = [f"  today    {calls} model calls, {tokens} tokens, {cost}"]
    wrong = [
        f"{one['errors']} of {one['calls']} at {one['backend'] or 'the door'}"
        for one in today.get("backends") or []
        if one["errors"]
    ]
    if wrong:
        text = f"           calls that failed: {', '.join(wrong)}; see "
        lines.append(style(text, fg="yellow") + "`stead calls --outcome error`")
    return lines


def _outbox(outbox: dict[str, Any]) -> list[str]:
    parts = [f"{outbox[k]} {words}" for k, words in _DELIVERY.items() if outbox.get(k)]
    return [f"  replies  {', '.join(parts)}"] if parts else []


_DELIVERY = {
    "pending": "still to be delivered",
    "sending": "being sent",
    "ambiguous": "that may or may not have arrived",
    "failed": "that could not be delivered",
}
