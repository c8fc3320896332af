"""The owner's rules of permission, as the gateway hands them out and commands explain them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from stead.agent.permits import Asker, Gate, preview_of
from stead.agent.tools import TOOLS
from stead.agent.tools.base import Context, Toolbox, ToolError
from stead.agent.tools.more_tools import with_more
from stead.config import Settings, permit_rule
from stead.core.errors import BadRequest
from stead.core.permits import PermitRule
from stead.core.storage import Store
from stead.flow.approvals import Approvals
from stead.flow.flow import Flow
from stead.gateway.node_service import NodeService
from stead.permit.explain import rule_words
from stead.permit.judge import Permits


def rules_of(settings: Settings) -> list[PermitRule]:
    """The rules of stead.toml."""
    return [permit_rule(one) for one in settings.permit]


def approvals_of(settings: Settings, store: Store, flow: Flow, service: NodeService) -> Approvals:
    """What hands questions and answers on. The rules go with each job that is given out."""

    def hold(rules: list[PermitRule]) -> None:
        service.permits = rules

    flow.channels = frozenset(one.name for one in settings.channel if one.url)
    service.channels = sorted(flow.channels)
    made = Approvals(store, flow, hold)
    taker(made, flow)(settings)()
    flow.on_reply(made.nudge)
    flow.answers = made.decide
    return made


def taker(approvals: Approvals, flow: Flow) -> Callable[[Settings], Callable[[], None]]:
    """How a running gateway takes over rules: for the jobs that are given out from now on."""

    def prepare(settings: Settings) -> Callable[[], None]:
        rules = rules_of(settings)
        expire_ms = int(settings.approvals.expire_h * 3_600_000)

        def take() -> None:
            approvals.set_rules(rules)
            flow.expire_ms = expire_ms

        return take

    return prepare


# --- for commands ------------------------------------------------------------------


def rules(settings: Settings) -> list[dict[str, Any]]:
    """The rules of stead.toml, with each in words."""
    return [{**asdict(rule), "words": rule_words(rule)} for rule in rules_of(settings)]


def tools(home: Path) -> list[dict[str, str]]:
    """What holds for each tool where no rule says anything."""
    return [
        {"name": tool.name, "default": tool.default.value, "about": tool.short}
        for tool in _toolbox(home)
    ]


def _toolbox(home: Path) -> Toolbox:
    """The tools, only to be asked about: without walls nothing of them could run."""
    return Toolbox(with_more(TOOLS), Context(workspace=home / "workspace", keep=home / "keep"))


def check(
    home: Path,
    settings: Settings,
    grants: Sequence[dict[str, Any]],
    name: str,
    args: Sequence[str],
    *,
    foreign: bool = False,
    private: bool = False,
    background: bool = False,
    session: str = "main",
    channel: str = "cli",
    person: str = "owner",
) -> dict[str, Any]:
    """What would hold for a call, and why. Nothing is run. Raises ``BadRequest``."""
    toolbox = _toolbox(home)
    held = [
        PermitRule(f"grant {one['id'][-8:]}", "allow", tools=(one["tool"],), scope=one["scope"])
        for one in grants
    ]
    asker = Asker(
        Permits((*rules_of(settings), *held)), lane="background" if background else "chat",
        foreign=foreign, private=private, session=session, channel=channel, person=person,
    )  # fmt: skip
    gate = Gate(asker, toolbox)
    try:
        tool, parsed = toolbox.read(name, _arguments(args))
        touches = gate.touches(tool, parsed)
    except ToolError as problem:
        raise BadRequest(why=str(problem)) from problem
    ruling = gate.judge(gate.facts(tool, parsed, touches))
    told = {
        label: ", ".join(str(one) for one in value)
        for label, value in (
            ("reads", touches.reads), ("writes", touches.writes), ("hosts", touches.hosts),
            ("credentials", touches.credentials),
        )
        if value
    }  # fmt: skip
    return {
        "tool": tool.name, "args": msgspec.to_builtins(parsed), "word": ruling.word.value,
        "why": ruling.why, "preview": preview_of(tool, parsed, toolbox.context), "touches": told,
        "private": touches.private, "foreign": touches.foreign, "sends": touches.sends,
    }  # fmt: skip


def _arguments(args: Sequence[str]) -> str:
    """``a=1 b=x``, or one JSON object, as a model would say it."""
    if len(args) == 1 and args[0].lstrip().startswith("{"):
        return args[0]
    made: dict[str, str] = {}
    for one in args:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise BadRequest(f"{one!r} is not NAME=VALUE; or give one JSON object.")
        made[name] = value
    return msgspec.json.encode(made).decode()
