"""Identifiers: UUID version 7 (RFC 9562, section 5.7), strictly increasing in one process."""

from __future__ import annotations

import os
import threading
import time

_lock = threading.Lock()
_last = 0

_SUB_BITS = 12
_MANY = 256
_tails: list[str] = []
"""Random ends of ids, with the variant's two bits in front."""
_millis = -1
_stamp = ""
"""What ids of that millisecond begin with."""
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_FINE = [f"{n:03x}" for n in range(1 << _SUB_BITS)]


def uuid7() -> str:
    """Return a new UUIDv7 as 36 characters; text order is creation order.

    The 12 bits of ``rand_a`` carry the fraction of the millisecond, as method 3
    of RFC 9562 section 6.2 allows. A clock that stands still or steps back does
    not break the order: the last value plus one is taken instead.
    """
    global _last, _millis, _stamp
    fine = (time.time_ns() << _SUB_BITS) // 1_000_000
    with _lock:
        if fine <= _last:
            fine = _last + 1
        _last = fine
        millis = fine >> _SUB_BITS
        if millis != _millis:
            _millis = millis
            text = f"{_millis & 0xFFFFFFFFFFFF:012x}"
            _stamp = f"{text[:8]}-{text[8:]}-7"
        if not _tails:
            _more_tails()
        return _stamp + _FINE[fine & 0xFFF] + _tails.pop()


def _more_tails() -> None:
    """One call of the system for many ids."""
    digits, variant = os.urandom(8 * _MANY).hex(), _VARIANT
    _tails.extend([
        f"-{variant[digits[at]]}{digits[at + 1 : at + 4]}-{digits[at + 4 : at + 16]}"
        for at in range(0, len(digits), 16)
    ])  # fmt: skip


#: A process that was forked must not give away the ids of its parent.
os.register_at_fork(after_in_child=_tails.clear)


def go_on_after(ident: str) -> None:
    """Let every id from now on be greater than this one, which an earlier process made.

    A clock that was set back while nothing ran would else make ids that sort before those
    that are stored. What is no UUIDv7 changes nothing.
    """
    global _last
    try:
        value = int(ident.replace("-", ""), 16)
    except ValueError:
        return
    if value >> 76 & 0xF != 7 or value >> 128:
        return
    with _lock:
        _last = max(_last, (value >> 80) << _SUB_BITS | value >> 64 & ((1 << _SUB_BITS) - 1))
