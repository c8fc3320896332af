"""The policy of the house: keys with their scopes, and the owner's rules.

Nearly all of it depends on who asks for which model at which endpoint, and there are few of these:
it is worked out once, as a :class:`_Plan`. A request looks that up, sees what time it is if a rule
asks for that, and takes its share of the rates that hold for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stead.core.errors import (
    BlockedByRule,
    Forbidden,
    QuietHours,
    RateLimited,
    TooLarge,
    WrongKey,
)
from stead.core.people import OTHERS
from stead.core.scope import KeyScope
from stead.inference.policy.guard import Guard
from stead.inference.policy.rates import Gauge, Held, Rate, Rates
from stead.inference.policy.rules import Rule, Then
from stead.inference.seam import Asked, Verdict, Who

#: The agent's own name among the models.
_AGENT = "stead"
_MOST_PLANS = 2000
#: Of the text that models read: about so many characters make a token.
_CHARS_A_TOKEN = 4


#: What counts a request, and the rule that asks for it; None: that is the scope of its key.
_Counted = tuple[Gauge, Rule | None]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is known before a request of this kind comes."""

    scope: KeyScope | None
    verdict: Verdict
    refused: tuple[str, ...] = ()
    """Why, in words; empty: it is not."""
    timed: tuple[Rule, ...] = ()
    """Those that hold at some times of the day only, and do not look at what is said."""
    looks: tuple[Rule, ...] = ()
    gauges: tuple[_Counted, ...] = ()
    max_body: int = 0
    plain: bool = field(init=False)
    """Whether there is nothing to see to for each request."""

    def __post_init__(self) -> None:
        plain = not (self.refused or self.timed or self.gauges or self.max_body)
        object.__setattr__(self, "plain", plain)


