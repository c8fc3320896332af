"""Budgets: how much may be spent, by whom, until when; and the words for what is used up.

They are counted by the storage, in the transaction that sets money aside (``LedgerStore.reserve``
with its caps). Here is which caps hold for a call, and what there is to be said of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stead.core.errors import OverBudget
from stead.core.nouns import Cap
from stead.core.people import OTHERS
from stead.core.scope import NO_LIMIT, KeyScope

#: Spent and set aside by scope: today, and this month (``LedgerStore.view_spent``).
Spent = Mapping[str, tuple[int, int]]

_SHARES = ("chat", "background")
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """Micro-dollars for all, one lane or one key, in a day and in a month (UTC)."""

    lane: str = ""
    key: str = ""
    """By its name. Neither: for all."""
    day_micro: int = NO_LIMIT
    month_micro: int = NO_LIMIT
    stop: bool = True
    """False: the owner is only told."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands."""

    scope: str
    what: str
    """Whose it is and for how long, in words: ``lane cron today``."""
    month: bool
    spent_micro: int
    limit_micro: int
    stop: bool
    renews_at: int
    """Milliseconds since 1970."""

    @property
    def share(self) -> float:
        return self.spent_micro / self.limit_micro if self.limit_micro else 1.0

    @property
    def words(self) -> str:
        used = f"{dollars(self.spent_micro)} of {dollars(self.limit_micro)}"
        if self.spent_micro < self.limit_micro:
            return f"budget {self.what}: {used}"
        then = "paid models are refused" if self.stop else "nothing is stopped by that"
        return f"budget {self.what} is used up ({used}): {then} until {clock(self.renews_at)}"


