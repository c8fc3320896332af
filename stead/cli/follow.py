"""Following one message from its sending to its end, whatever happens to the connection."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stead.cli.api import Api
from stead.cli.common import short, span, usd
from stead.cli.http import ConnectionBroke
from stead.core.errors import GatewayAway
from stead.core.ids import uuid7

#: How long a gateway that went away while we waited is waited for, in seconds.
PATIENCE_S = 120.0
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass
class Sent:
    """A message the gateway has recorded."""

    message_id: str
    job_id: str
    route: dict[str, Any] = field(default_factory=dict)
    session: str = ""


@dataclass
class End:
    """How a job ended, as its last event says."""

    state: str
    text: str = ""
    waited_ms: float = 0
    worked_ms: float = 0
    usage: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    waiting_for: str = ""
    job_id: str = ""
    message_id: str = ""
    approval: str = ""

    def footer(self) -> str:
        """``waited 0.0 s, worked 3.1 s, 412 tokens, $0.0000, id 1a2b3c4d``."""
        tokens = self.usage.get("prompt_tokens", 0) + self.usage.get("completion_tokens", 0)
        parts = [f"waited {span(self.waited_ms)}", f"worked {span(self.worked_ms)}"]
        parts += [f"{tokens} tokens", usd(self.usage.get("cost_micro", 0))]
        return ", ".join([*parts, f"id {short(self.job_id)}"])


@dataclass(frozen=True)
class Heard:
    """One live event before the end: ``token``, ``tool``, ``note`` or ``reset``."""

    type: str
    text: str
    id: str = field(default="", compare=False)
    """Where one is after it, to go on from there."""


def send(
    api: Api,
    text: str,
    *,
    session: str = "",
    mark: str = "",
    channel: str = "",
    nodes: Mapping[str, Sequence[str]] | None = None,
    off_the_record: bool = False,
    files: Sequence[str] = (),
    replaces: str = "",
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Sent:
    """Hand a message in, once.

    Its external id is made here, so that sending it again after a broken
    connection is the same message. A gateway that cannot be reached at all
    raises ``GatewayAway`` at once: nothing was sent. ``nodes`` are lists of what it
    ``needs``, and of the nodes to ``prefer`` and to ``avoid``; ``files`` are ids of what was
    handed in before. ``replaces``: the message of the owner's whose place it takes.
    """
    body: dict[str, Any] = {"text": text, "external_id": uuid7()}
    wishes = {"session": session, "mark": mark, "channel": channel, "replaces": replaces}
    body |= {name: value for name, value in wishes.items() if value}
    body |= {"off_the_record": True} if off_the_record else {}
    body |= {"files": list(files)} if files else {}
    body |= {name: list(value) for name, value in (nodes or {}).items() if value}
    try:
        reply = api.post("/api/v1/messages", body)
    except ConnectionBroke:
        reply = _patiently(lambda: api.post("/api/v1/messages", body), patience_s, sleep)
    return Sent(
        reply["message_id"],
        reply["job_id"],
        reply.get("route") or {},
        reply.get("session") or session,
    )


def follow(
    api: Api,
    job_id: str,
    *,
    last: str = "",
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
    lost: Callable[[str], None] = lambda why: None,
) -> Iterator[Heard | End]:
    """What happens in a job after the event ``last``, its end last. A lost connection goes on
    where it broke off; ``lost`` is told why, and nothing when it is there again.

    Raises ``GatewayAway`` when the gateway stays away longer than ``patience_s``.
    """
    until = 0.0
    tries = 0
    while True:
        try:
            for event in api.job_events(job_id, last):
                if tries:
                    lost("")
                last, until, tries = event.id or last, 0.0, 0
                data = json.loads(event.data) if event.data else {}
                if event.type == "end":
                    yield _end(data, job_id)
                    return
                yield Heard(event.type, str(data.get("text", "")), last)
        except GatewayAway as error:
            lost(error.message)
            until = until or time.monotonic() + patience_s
            if time.monotonic() >= until:
                more = f"The message is recorded; its answer will be at `stead why {short(job_id)}`"
                raise GatewayAway(f"{error.message}. {more}") from error
        sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
        tries += 1


def _patiently(
    call: Callable[[], dict[str, Any]], patience_s: float, sleep: Callable[[float], None]
) -> dict[str, Any]:
    """``call`` again until the gateway is back."""
    until = time.monotonic() + patience_s
    tries = 0
    while True:
        sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
        tries += 1
        try:
            return call()
        except GatewayAway:
            if time.monotonic() >= until:
                raise


def _end(data: dict[str, Any], job_id: str) -> End:
    return End(
        state=str(data.get("state", "")),
        text=str(data.get("text") or ""),
        waited_ms=data.get("waited_ms") or 0,
        worked_ms=data.get("worked_ms") or 0,
        usage=data.get("usage") or {},
        error=str(data.get("error") or ""),
        waiting_for=str(data.get("waiting_for") or ""),
        job_id=str(data.get("job_id") or job_id),
        message_id=str(data.get("message_id") or ""),
        approval=str(data.get("approval") or ""),
    )
