"""How the instances are: what their traffic and a look now and then have told.

An instance that does not answer rests, longer each time, and is then tried by one call before
it gets others again. One that says how long to wait (``Retry-After``, RFC 9110, 10.2.3) is left
alone for so long. Resting means going last; only who asked to wait is not asked at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

#: The first rest after a failure, in seconds; it doubles with each further one, up to the second.
REST_S = 1.0
REST_MAX_S = 60.0
#: An error answer may be the fault of one request, so it takes some in a row to rest.
ERRORS = 3
#: How long an instance goes last that refuses our key, or has not got the model, in seconds.
REFUSED_S = 30.0
#: A wait that was asked for is believed up to a day.
WAIT_MAX_S = 86_400.0
#: A trial that has not ended after this long does not keep others from trying, in seconds.
TRIAL_S = 10.0

_CLIENT_LEFT = 499
_NOT_NOW = frozenset({503, 529})
"""Overloaded or loading; 529 is Anthropic's."""


@dataclass(slots=True, eq=False)
class Place:
    """The state of one instance. Times are of the monotonic clock."""

    key: str
    load: int = 0
    """Calls under way."""
    failures: int = 0
    """In a row."""
    rests: int = 0
    """In a row, each twice as long as the one before."""
    rests_until: float = 0.0
    """0: it is not resting, nor on trial after a rest."""
    trial_at: float = 0.0
    """When the call began that tries it after a rest; 0: none."""
    why: str = ""
    by_look: bool = False
    """Whether looks alone told that it fails; else a call has to show that it does not."""
    waits: dict[str, tuple[float, str, bool]] = field(default_factory=dict)
    """By model: until when it shall not be asked for it, why, and whether it said so itself."""
    heard_at: float = -1e9
    """The last sign of life."""
    changed_at: float = 0.0
    """When it began to fail or came back; seconds since 1970, 0 if neither ever happened."""
    calls: int = 0
    failed: int = 0

    @property
    def well(self) -> bool:
        return not self.failures and not self.rests_until and not self.waits

    def objection(self, model: str, now: float) -> tuple[str, bool]:
        """Why it had better not be asked for a model now, and whether it must not; empty if all
        is well."""
        if self.waits and (found := self.waits.get(model)) is not None:
            until, why, strict = found
            if now < until:
                return f"{why}; {_left(until - now)}", strict
        if self.rests_until:
            if now < self.rests_until:
                return f"{self.why}; {_left(self.rests_until - now)}", False
            if self.trial_at and now - self.trial_at < TRIAL_S:
                return f"{self.why}; it is just being tried again", False
        return "", False

    def wait_s(self, model: str, now: float) -> float:
        """For how long it asked to be left alone with that model."""
        until, _, strict = self.waits.get(model, (0.0, "", False))
        return max(0.0, until - now) if strict else 0.0


