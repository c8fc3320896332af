"""The rules of the house and the budgets, as the configuration has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stead.config import BudgetSection, RuleSection, Settings, path_at
from stead.core.errors import ConfigError
from stead.core.hours import Hours
from stead.core.scope import NO_LIMIT, KeyScope
from stead.inference.policy.guard import Guard
from stead.inference.policy.house import HousePolicy
from stead.inference.policy.rates import Rate, Rates
from stead.inference.policy.rules import Rule, Then
from stead.inference.seam import Asked, Verdict, Who
from stead.ledger.budgets import Budgets, Limit

_MICRO = 1_000_000
#: Guards of rules that held before, kept to be ended with the gateway.
_OLD_GUARDS = 4


class LivePolicy:
    """The policy of the settings that hold now, and the processes that look at what is said.

    The :class:`~stead.inference.seam.Policy` of a running gateway. Raises ``ConfigError`` when a
    list of words cannot be read. What was counted of rates outlives a change.
    """

    def __init__(
        self, home: Path, settings: Settings, scope_of: Callable[[str], KeyScope | None]
    ) -> None:
        self._home = home
        self._scope_of = scope_of
        self._rates = Rates()
        self._guards: list[Guard] = []
        self._holds: HousePolicy
        # What each request asks goes straight there.
        self.check: Callable[[Who, Asked], Verdict]
        self.ended: Callable[[Verdict, int], None]
        self.prepare(settings)()

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """How a running gateway takes over rules. Requests under way may still be looked at by
        the old ones; their process ends when it has had nothing to do for a while."""
        rules = rules_of(self._home, settings.rule)
        judged = {"auto", *(name for judge in settings.judge for name in judge.models)}

        def take() -> None:
            guard = Guard(rules)
            self._guards = [*self._guards[-_OLD_GUARDS:], guard]
            self._holds = HousePolicy(
                rules, self._scope_of, guard, judged=judged, rates=self._rates
            )
            self.check, self.ended = self._holds.check, self._holds.ended

        return take

    async def look(self, who: Who, asked: Asked, verdict: Verdict) -> Verdict:
        return await self._holds.look(who, asked, verdict)

    def sees(self, who: Who, name: str) -> bool:
        return self._holds.sees(who, name)

    async def aclose(self) -> None:
        """End the processes."""
        for guard in self._guards:
            await guard.aclose()


def rules_of(home: Path, sections: Sequence[RuleSection]) -> list[Rule]:
    """Raises ``ConfigError`` when a list of words cannot be read."""
    return [_rule(home, section) for section in sections]


def _rule(home: Path, one: RuleSection) -> Rule:
    hours = Hours.parse(one.hours, one.days) if one.hours or one.days else None
    words = [*one.words, *_words(home, one)]
    return Rule(
        name=one.name, then=Then(one.then), keys=frozenset(one.keys),
        unless_keys=frozenset(one.unless_keys), lanes=frozenset(one.lanes),
        models=frozenset(one.models), endpoints=frozenset(one.endpoints), hours=hours,
        images=one.images, finds=tuple(one.finds),
        words=tuple(dict.fromkeys(word.strip() for word in words if word.strip())),
        patterns=tuple(one.patterns),
        rate=Rate(one.requests_per_min, one.tokens_per_min, one.at_once),
        max_body_kb=one.max_body_kb, keep_bodies=one.keep_bodies, why=one.why,
    )  # fmt: skip


def _words(home: Path, one: RuleSection) -> list[str]:
    """A line each; what begins with # is a remark."""
    if not one.words_file:
        return []
    path = path_at(home, one.words_file)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is no text"
        raise ConfigError(
            why=f"the list of words {path} of the rule {one.name} cannot be read: {why}",
            param="rule",
        ) from error
    return [line for line in lines if not line.lstrip().startswith("#")]


def budgets_of(section: BudgetSection, scope_of: Callable[[str], KeyScope | None]) -> Budgets:
    limits = [
        Limit(one.lane, one.key, _micro(one.daily_usd), _micro(one.monthly_usd), one.stop)
        for one in section.limit
    ]
    return Budgets(
        daily_micro=_micro(section.daily_usd),
        chat_reserve_micro=_micro(section.chat_reserve_usd),
        monthly_micro=_micro(section.monthly_usd),
        limits=limits,
        scope_of=scope_of,
    )


def _micro(usd: float) -> int:
    return NO_LIMIT if usd < 0 else round(usd * _MICRO)
