"""The router: which worker answers a message. Rules are data; the first that matches decides."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stead.core.nouns import Inbound, Route

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """All conditions given must hold; an empty one always does."""

    name: str
    to: str
    """``light`` or ``node``."""
    mark: str = ""
    match: str = ""
    unless: str = ""
    max_chars: int = 0
    channel: str = ""
    lane: str = ""
    needs: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()


#: A message of nothing but greetings, and what is said with them, needs neither tools nor a
#: node. "ok" is no greeting: it may be the answer to "Shall I delete it?".
_GREETING = (
    r"(ping|hi|hey|hello|hallo|hola|salut|bonjour|moin|servus|good (morning|day|afternoon|evening|"
    r"night)|guten (morgen|tag|abend)|gute nacht|thanks|thank you|thx|danke|merci|gracias|bye|ciao|"
    r"tsch[uü]ss|how are you|wie geht'?s)"
)
_WITH_IT = (
    r"(there|stead|again|all|everyone|today|so much|very much|a lot"
    r"|dir|euch|sehr|sch[oö]n|zusammen)"
)

#: Tried after the owner's own rules.
BUILT_IN: tuple[Rule, ...] = (
    Rule("marked light", "light", mark="light"),
    Rule("marked heavy", "node", mark="heavy"),
    Rule("background work", "node", lane="background"),
    Rule(
        "small talk",
        "light",
        match=rf"^\W*{_GREETING}(\W+({_GREETING}|{_WITH_IT}))*\W*$",
        max_chars=60,
    ),
    Rule("everything else", "node"),
)


class Router:
    """Decides by the owner's rules, then the built-in ones."""

    def __init__(self, own: Sequence[Rule] = ()) -> None:
        self._rules: list[tuple[Rule, re.Pattern[str] | None, re.Pattern[str] | None]] = []
        for rule in (*own, *BUILT_IN):
            try:
                self._rules.append((rule, _pattern(rule.match), _pattern(rule.unless)))
            except (re.error, RecursionError, OverflowError) as error:
                log.error("routing rule %r is left out: %s", rule.name, error)

    def decide(self, message: Inbound) -> Route:
        """Never fails: a rule that cannot be judged is passed over and logged."""
        for rule, match, unless in self._rules:
            try:
                if self._holds(rule, match, unless, message):
                    return _route(rule, message)
            except (re.error, RecursionError) as error:
                log.warning("routing rule %r could not be judged: %s", rule.name, error)
        return _route(BUILT_IN[-1], message)

    @staticmethod
    def _holds(
        rule: Rule,
        match: re.Pattern[str] | None,
        unless: re.Pattern[str] | None,
        message: Inbound,
    ) -> bool:
        if rule.to == "light" and (message.needs or message.prefer):
            return False  # it asks for a node
        if rule.to == "light" and message.files and not rule.mark:
            return False  # what it brings is read by tools, on a node
        return (
            rule.mark in ("", message.mark)
            and rule.channel in ("", message.channel)
            and rule.lane in ("", message.lane)
            and (not rule.max_chars or len(message.text) <= rule.max_chars)
            and (match is None or match.search(message.text) is not None)
            and (unless is None or unless.search(message.text) is None)
        )


def _pattern(text: str) -> re.Pattern[str] | None:
    return re.compile(text, re.IGNORECASE) if text else None


def _route(rule: Rule, message: Inbound) -> Route:
    if rule.to == "light":
        return Route(rule.to, rule.name, "light", ("@gateway",))
    return Route(
        to=rule.to,
        rule=rule.name,
        role="main",
        needs=_both(rule.needs, message.needs),
        prefer=message.prefer or rule.prefer,
        avoid=_both(rule.avoid, message.avoid),
    )


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *other}))
