"""Whether a rule is about a call.

A rule that allows must cover all of what a call touches, for certain. One that asks or forbids
holds as soon as any of it is meant, and where that cannot be told (a line of shell that no parser
is certain of) it *may* hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from stead.core.permits import PermitRule, arg_pattern
from stead.permit.shell import commands_in, has_command, is_command, simple_command
from stead.permit.words import Facts, Word


class Fit(IntEnum):
    """How far a rule is about a call."""

    NO = 0
    MAYBE = 1
    YES = 2


def fit(rule: PermitRule, facts: Facts) -> Fit:
    """Whether ``rule`` holds for the call; grants are not looked at here."""
    if not _about(rule, facts):
        return Fit.NO
    if rule.say == Word.ALLOW:
        return Fit.YES if _covers(rule, facts) else Fit.NO
    return _meets(rule, facts)


def lines_of(facts: Facts) -> tuple[str, ...]:
    """The command lines that a call hands to a shell."""
    if facts.touches.commands:
        return facts.touches.commands
    line = facts.args.get("command")
    return (line,) if facts.tool == "shell" and isinstance(line, str) else ()


def under(path: Path | str, pattern: str, workspace: Path | None) -> bool:
    """Whether a path, with its links followed, is what a pattern names or lies below it.

    A pattern is relative to the workspace, ``~`` is the home of who runs this, and ``*``, ``?``
    and ``[...]`` stand for parts of one name.
    """
    wanted = _place(pattern, workspace)
    there = Path(os.path.realpath(path)).parts
    if len(there) < len(wanted):
        return False
    return all(fnmatchcase(part, one) for part, one in zip(there, wanted, strict=False))


def outside(paths: Iterable[Path], workspace: Path | None) -> list[Path]:
    """Those that are not in the workspace, with their links followed."""
    if workspace is None:
        return list(paths)
    # As a pattern its name could hold a star; compared as it is it cannot.
    home = Path(os.path.realpath(workspace))
    return [path for path in paths if not Path(os.path.realpath(path)).is_relative_to(home)]


def is_host(host: str, pattern: str) -> bool:
    """``a.example.com`` is ``*.example.com`` and ``*``; nothing but ``*`` is any host."""
    host, pattern = _host(host), _host(pattern)
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


# --- all of it, for who allows -------------------------------------------------


def _covers(rule: PermitRule, facts: Facts) -> bool:
    touches = facts.touches
    if facts.has_foreign and "foreign" not in rule.origin:
        return False
    if rule.args and not all(_arg(one, facts.args, every=True) for one in rule.args):
        return False
    if rule.commands:
        lines = lines_of(facts)
        plain = [simple_command(line) for line in lines]
        if not lines or not all(
            words is not None and any(is_command(words, one) for one in rule.commands)
            for words in plain
        ):
            return False
    for paths, named in (
        (touches.reads, (*rule.paths, *rule.reads)),
        (touches.writes, (*rule.paths, *rule.writes)),
    ):
        # With no path named it reaches as far as the workspace; with one, as far as that.
        if rule.paths or rule.reads or rule.writes:
            left = [p for p in paths if not any(under(p, n, facts.workspace) for n in named)]
        else:
            left = outside(paths, facts.workspace)
        if left:
            return False
    return _all(touches.hosts, rule.hosts, is_host) and _all(
        touches.credentials, rule.credentials, fnmatchcase
    )


def _all(touched: Sequence[str], named: Sequence[str], like: Any) -> bool:
    """Network and credentials are never meant unless they are named."""
    return bool(touched or not named) and all(
        any(like(one, pattern) for pattern in named) for one in touched
    )


# --- any of it, for who asks or forbids ------------------------------------------


def _meets(rule: PermitRule, facts: Facts) -> Fit:
    touches = facts.touches
    if rule.args and not all(_arg(one, facts.args, every=False) for one in rule.args):
        return Fit.NO
    fits = [Fit.YES]
    for paths, named in (
        ((*touches.reads, *touches.writes), rule.paths),
        (touches.reads, rule.reads),
        (touches.writes, rule.writes),
    ):
        if named:
            fits.append(_best(_meet(path, one, facts.workspace) for path in paths for one in named))
    if rule.hosts:
        fits.append(_best(_host_meets(host, one) for host in touches.hosts for one in rule.hosts))
    if rule.credentials:
        fits.append(
            _best(
                Fit.YES if fnmatchcase(name, one) else Fit.NO
                for name in touches.credentials
                for one in rule.credentials
            )
        )
    if rule.commands:
        fits.append(_commands(rule, facts))
    return min(fits)


def _best(fits: Iterable[Fit]) -> Fit:
    return max(fits, default=Fit.NO)


def _meet(path: Path, pattern: str, workspace: Path | None) -> Fit:
    """A folder that the named place lies in may be meant: who reaches it may reach that."""
    if under(path, pattern, workspace):
        return Fit.YES
    wanted = _place(pattern, workspace)
    there = Path(os.path.realpath(path)).parts
    above = len(there) <= len(wanted) and all(
        fnmatchcase(part, one) for part, one in zip(there, wanted, strict=False)
    )
    return Fit.MAYBE if above else Fit.NO


def _host_meets(host: str, pattern: str) -> Fit:
    if is_host(host, pattern):
        return Fit.YES
    return Fit.MAYBE if is_host(pattern, host) else Fit.NO


def _commands(rule: PermitRule, facts: Facts) -> Fit:
    best = Fit.NO
    for line in lines_of(facts):
        found = commands_in(line)
        if any(has_command(found, one) for one in rule.commands):
            return Fit.YES
        if not found.whole:
            best = Fit.MAYBE
    return best


# --- parts ----------------------------------------------------------------------


def _about(rule: PermitRule, facts: Facts) -> bool:
    """What is the same for all rules: who calls what from where."""
    for named, value in (
        (rule.tools, facts.tool),
        (rule.sessions, facts.session),
        (rule.persons, facts.person),
        (rule.channels, facts.channel),
        (rule.lanes, facts.lane),
    ):
        if named and not any(fnmatchcase(value, one) for one in named):
            return False
    if rule.say == Word.ALLOW:
        return True
    state = {
        "foreign": facts.has_foreign,
        "private": facts.has_private,
        "owner": not facts.has_foreign,
    }
    return all(state.get(one, False) for one in rule.origin)


def _arg(pattern: str, args: dict[str, Any], *, every: bool) -> bool:
    name, regex, wanted = arg_pattern(pattern)
    value: Any = args
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    values = value if isinstance(value, list) else [value]
    fits = [
        re.fullmatch(wanted, _text(one), re.DOTALL) is not None
        if regex
        else fnmatchcase(_text(one), wanted)
        for one in values
    ]
    return bool(fits) and (all(fits) if every else any(fits))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _place(pattern: str, workspace: Path | None) -> tuple[str, ...]:
    """A pattern of a path in its parts, links followed where it has no stars."""
    text = pattern.removesuffix("/**") or "/"
    path = Path(text).expanduser() if text.startswith("~") else Path(text)
    if not path.is_absolute():
        path = (workspace or Path("/nowhere")) / path
    if not re.search(r"[*?\[]", text):
        # What is there has no stars to mean; in a name they are taken as they are.
        return tuple(_literal(part) for part in Path(os.path.realpath(path)).parts)
    return Path(os.path.normpath(path)).parts


def _literal(part: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", part)


def _host(name: str) -> str:
    return name.strip().lower().rstrip(".")