class HousePolicy:
    """The :class:`~stead.inference.seam.Policy` of a configuration.

    ``scope_of``: what a program's key is for, None if it does not hold. ``judged``: names given
    for a model by who leaves the choice of a lane to routing. ``rates`` outlive the configuration.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        scope_of: Callable[[str], KeyScope | None],
        guard: Guard,
        *,
        judged: Collection[str] = ("auto",),
        rates: Rates | None = None,
        clock: Callable[[], float] = time.monotonic,
        local_time: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        self._rules = tuple(rules)
        self._scope_of = scope_of
        self._guard = guard
        self._judged = frozenset(judged) | {""}
        self._rates = rates or Rates()
        self._clock = clock
        self._local_time = local_time
        self._plans: dict[tuple[str, str, str, str, bool], _Plan] = {}

    def check(self, who: Who, asked: Asked) -> Verdict:
        plan = self._plan(who, asked)
        if plan.plain:
            return plan.verdict
        if plan.refused:
            raise Forbidden(why="; ".join(plan.refused))
        if plan.max_body and len(asked.body) > plan.max_body:
            raise TooLarge(
                f"The request has {len(asked.body):,} bytes; {who.name} may send"
                f" {plan.max_body:,} at most here."
            )
        verdict = plan.verdict
        if plan.timed:
            verdict = self._at_this_hour(plan, asked, verdict)
        if plan.gauges:
            verdict = self._counted(plan, who, asked, verdict)
        return verdict

    async def look(self, who: Who, asked: Asked, verdict: Verdict) -> Verdict:
        plan = self._plan(who, asked)
        rules = [rule for rule in plan.looks if rule.hours is None or self._left(rule)]
        if not rules:
            return replace(verdict, look=False)
        found = await self._guard.look(asked.body, asked.content_type, rules)
        for rule in rules:
            if what := found.by_rule.get(rule.name):
                verdict = self._applied(rule, what, verdict, asked)
        body = verdict.body if found.body is None else found.body
        return replace(verdict, look=False, body=body)

    def ended(self, verdict: Verdict, tokens: int) -> None:
        held = verdict.held
        if isinstance(held, Held):
            held.end(tokens)

    def sees(self, who: Who, name: str) -> bool:
        if not who.key_id:
            return True
        scope = self._scope_of(who.key_id)
        if name == _AGENT and scope is not None and who.key_id.startswith(OTHERS):
            return True
        names = scope.names if scope is not None else frozenset[str]()
        if names is None:
            return name != _AGENT
        return name in names

    # --- what is known beforehand --------------------------------------------------------

    def _plan(self, who: Who, asked: Asked) -> _Plan:
        scope = self._scope_of(who.key_id) if who.key_id else None
        if who.key_id and scope is None:
            raise WrongKey
        name = "" if who.job_id is not None else who.name
        kind = (name, who.key_id, asked.api._value_, asked.model, asked.images)
        plan = self._plans.get(kind)
        if plan is None or plan.scope is not scope:
            if len(self._plans) >= _MOST_PLANS:  # names that clients invent
                self._plans.clear()
            plan = self._plans[kind] = self._make(who, asked, scope)
        return plan

    def _make(self, who: Who, asked: Asked, scope: KeyScope | None) -> _Plan:
        verdict = Verdict()
        refused, timed, looks = list[str](), list[Rule](), list[Rule]()
        gauges, sizes = list[_Counted](), list[int]()
        if scope is not None:
            person = who.key_id.startswith(OTHERS)
            refused += [] if person else _out_of_scope(who.name, scope, asked)
            whose = who.name if person else f"key {who.name}"
            only = (f"{whose}: never leaves the house",) if scope.local_only else ()
            verdict = Verdict(
                local_only=scope.local_only, models=scope.names, keep_body=scope.keep_bodies,
                reasons=only,
            )  # fmt: skip
            rate = Rate(scope.requests_per_min, scope.tokens_per_min, scope.at_once)
            self._gauge(gauges, f"key:{who.key_id}", rate, None)
            sizes.append(scope.max_body_kb)
        for rule in self._rules:
            if not rule.about(who, asked):
                continue
            named = rule.names(asked.model)
            if not named and asked.model not in self._judged:
                continue  # a model, or another lane
            if rule.looks:
                looks.append(rule)
            elif rule.then is Then.LIMIT:
                if named:
                    keep = verdict.keep_body and rule.keep_bodies
                    verdict = replace(verdict, keep_body=keep)
                    self._gauge(gauges, f"rule:{rule.name}", rule.rate, rule)
                    sizes.append(rule.max_body_kb)
            elif rule.hours is not None:
                timed.append(rule)
            elif named and rule.then is Then.BLOCK:
                refused.append(_told(rule))
            else:
                verdict = _with(rule, verdict, asked.model, "always")
        verdict = replace(verdict, look=bool(looks))
        most = min((size for size in sizes if size), default=0) * 1000
        return _Plan(
            scope, verdict, tuple(refused), tuple(timed), tuple(looks), tuple(gauges), most
        )

    def _gauge(self, gauges: list[_Counted], name: str, rate: Rate, rule: Rule | None) -> None:
        if rate:
            gauges.append((self._rates.gauge(name, rate, self._clock()), rule))

    # --- what is known only now ----------------------------------------------------------

    def _left(self, rule: Rule) -> int:
        return rule.hours.left_min(self._local_time()) if rule.hours is not None else 0

    def _at_this_hour(self, plan: _Plan, asked: Asked, verdict: Verdict) -> Verdict:
        for rule in plan.timed:
            left = self._left(rule)
            if not left:
                continue
            if rule.then is Then.BLOCK and rule.names(asked.model):
                why = f" {rule.why}" if rule.why else ""
                raise QuietHours(rule=rule.name, left=_minutes(left), why=why).after(left * 60)
            verdict = _with(rule, verdict, asked.model, "at this hour")
        return verdict

    def _counted(self, plan: _Plan, who: Who, asked: Asked, verdict: Verdict) -> Verdict:
        """Take its share of all rates, or of none."""
        tokens = asked.chars // _CHARS_A_TOKEN
        now = self._clock()
        gauges = []
        for gauge, rule in plan.gauges:
            if rule is not None and rule.hours is not None and not self._left(rule):
                continue
            if not gauge.fits(now, tokens):
                wait_s, what = gauge.wait_s(now, tokens)
                key = "" if who.key_id.startswith(OTHERS) else "the key "
                whose = f"by the rule {rule.name}" if rule else f"for {key}{who.name}"
                raise RateLimited(what=f"{what} {whose}").after(wait_s)
            gauges.append(gauge)
        if not gauges:
            return verdict
        # What `replace` does, at a fifth of its time: this is on the way of each such request.
        return Verdict(
            verdict.local_only, verdict.models, verdict.body, verdict.keep_body, verdict.reasons,
            verdict.look, verdict.local_lanes, verdict.barred_lanes, Held(gauges, tokens),
        )  # fmt: skip

    def _applied(
        self, rule: Rule, what: Mapping[str, int], verdict: Verdict, asked: Asked
    ) -> Verdict:
        """What a rule does with what was found. Never says what that was, only of what kind."""
        found = ", ".join(f"{count} x {kind}" for kind, count in sorted(what.items()))
        if rule.then is Then.BLOCK and rule.names(asked.model):
            raise BlockedByRule(found=found, rule=rule.name, why=_told(rule))
        return _with(rule, verdict, asked.model, f"found {found}")


def _out_of_scope(name: str, scope: KeyScope, asked: Asked) -> list[str]:
    refused = []
    if scope.endpoints and asked.api.value not in scope.endpoints:
        refused.append(f"the key {name} is for {', '.join(scope.endpoints)}")
    if asked.model == _AGENT and _AGENT not in (scope.names or ()):
        refused.append(
            f"the key {name} is not for the agent (`stead key set {name} --models stead`)"
        )
    return refused


def _with(rule: Rule, verdict: Verdict, model: str, why: str) -> Verdict:
    """The verdict with what a rule adds to it."""
    named = rule.names(model)
    said = {
        Then.LOCAL: "never leaves the house", Then.REDACT: "blacked out",
        Then.BLOCK: f"not in {', '.join(sorted(rule.lanes))}", Then.LIMIT: "noted",
    }[rule.then]  # fmt: skip
    lanes = frozenset() if named else rule.lanes
    return replace(
        verdict,
        local_only=verdict.local_only or (named and rule.then is Then.LOCAL),
        local_lanes=verdict.local_lanes | (lanes if rule.then is Then.LOCAL else frozenset()),
        barred_lanes=verdict.barred_lanes | (lanes if rule.then is Then.BLOCK else frozenset()),
        keep_body=verdict.keep_body and rule.keep_bodies,
        reasons=(*verdict.reasons, f"rule {rule.name}: {why}: {said}"),
    )


def _told(rule: Rule) -> str:
    return rule.why or f"the rule {rule.name} of this house does not let it pass"


def _minutes(left: int) -> str:
    return f"{left // 60} h {left % 60} min" if left >= 60 else f"{left} min"