class Budgets:
    """``chat_reserve_micro`` of each day is out of reach of all but the owner's chat."""

    def __init__(
        self,
        *,
        daily_micro: int,
        chat_reserve_micro: int,
        monthly_micro: int = NO_LIMIT,
        limits: Sequence[Limit] = (),
        scope_of: Callable[[str], KeyScope | None] = lambda key_id: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._all = Limit(day_micro=daily_micro, month_micro=monthly_micro)
        self._reserve = max(0, chat_reserve_micro)
        self._limits = tuple(limits)
        self._scope_of = scope_of
        self._clock = clock

    def caps(self, share: str, *, key: str = "", key_id: str = "", lane: str = "") -> list[Cap]:
        """What holds for a paid call of that share, key (its name and id) and lane. Of people
        besides the owner only those may use the chat reserve who were let."""
        own = self._scope_of(key_id) if key_id else None
        person = key_id.startswith(OTHERS)
        kept = self._reserve if share != "chat" or (person and not (own and own.chat)) else 0
        caps = _caps("", self._all.day_micro, self._all.month_micro, kept)
        for limit in self._of(key if key_id and not person else "", lane):
            scope = f"key:{key_id}" if limit.key else f"lane:{lane}"
            if limit.stop:
                caps += _caps(scope, limit.day_micro, limit.month_micro)
        if own is not None:
            caps += _caps(_scope(key_id), own.day_micro, own.month_micro)
        return caps

    def refusal(
        self, cap: Cap, spent: Spent, *, model: str, wanted_micro: int, share: str, key: str = ""
    ) -> OverBudget:
        """The error for a call that a cap does not let through."""
        used = _used(cap.scope, spent)[cap.month]
        whose = _whose(cap.scope, {_key_id(cap.scope): key})
        period = "this month" if cap.month else "today"
        whole = self._all.month_micro if cap.month else self._all.day_micro
        all_of_it = cap.scope or (share == "chat" and cap.micro >= whole)
        kept = "" if all_of_it else _kept(self._reserve)
        renews_at = self._renews_at(cap.month)
        left = f"{dollars(max(0, cap.micro - used))} of {dollars(cap.micro)}{kept}"
        error = OverBudget(
            f"The budget {whose}{period} has {left} left, and this call of {model} may cost up to"
            f" {dollars(wanted_micro)}. It renews at {clock(renews_at)}: wait for that,"
            f" {_where_to_raise(cap, key)}, or name a model that is free."
        )
        return error.after(max(1.0, renews_at / 1000 - self._clock()))

    def standings(self, spent: Spent, keys: Mapping[str, str]) -> list[Standing]:
        """Every budget there is. ``keys``: the names of those that hold, by id."""
        found = self._standing("", self._all, spent, keys)
        for limit in self._limits:
            scopes = [f"lane:{limit.lane}"]
            if limit.key:
                scopes = [
                    f"key:{one}"
                    for one, name in keys.items()
                    if name == limit.key and not one.startswith(OTHERS)
                ]
            for scope in scopes:
                found += self._standing(scope, limit, spent, keys)
        for key_id in keys:
            own = self._scope_of(key_id)
            if own is not None:
                limit = Limit(day_micro=own.day_micro, month_micro=own.month_micro)
                found += self._standing(_scope(key_id), limit, spent, keys)
        return found

    def _standing(
        self, scope: str, limit: Limit, spent: Spent, keys: Mapping[str, str]
    ) -> list[Standing]:
        used = _used(scope, spent)
        whose = _whose(scope, keys)
        return [
            Standing(
                scope, f"{whose}{'this month' if month else 'today'}", month, used[month], micro,
                limit.stop, self._renews_at(month),
            )
            for month, micro in ((False, limit.day_micro), (True, limit.month_micro))
            if micro != NO_LIMIT
        ]  # fmt: skip

    def _of(self, key: str, lane: str) -> list[Limit]:
        return [
            limit
            for limit in self._limits
            if (limit.key and limit.key == key) or (limit.lane and limit.lane == lane)
        ]

    def _renews_at(self, month: bool) -> int:
        now = datetime.fromtimestamp(self._clock(), UTC)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        then = (today.replace(day=28) + timedelta(days=4)).replace(day=1) if month else (
            today + timedelta(days=1)
        )  # fmt: skip
        return int(then.timestamp() * 1000)


def dollars(micro: int) -> str:
    """``$1.50``, and as many places as a small sum needs: ``$0.000120``."""
    if micro % 10_000 == 0 or micro >= 100 * _MICRO:
        return f"${micro / _MICRO:.2f}"
    return f"${micro / _MICRO:.4f}" if micro % 100 == 0 else f"${micro / _MICRO:.6f}"


def clock(ms: int) -> str:
    """A moment as the owner's clock has it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(ms / 1000))


def _caps(scope: str, day: int, month: int, kept: int = 0) -> list[Cap]:
    caps = []
    if day != NO_LIMIT:
        caps.append(Cap(scope, max(0, day - kept)))
    if month != NO_LIMIT:
        caps.append(Cap(scope, max(0, month - kept), month=True))
    return caps


def _used(scope: str, spent: Spent) -> tuple[int, int]:
    """Of a day and a month; all is the sum of the shares."""
    scopes = (scope,) if scope else _SHARES
    found = [spent.get(one, (0, 0)) for one in scopes]
    return sum(one[0] for one in found), sum(one[1] for one in found)


def _scope(key_id: str) -> str:
    return key_id if key_id.startswith(OTHERS) else f"key:{key_id}"


def _key_id(scope: str) -> str:
    return scope.removeprefix("key:")


def _whose(scope: str, keys: Mapping[str, str]) -> str:
    kind, _, name = scope.partition(":")
    if scope.startswith(OTHERS):
        return f"of {keys.get(scope) or name} "
    if kind == "key":
        return f"of the key {keys.get(name) or name} "
    return f"of the lane {name} " if kind == "lane" else ""


def _kept(reserve: int) -> str:
    return f" ({dollars(reserve)} more are kept for the owner's chat)" if reserve else ""


def _where_to_raise(cap: Cap, key: str) -> str:
    if cap.scope.startswith("key:"):
        return f"raise it (`stead key set {key} --budget-{'month' if cap.month else 'day'} USD`)"
    if cap.scope.startswith(OTHERS):
        period = "month" if cap.month else "day"
        return f"let the owner raise it (`stead person change {key} --budget-{period} USD`)"
    return "raise it (under [budget] in stead.toml)"