class Health:
    """The state of all instances, by :attr:`~stead.inference.backends.Backend.place`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.places: dict[str, Place] = {}
        self.troubled: set[str] = set()
        """Those that are not entirely well: mostly none, which a plan sees at one look."""

    def place(self, key: str) -> Place:
        """The state of that instance, a fresh one if it was not known."""
        found = self.places.get(key)
        if found is None:
            found = self.places[key] = Place(key)
        return found

    def keep(self, keys: Iterable[str]) -> None:
        """Forget all others. Calls under way there may still end."""
        wanted = set(keys)
        for key in [key for key in self.places if key not in wanted]:
            del self.places[key]
        self.troubled &= wanted

    def began(self, key: str) -> None:
        """A call was sent there."""
        place = self.places.get(key)
        if place is None:
            return
        place.load += 1
        place.calls += 1
        if place.rests_until and not place.trial_at:
            place.trial_at = self.clock()

    def ended(self, key: str, model: str, status: int, retry_after_s: float) -> None:
        """That call ended with a status of HTTP, 0 if without an answer."""
        place = self.places.get(key)
        if place is None:
            return
        place.load = max(0, place.load - 1)
        if status == _CLIENT_LEFT:
            place.trial_at = 0.0
            return
        now = self.clock()
        asked = min(retry_after_s, WAIT_MAX_S) if retry_after_s > 0 else 0.0
        if status:
            place.heard_at = now
        if status == 429 or (status in _NOT_NOW and asked):
            self._wait(place, model, now, status, asked)
        elif status == 0 or status >= 500:
            self.failure(key, _FAILED.get(status, f"it answered {status}"), at_once=not status)
        elif status in _REFUSED:
            self._rest(place, now, REFUSED_S, f"{_REFUSED[status]} ({status})")
        elif status == 404:
            place.waits[model] = (now + REFUSED_S, "it has no such model (404)", False)
            self._mark(place)
        elif not place.well:
            place.waits.pop(model, None)
            self.fine(key)

    def failure(self, key: str, why: str, *, at_once: bool = True, by_look: bool = False) -> None:
        """It failed, at a call or (``by_look``) when it was looked at. Not ``at_once``: it rests
        only if that happened some times in a row."""
        place = self.places.get(key)
        if place is None:
            return
        place.by_look = by_look and (place.by_look or not place.failures)
        place.failures += 1
        place.failed += 1
        now = self.clock()
        if now < place.rests_until:
            return  # of a call that was under way when it began to rest: it counts once
        if at_once or place.rests_until or place.failures >= ERRORS:
            rest = min(REST_MAX_S, REST_S * 2.0 ** min(place.rests, 16))
            place.rests += 1
            self._rest(place, now, rest, why)
        else:
            self._mark(place)

    def fine(self, key: str) -> None:
        """It answered as it should, or a look at it went well."""
        place = self.places.get(key)
        if place is None:
            return
        place.heard_at = self.clock()
        if place.rests_until:
            place.changed_at = time.time()
        place.failures = place.rests = 0
        place.rests_until = place.trial_at = 0.0
        place.why = ""
        place.by_look = False
        self._mark(place)

    def reached(self, key: str) -> None:
        """A look at it went well. It gets calls again, and one of them shows whether it is well:
        a server may list its models and yet fail at each."""
        place = self.places.get(key)
        if place is None:
            return
        now = self.clock()
        place.heard_at = now
        if place.rests_until > now:
            place.rests_until = now
        if place.by_look:
            self.fine(key)
        elif place.rests_until:
            place.why = f"{place.why.partition(', and')[0]}, and answers again when looked at"

    def sweep(self) -> None:
        """Forget waits that are over."""
        now = self.clock()
        for key in list(self.troubled):
            place = self.places[key]
            for model in [name for name, wait in place.waits.items() if wait[0] <= now]:
                del place.waits[model]
            self._mark(place)

    def _wait(self, place: Place, model: str, now: float, status: int, asked_s: float) -> None:
        """It wants to be left alone: with this model, since limits are mostly counted by model."""
        place.failed += 1
        why = "its rate limit is reached (429)" if status == 429 else f"it is busy ({status})"
        place.trial_at = 0.0
        wait = asked_s or REST_S * 2
        place.waits[model] = (now + wait, why, bool(asked_s) and status == 429)
        self._mark(place)

    def _rest(self, place: Place, now: float, rest_s: float, why: str) -> None:
        if not place.rests_until:
            place.changed_at = time.time()
        place.rests_until = now + rest_s
        place.trial_at = 0.0
        place.why = why
        self._mark(place)

    def _mark(self, place: Place) -> None:
        (self.troubled.discard if place.well else self.troubled.add)(place.key)


_REFUSED = {
    401: "it refused stead's key",
    402: "its account has no money left",
    403: "it refused stead's key",
}
_FAILED = {0: "it gave no answer", 504: "it was silent for too long"}


def _left(seconds: float) -> str:
    return f"again in {seconds:.0f} s" if seconds >= 1 else "again in a moment"
