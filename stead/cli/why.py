"""`stead why`: the whole story of a message."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from stead.cli.approvals import words as asked_words
from stead.cli.common import (
    Cli,
    json_option,
    look,
    one_line,
    print_json,
    short,
    span,
    state_words,
    style,
    usd,
)
from stead.cli.http import quote


@click.command()
@click.argument("ident", metavar="ID")
@click.option("--attempts", is_flag=True, help="Only the attempts, with all that was discarded.")
@json_option
@click.pass_obj
def why(obj: Cli, ident: str, attempts: bool, as_json: bool) -> int:
    """Tell the whole story of a message or job.

    ID is its id, or a piece of at least 6 characters from its beginning or end.
    """
    if attempts:
        return show_attempts(obj, ident, as_json)
    story, code = look(
        obj,
        lambda api: api.get(f"/api/v1/why/{quote(ident)}"),
        lambda home: home.why(obj.home, ident),
    )
    if as_json:
        print_json(story)
    else:
        click.echo("\n".join(words(story)))
    return code


def show_attempts(obj: Cli, ident: str, as_json: bool) -> int:
    """Print who worked on a job, and what came back too late, in full."""
    found, code = look(
        obj,
        lambda api: api.get(f"/api/v1/jobs/{quote(ident)}/attempts"),
        lambda home: home.attempts(obj.home, ident),
    )
    if as_json:
        print_json(found)
        return code
    click.echo(_title("Job") + f" {found['job_id']}: {state_words(str(found['state']))}")
    for attempt in found["attempts"]:
        click.echo("\n".join([_attempt(attempt), *_discarded(attempt, whole=True)]))
    if not found["attempts"]:
        click.echo("  nobody has begun it yet")
    return code


def words(story: dict[str, Any]) -> Iterator[str]:
    """The story line by line: message, route, attempts, steps, calls, end, delivery, cost."""
    job, times = story.get("job") or {}, story.get("times") or {}
    yield from _message(story.get("message"))
    pruned = story.get("pruned")
    if pruned:
        yield from _pruned(pruned, job)
        yield from _reply(story.get("reply"), story.get("delivery") or [])
        return
    yield from _route(story.get("route") or {}, job)
    asked = story.get("approvals") or []
    yield from _job(job, times, any(row["state"] == "open" for row in asked))
    if story.get("waits_for_node"):
        yield f"  waits: {story['waits_for_node']}"
    attempts = story.get("attempts") or []
    if attempts:
        yield _title("Attempts")
    for attempt in attempts:
        yield _attempt(attempt)
        yield from _discarded(attempt)
    if any(attempt.get("discarded") for attempt in attempts):
        yield f"     in full: stead why --attempts {short(str(job.get('id')))}"
        if attempt.get("under_way"):
            yield f"     {attempt['under_way']}"
    yield from _recall(story.get("recall"))
    steps = story.get("steps") or []
    if steps:
        yield _title("Steps")
    for step in steps:
        yield from _step(step)
    yield from _asked(asked)
    calls = story.get("calls") or []
    if calls:
        yield _title("Model calls")
    for call in calls:
        yield _call(call)
    yield from _reply(story.get("reply"), story.get("delivery") or [])
    yield from _cost(story.get("cost") or {})


def _pruned(pruned: dict[str, Any], job: dict[str, Any]) -> Iterator[str]:
    yield _title("Job") + f" {job.get('id')}: {state_words(str(job.get('state')))}"
    if job.get("ended_at"):
        yield f"  ended     {_clock(job['ended_at'])}"
    yield f"  its detail was pruned at {_clock(pruned.get('at'))}, by the rule:"
    yield f"  {pruned.get('rule')}"


def _title(text: str) -> str:
    return style(text, bold=True)


def _clock(ms: int | None) -> str:
    """Local time, with milliseconds: ``2026-11-21 10:15:02.417``."""
    if not ms:
        return "-"
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
    return f"{whole}.{ms % 1000:03d}"


def _message(message: dict[str, Any] | None) -> Iterator[str]:
    if not message:
        return
    yield _title("Message") + f" {message.get('id')}"
    yield f"  {_clock(message.get('at'))}  {message.get('role')} on {message.get('channel')}"
    yield f"  conversation {message.get('session')}, external id {message.get('external_id')}"
    if message.get("replaces"):
        yield f"  takes the place of {message['replaces']}, and of what was said after it"
    if message.get("replaced_by"):
        yield f"  no longer in prompts: it was said anew in {message['replaced_by']}"
    if message.get("pruned_at"):
        yield f"  [its words were taken out at {_clock(message['pruned_at'])}, as you asked]"
        return
    yield f"  “{one_line(str(message.get('text')), 300)}”"


def _route(route: dict[str, Any], job: dict[str, Any]) -> Iterator[str]:
    yield _title("Route")
    to = {"light": "answered in the gateway (light)", "node": "sent to a node"}
    text = f"  {to.get(str(route.get('to')), route.get('to') or '?')}"
    text += f" by the rule “{route.get('rule') or '?'}”"
    lane = route.get("lane") or job.get("lane")
    yield text + (f", lane {lane}" if lane else "")
    needs = str(route.get("needs") or "")
    if needs and needs != "@gateway":
        yield f"  needs a node with: {needs}"
    for verb, key in (("prefers", "prefer"), ("never goes to", "avoid")):
        if route.get(key):
            yield f"  {verb} the node: {str(route[key]).replace(',', ', ')}"


def _recall(recall: dict[str, Any] | None) -> Iterator[str]:
    """What of memory it was shown, and why."""
    if not recall:
        return
    yield _title("Recalled") + f" in {recall.get('took_ms') or 0:.0f} ms"
    for line in (recall.get("why"), recall.get("meant") and f"understood as: {recall['meant']}"):
        if line:
            yield f"  {line}"
    if recall.get("stale"):
        yield f"  perhaps not all there is: {recall['stale']}"
    for item in recall.get("items") or []:
        told = [item.get("age"), item.get("held_until") and f"held until {item['held_until']}"]
        told += [item.get("checked"), "written by others" if item.get("foreign") else ""]
        more = "".join(f", {one}" for one in told if one)
        yield f"  {item.get('source')} ({item.get('layer')}{more})"
        yield f"     “{one_line(str(item.get('text')), 160)}”"
        signals = item.get("signals") or {}
        because = ", ".join(f"{name} {value:g}" for name, value in signals.items())
        yield f"     because: score {item.get('score'):g}" + (f" ({because})" if because else "")


def _asked(rows: list[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield _title("Asked you")
    for row in rows:
        yield from (f"  {line}" for line in asked_words(row))


def _job(job: dict[str, Any], times: dict[str, Any], asked: bool) -> Iterator[str]:
    yield _title("Job") + f" {job.get('id')}: {state_words(str(job.get('state')))}"
    if job.get("cancel_req"):
        yield "  the owner asked to cancel it"
    if job.get("error"):
        yield f"  error: {job['error']}"
    if job.get("waiting_for"):
        yield f"  waits for: {job['waiting_for']}"
        if not asked:
            yield f"  answer with: stead jobs answer {short(str(job.get('id')))} repeat|done|fail"
    for label, key in (
        ("received", "received_at"),
        ("queued", "queued_at"),
        ("started", "started_at"),
        ("ended", "ended_at"),
    ):
        if times.get(key):
            yield f"  {label:<9} {_clock(times[key])}"
    if times.get("waited_ms") is not None:
        yield f"  waited {span(times['waited_ms'])}, worked {span(times.get('worked_ms') or 0)}"
    tries, crashes = job.get("tries") or 0, job.get("crashes") or 0
    if tries or crashes:
        yield (
            f"  failures reported: {tries} of {job.get('max_tries', '?')}, "
            f"workers lost: {crashes} of {job.get('max_crashes', '?')}"
        )


def _attempt(attempt: dict[str, Any]) -> str:
    outcome = attempt.get("outcome") or "under way"
    text = f"  {attempt.get('epoch')}. claimed by {attempt.get('node')} at "
    text += f"{_clock(attempt.get('started_at'))}: {outcome}"
    if attempt.get("ended_at") and attempt.get("started_at"):
        text += f" after {span(attempt['ended_at'] - attempt['started_at'])}"
    text += f" ({attempt['error']})" if attempt.get("error") else ""
    text += f"; {attempt['given']}" if attempt.get("given") else ""
    did = [
        f"{verb} {'steps' if len(seqs) > 1 else 'step'} {_runs(seqs)}"
        for verb, seqs in (("replayed", attempt.get("replayed")), ("ran", attempt.get("ran")))
        if seqs
    ]
    return f"{text}; {', '.join(did)}" if did else text


def _discarded(attempt: dict[str, Any], *, whole: bool = False) -> Iterator[str]:
    """What a node brought back too late: it was refused, and is kept to be looked at."""
    if not attempt.get("discarded_at"):
        return
    yield (
        f"     {attempt.get('node')} came back at {_clock(attempt['discarded_at'])}: refused, as"
        " its job had been taken from it; what it had done is discarded, and none of it was used"
    )
    for part in attempt.get("discarded") or []:
        if part.get("what") == "end":
            name = f"its end: {part.get('outcome')}"
        else:
            name = f"step {part.get('seq')} ({part.get('name')}): {part.get('state')}"
        yield f"       {name}" + (f" ({part['error']})" if part.get("error") else "")
        text = str(part.get("text") or "")
        if whole:
            yield from (f"         {line}" for line in text.splitlines())
        elif text:
            yield f"         {one_line(text, 160)}"
        if whole and part.get("left_out"):
            yield f"         [{part['left_out']} characters more were not kept]"


def _runs(numbers: list[int]) -> str:
    """``[1, 2, 3, 5]`` -> ``1-3, 5``."""
    told: list[str] = []
    for number in sorted(set(numbers)):
        first, _, last = told[-1].partition("-") if told else ("", "", "")
        if told and number == int(last or first) + 1:
            told[-1] = f"{first}-{number}"
        else:
            told.append(str(number))
    return ", ".join(told)


def _step(step: dict[str, Any]) -> Iterator[str]:
    state = str(step.get("state"))
    text = f"  {step.get('seq')}. {step.get('name')}: {_STEP_WORDS.get(state, state)}"
    text += f" (attempt {step.get('epoch')}"
    if step.get("ended_at") and step.get("started_at"):
        text += f", {span(step['ended_at'] - step['started_at'])}"
    text += ")"
    tokens = (step.get("prompt_tokens") or 0) + (step.get("completion_tokens") or 0)
    if tokens:
        text += f", {tokens} tokens, {usd(step.get('cost_micro'))}"
    yield text
    if step.get("came_late"):
        yield "     its outcome came too late, with an attempt that was discarded (see above)"
    if state == "unknown":
        yield f"     its rule says: {_RULE_WORDS.get(str(step.get('rule')), step.get('rule'))}"
    if step.get("effects") not in (None, "", "none"):
        yield f"     may have effects: {_EFFECTS.get(str(step['effects']), step['effects'])}"
    if step.get("note"):
        yield f"     {step['note']}"
    replays = step.get("replays") or []
    if replays:
        epochs = _runs([replay["epoch"] for replay in replays])
        yield f"     replayed by attempt {epochs} from the journal; not run and not paid again"
    for replay in replays:
        if replay.get("note"):
            yield f"     attempt {replay['epoch']} found it different: {replay['note']}"
    if step.get("input"):
        yield f"     in:  {one_line(str(step['input']), 160)}"
    if step.get("output"):
        yield f"     out: {one_line(str(step['output']), 160)}"


_STEP_WORDS = {
    "intent": "begun, its outcome is not known yet",
    "done": "done",
    "failed": "failed",
    "unknown": "its worker was lost while it ran; whether it happened is not known",
}
_EFFECTS = {"workspace": "in the workspace", "outside": "outside the workspace"}
_RULE_WORDS = {
    "repeat": "repeat it, as doing it twice does no harm",
    "ask": "ask the owner",
    "fail": "end the job",
}


def _call(call: dict[str, Any]) -> str:
    text = f"  {call.get('model')} at {call.get('backend')}: {call.get('prompt_tokens')} tokens in"
    if call.get("cached_tokens"):
        text += f" ({call['cached_tokens']} from cache)"
    text += f", {call.get('completion_tokens')} out, {usd(call.get('cost_micro'))}"
    if call.get("total_ms"):
        text += f", first after {span(call.get('first_ms'))}, whole {span(call['total_ms'])}"
    if call.get("state") != "settled":
        text += f", {call.get('state')}"
        if call.get("reserved_micro"):
            text += f" (reserved {usd(call['reserved_micro'])})"
    if call.get("status") not in (None, 0, 200):
        text += f", answered {call['status']}"
    return text + (f" [{call['reason']}]" if call.get("reason") else "")


def _reply(reply: dict[str, Any] | None, delivery: list[dict[str, Any]]) -> Iterator[str]:
    if reply:
        yield _title("Reply") + f" {reply.get('id')} at {_clock(reply.get('at'))}"
        yield f"  “{one_line(str(reply.get('text')), 300)}”"
    for row in delivery:
        text = f"  delivery by {row.get('channel')}: {row.get('state')}"
        if row.get("delivered_at"):
            text += f" at {_clock(row['delivered_at'])}"
        if (row.get("tries") or 0) > 1:
            text += f", tried {row['tries']} times"
        if row.get("doubts"):
            text += f", {row['doubts']}x in doubt"
        yield text + (f" ({row['note']})" if row.get("note") else "")
        if row.get("state") in ("ambiguous", "failed"):
            yield f"  settle it with: stead outbox settle {row['id']} --sent|--again|--drop"


def _cost(cost: dict[str, Any]) -> Iterator[str]:
    if not cost:
        return
    calls = cost.get("calls") or 0
    text = f" {usd(cost.get('cost_micro'))} in {calls} model call{'s' if calls != 1 else ''}: "
    text += f"{cost.get('prompt_tokens') or 0} tokens in"
    text += f" ({cost['cached_tokens']} from cache)" if cost.get("cached_tokens") else ""
    yield _title("Cost") + f"{text}, {cost.get('completion_tokens') or 0} out"
