"""Words for people: lines of the daily log, apologies, notices. No decisions here."""

from __future__ import annotations

import json
from datetime import datetime

from stead.core.nouns import Inbound, Job, Post, Step, Usage
from stead.core.permits import ALWAYS, NO, Approval
from stead.core.states import StepState
from stead.core.wire import Finish

#: A longer message stands in the daily log with its beginning.
LINE_CHARS = 100_000


def duration(ms: float) -> str:
    """``250`` -> ``0.2 s``, ``125000`` -> ``2 min 5 s``."""
    seconds = ms / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def seconds(value: float) -> str:
    """``312.4`` -> ``312 s``, ``1.25`` -> ``1.2 s``."""
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s".replace(".0 s", " s")


def money(micro: int) -> str:
    return f"${micro / 1_000_000:.4f}"


def counted(count: int, thing: str) -> str:
    """``1 job``, ``3 jobs``."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def clock(ms: int) -> str:
    """The local time of day, with the date if it is not today."""
    then = datetime.fromtimestamp(ms / 1000)
    same = then.date() == datetime.now().date()
    return then.strftime("%H:%M" if same else "%Y-%m-%d %H:%M")


def received(message: Inbound, route: str) -> str:
    who = "outside" if message.foreign else "owner"
    text = message.text
    if len(text) > LINE_CHARS:  # the record has all of it
        text = f"{text[:LINE_CHARS]} [... {len(text)} characters in all]"
    names = ", ".join(file.name for file in message.files)
    more = f" [attached: {names}]" if names else ""
    return f"**{who}** ({message.channel}, {message.session}) [job {{job}}, {route}]: {text}{more}"


def received_of(called: str, message: Inbound, route: str) -> str:
    """Of what somebody besides the owner says: that it was said, and no word of it."""
    size = counted(len(message.text), "character")
    return f"job {{job}} asked for by {called} ({message.channel}, {route}, {size})"


def answered_to(called: str, job: Job, report: Finish, waited_ms: int) -> str:
    """As :func:`answered`, of a job that somebody besides the owner asked for: no word of it."""
    used = report.usage
    return (
        f"job {job.id[-8:]} done for {called}: waited {duration(waited_ms)}, worked"
        f" {duration(report.worked_ms)}, {used.prompt_tokens}+{used.completion_tokens} tokens,"
        f" {money(used.cost_micro)}"
    )


#: To who asked for something that the owner has to allow or to settle.
WAITS_FOR_OWNER = "This has to wait for the owner's word; he has been asked."


def sorry(why: str) -> str:
    """To somebody besides the owner: commands would not help."""
    return f"I could not finish this: {why.rstrip('.')}. The owner can have it tried again."


def stepped(job_id: str, step: Step) -> str:
    """A tool run or model call; an intent is no event yet and gives no line, and a replay only
    where something had changed since."""
    if step.state is StepState.INTENT:
        return ""
    if step.state is StepState.REPLAYED:
        told = f"step {step.seq} ({step.name}) replayed; {step.note} [job {job_id[-8:]}]"
        return told if step.note else ""
    if (remembered := remembered_of(step)) is not None:
        return f"remembered [job {job_id[-8:]}{flags(remembered[1])}]: {remembered[0]}"
    used = (
        f", {step.usage.prompt_tokens}+{step.usage.completion_tokens} tokens,"
        f" {money(step.usage.cost_micro)}"
        if step.usage.tokens
        else ""
    )
    took = duration(max(0, step.ended_at - step.started_at))
    note = f" ({step.note})" if step.note else ""
    told = f" `{_short(step.input)}`" if step.input else ""
    return f"{step.name}{told} {step.state} in {took}{used}{note} [job {job_id[-8:]}]"


def answered(job: Job, report: Finish, waited_ms: int, total: Usage) -> str:
    return (
        f"**stead** [job {job.id[-8:]}, waited {duration(waited_ms)}, worked"
        f" {duration(report.worked_ms)}, {total.prompt_tokens}+{total.completion_tokens} tokens,"
        f" {money(total.cost_micro)}{flags(report.read)}]: {report.text}"
    )


#: What a run has read, as the daily log says it behind an answer: so that foreign text does not
#: become stead's own words, nor what was remembered something new.
_FLAGS = {"foreign": "foreign read", "recalled": "from memory"}


def flags(read: str) -> str:
    """``, foreign read, from memory``, each where it is so."""
    return "".join(f", {words}" for name, words in _FLAGS.items() if name in read.split())


def remembered_of(step: Step) -> tuple[str, str] | None:
    """What a step of the tool ``remember`` writes into the daily log, and what its run had read."""
    if step.name != "tool:remember" or step.state is not StepState.DONE:
        return None
    try:
        data = json.loads(step.output) if step.output else {}
    except ValueError:
        return None
    match data:
        case {"remember": {"text": str(text), "read": str(read)}} if text.strip():
            return text, read
    return None


def ended(job: Job, state: str, why: str) -> str:
    return f"job {job.id[-8:]} {state}: {why}"


_CAREFUL = "Careful: before this I have read text that others wrote, which may be what wants it."


def asked(approval: Approval, ident: str, expires_ms: int) -> str:
    """A question to the owner about a call, or one of the agent's own, with how to answer it."""
    short, until = ident[-8:], f"within {duration(expires_ms).removesuffix(' 0 min')}"
    if approval.kind == "question":
        how = f"`stead answer {short} TEXT`, or here: answer {short} TEXT"
        if approval.offers:
            how = f"{' or '.join(approval.offers)}: {how}"
        careful = f"\n\n{_CAREFUL}" if approval.foreign else ""
        return f"{approval.preview}{careful}\n\nAnswer {until} with {how}."
    told = ["May I do this?", "", approval.preview, "", f"Why I ask: {approval.why}."]
    if approval.foreign:
        told.append(_CAREFUL)
    if approval.args not in ("", "{}"):
        told += ["", f"In full: {approval.tool} {approval.args}"]
    words = "|".join(one for one in approval.offers if one != NO)
    told += [
        "",
        f"Answer {until}: `stead approve {short} {words}` or `stead deny {short}`;"
        f" or say so here: approve {short}.",
    ]
    if ALWAYS in approval.offers:
        told.append(f"(always: {approval.always})")
    return "\n".join(told)


