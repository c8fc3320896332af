"""How often codes may be guessed: slower for each that was wrong, by where they come from."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Wrong codes from one place that cost nothing but the answer.
_FREE = 5
_LONGEST_S = 300.0
_FORGIVEN_S = 3600.0
#: From everywhere together, in a minute.
_ALL = 100
_PLACES = 1000


@dataclass(slots=True)
class _Place:
    wrong: int = 0
    until: float = 0.0
    at: float = 0.0


class Tries:
    """Counts wrong codes; a clock that is put forward or back changes nothing.

    After five from one place it must wait for 1, 2, 4... seconds, up to five minutes, and all
    together may be wrong a hundred times a minute. A code has 50 bits: at that rate a guess at one
    that holds for ten minutes is right once in 10^12 tries of ten minutes.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._minute, self._in_minute = 0.0, 0

    def wait_s(self, address: str) -> float:
        """How long who asks from there has to wait; 0: may try now."""
        now = self._now()
        place = self._places.get(_whose(address))
        wait = 0.0 if place is None else max(0.0, place.until - now)
        if self._in_minute >= _ALL:
            wait = max(wait, self._minute + 60.0 - now)
        return wait

    def was_wrong(self, address: str) -> None:
        now, whose = self._now(), _whose(address)
        place = self._places.setdefault(whose, _Place())
        self._places.move_to_end(whose)
        if now - place.at > _FORGIVEN_S:
            place.wrong = 0
        place.at, place.wrong = now, place.wrong + 1
        if place.wrong >= _FREE:
            place.until = now + min(_LONGEST_S, 2.0 ** min(place.wrong - _FREE, 20))
        while len(self._places) > _PLACES:
            self._places.popitem(last=False)
        if now - self._minute >= 60.0:
            self._minute, self._in_minute = now, 0
        self._in_minute += 1

    def was_right(self, address: str) -> None:
        self._places.pop(_whose(address), None)


def _whose(address: str) -> str:
    """Who has one IPv6 address has all of its /64."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((int(known) >> 64 << 64, 64)))
    return str(known)
