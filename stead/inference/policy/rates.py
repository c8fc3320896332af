"""Requests and tokens a minute, and calls at once: counted in memory, in whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What is allowed; 0 is no limit."""

    requests_per_min: int = 0
    tokens_per_min: int = 0
    at_once: int = 0

    def __bool__(self) -> bool:
        return bool(self.requests_per_min or self.tokens_per_min or self.at_once)


class Gauge:
    """How much of a :class:`Rate` is used just now.

    What is allowed in a minute fills up steadily, and may be used at once when it is there. The
    tokens of a call are known only at its end, so a call takes its own estimate first, and what it
    really used may leave less than nothing: the next ones wait for that.
    """

    __slots__ = ("_at", "_requests", "_tokens", "rate", "running")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self.running = 0
        self._at = now
        self._requests = float(rate.requests_per_min)
        self._tokens = float(rate.tokens_per_min)

    def change(self, rate: Rate) -> None:
        """Another rate from now on; what is used stays used."""
        self._requests += rate.requests_per_min - self.rate.requests_per_min
        self._tokens += rate.tokens_per_min - self.rate.tokens_per_min
        self.rate = rate

    def fits(self, now: float, tokens: int) -> bool:
        """Whether a call with so many tokens fits now. Asked for each."""
        rate = self.rate
        share = (now - self._at) / _MINUTE_S
        self._at = now
        if share < 0.0:
            share = 0.0
        most = rate.requests_per_min
        if most:
            filled = self._requests + share * most
            self._requests = filled if filled < most else most
            if filled < 1:
                return False
        most = rate.tokens_per_min
        if most:
            filled = self._tokens + share * most
            self._tokens = filled if filled < most else most
            if self._tokens < tokens and self._tokens < most:
                return False  # what is larger than all of it comes through when it is full
        return not rate.at_once or self.running < rate.at_once

    def wait_s(self, now: float, tokens: int) -> tuple[float, str]:
        """How long until a call with so many tokens fits, and what it waits for; 0: it fits now."""
        self.fits(now, tokens)
        rate = self.rate
        if rate.at_once and self.running >= rate.at_once:
            return 1.0, f"at most {rate.at_once} at once"
        if rate.requests_per_min and self._requests < 1:
            short = 1 - self._requests
            return short * _MINUTE_S / rate.requests_per_min, (
                f"at most {rate.requests_per_min} requests a minute"
            )
        if rate.tokens_per_min:
            wanted = min(tokens, rate.tokens_per_min)  # or what is too large never came through
            if self._tokens < wanted:
                short = wanted - self._tokens
                return short * _MINUTE_S / rate.tokens_per_min, (
                    f"at most {rate.tokens_per_min} tokens a minute"
                )
        return 0.0, ""

    def take(self, tokens: int) -> None:
        self.running += 1
        self._requests -= 1
        self._tokens -= tokens

    def give_back(self, estimated: int, used: int) -> None:
        """A call is over."""
        self.running -= 1
        self._tokens -= used - estimated


class Held:
    """A call that is counted, until it is over."""

    __slots__ = ("_gauges", "_tokens")

    def __init__(self, gauges: Sequence[Gauge], tokens: int) -> None:
        for gauge in gauges:
            gauge.take(tokens)
        self._gauges: Sequence[Gauge] = gauges
        self._tokens = tokens

    def end(self, tokens: int) -> None:
        """Only the first time counts."""
        gauges, self._gauges = self._gauges, ()
        for gauge in gauges:
            gauge.give_back(self._tokens, tokens)


class Rates:
    """The gauges by name. They outlive a change of the configuration."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}

    def gauge(self, name: str, rate: Rate, now: float) -> Gauge:
        found = self._gauges.get(name)
        if found is None:
            found = self._gauges[name] = Gauge(rate, now)
        elif found.rate != rate:
            found.change(rate)
        return found

    def keep(self, names: frozenset[str]) -> None:
        """Forget all but these, and those in use."""
        self._gauges = {
            name: gauge
            for name, gauge in self._gauges.items()
            if name in names or gauge.running > 0
        }
