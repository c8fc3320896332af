"""Checking the rules of permissions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from stead.config.permit_settings import PermitSection
from stead.core.permits import ORIGINS, PermitRule, arg_pattern

_LANES = ("chat", "background")
_HOST = re.compile(r"(\*|(\*\.)?[^\s*/:@]+)(?<!\.)")
_LISTS = (
    "tools", "args", "commands", "paths", "reads", "writes", "hosts", "credentials", "sessions",
    "persons", "channels", "lanes", "origin",
)  # fmt: skip


def permit_rule(one: PermitSection) -> PermitRule:
    """A rule as it travels."""
    lists: dict[str, Any] = {name: tuple(getattr(one, name)) for name in _LISTS}
    return PermitRule(name=one.name, say=one.say, why=one.why, **lists)


def check_permits(rules: Sequence[PermitSection]) -> Iterator[tuple[str, str]]:
    """Rules that say nothing, or what cannot be."""
    names: set[str] = set()
    for index, rule in enumerate(rules):
        at = f"permit[{index}]"
        if not rule.name.strip():
            yield f"{at}.name", "is empty"
        elif rule.name in names:
            yield f"{at}.name", f"there are two rules named {rule.name!r}"
        names.add(rule.name)
        yield from _values(rule, at)
        if rule.say == "allow":
            yield from _allows(rule, at)
        elif not any(getattr(rule, name) for name in _LISTS):
            yield (
                f"{at}.tools",
                f'the rule would {rule.say} everything; if that is meant, say tools = ["*"]',
            )


def _allows(rule: PermitSection, at: str) -> Iterator[tuple[str, str]]:
    if not rule.tools:
        yield f"{at}.tools", "what is allowed must name its tools, such as shell or web_*"
    if "*" in rule.tools and not (rule.args or rule.paths or rule.reads or rule.writes):
        yield (
            f"{at}.tools",
            "everything would be allowed to every tool; name the tools, or paths",
        )
    for place, one in enumerate(rule.commands):
        if one.split()[:1] and re.search(r"[*?\[]", one.split()[0]):
            yield f"{at}.commands[{place}]", "the command itself must be named, without a star"


def _values(rule: PermitSection, at: str) -> Iterator[tuple[str, str]]:
    for name in _LISTS:
        for place, value in enumerate(getattr(rule, name)):
            if not value.strip():
                yield f"{at}.{name}[{place}]", "is empty"
    for place, value in enumerate(rule.args):
        try:
            arg_pattern(value)
        except ValueError as error:
            if value.strip():
                yield f"{at}.args[{place}]", str(error)
    for place, value in enumerate(rule.hosts):
        if value.strip() and not _HOST.fullmatch(value):
            yield (
                f"{at}.hosts[{place}]",
                f"{value!r} is not a host: a name without http:// and without a port, such as"
                " example.com or *.example.com",
            )
    for place, value in enumerate(rule.lanes):
        if value not in _LANES:
            yield f"{at}.lanes[{place}]", f"{value!r} is not one of {', '.join(_LANES)}"
    for place, value in enumerate(rule.origin):
        if value not in ORIGINS:
            yield f"{at}.origin[{place}]", f"{value!r} is not one of {', '.join(ORIGINS)}"
    if "owner" in rule.origin and len(rule.origin) > 1 and rule.say != "allow":
        yield f"{at}.origin", "owner is a run that has read nothing foreign; it stands alone here"