def came_back(job_id: str, epoch: int) -> str:
    return (
        f"attempt {epoch} at job {job_id[-8:]} came back after its job had been taken from it; what"
        f" it did is kept aside and not used: `stead why --attempts {job_id[-8:]}`"
    )


def apology(job: Job, why: str) -> str:
    return (
        f"I could not finish this: {why.rstrip('.')}."
        f" The whole story: `stead why {job.id[-8:]}`; to try again: `stead jobs retry"
        f" {job.id[-8:]}`."
    )


def no_node(count: int, since: int, last_seen: int) -> str:
    waiting = "1 message waits" if count == 1 else f"{count} messages wait"
    seen = f"last seen {clock(last_seen)}" if last_seen else "none has ever connected"
    return (
        f"No node is connected ({seen}). {waiting} since {clock(since)}; nothing is lost, and"
        " they are worked off as soon as a node is back."
    )


def waits_for_a_node(count: int, since: int, why: list[str]) -> str:
    waiting = "1 message waits" if count == 1 else f"{count} messages wait"
    return f"{waiting} since {clock(since)}: {'; '.join(why)}. Nothing is lost."


def _short(text: str, most: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def post_of(output: str) -> Post | None:
    """The message that a step sends, from its journalled JSON."""
    try:
        data = json.loads(output) if output else {}
    except ValueError:
        return None
    match data:
        case {"post": {"to": str(to), "text": str(text)}} if text:
            return Post(to, text)
    return None


def step_result(output: str) -> str:
    """The outcome of a step as text, from its journalled JSON."""
    try:
        data = json.loads(output) if output else {}
    except ValueError:
        return _short(output)
    if isinstance(data, dict):
        for key in ("result", "error", "text"):
            if data.get(key):
                return _short(str(data[key]))
    return ""
