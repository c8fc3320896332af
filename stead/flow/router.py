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


#: Tried after the owner's own rules. Small talk needs neither tools nor a node.
BUILT_IN: tuple[Rule, ...] = (
    Rule("marked light", "light", mark="light"),
    Rule("marked heavy", "node", mark="heavy"),
    Rule("background work", "node", lane="background"),
    Rule(
        "small talk",
        "light",
        match=r"^\W*(ping|hi|hey|hello|hallo|hola|salut|bonjour|moin|servus|good (morning|day|"
        r"evening|night)|guten (morgen|tag|abend)|gute nacht|thanks?( you)?|thx|danke( dir| sehr)?|"
        r"merci|gracias|ok(ay)?|bye|ciao|tsch[uü]ss|how are you|wie geht'?s)\b[^?]{0,30}\??\W*$",
        max_chars=60,
    ),
    Rule("everything else", "node"),
)


class Router:
    """Decides by the owner's rules, then the built-in ones."""

    def __init__(self, own: Sequence[Rule] = ()) -> None:
        self._rules = [
            (
                rule,
                re.compile(rule.match, re.IGNORECASE) if rule.match else None,
                re.compile(rule.unless, re.IGNORECASE) if rule.unless else None,
            )
            for rule in (*own, *BUILT_IN)
        ]

    def decide(self, message: Inbound) -> Route:
        """Never fails: a rule that cannot be judged is passed over and logged."""
        for rule, match, unless in self._rules:
            try:
                if self._holds(rule, match, unless, message):
                    return _route(rule)
            except (re.error, RecursionError) as error:
                log.warning("routing rule %r could not be judged: %s", rule.name, error)
        return _route(BUILT_IN[-1])

    @staticmethod
    def _holds(
        rule: Rule,
        match: re.Pattern[str] | None,
        unless: re.Pattern[str] | None,
        message: Inbound,
    ) -> bool:
        return (
            rule.mark in ("", message.mark)
            and rule.channel in ("", message.channel)
            and rule.lane in ("", message.lane)
            and (not rule.max_chars or len(message.text) <= rule.max_chars)
            and (match is None or match.search(message.text) is not None)
            and (unless is None or unless.search(message.text) is None)
        )


def _route(rule: Rule) -> Route:
    light = rule.to == "light"
    return Route(
        to=rule.to,
        rule=rule.name,
        role="light" if light else "main",
        needs=("@gateway",) if light else tuple(sorted(rule.needs)),
    )
