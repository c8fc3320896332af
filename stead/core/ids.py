"""Identifiers: UUID version 7 (RFC 9562, section 5.7), strictly increasing in one process."""

from __future__ import annotations

import os
import threading
import time

_lock = threading.Lock()
_last = 0

_SUB_BITS = 12
_POOL = 4096
_pool = ""
"""Random digits, of which some are used."""
_used = 0
_millis = -1
_stamp = ""
"""What ids of that millisecond begin with."""
#: The variant's two bits in front of the first two random ones.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def uuid7() -> str:
    """Return a new UUIDv7 as 36 characters; text order is creation order.

    The 12 bits of ``rand_a`` carry the fraction of the millisecond, as method 3
    of RFC 9562 section 6.2 allows. A clock that stands still or steps back does
    not break the order: the last value plus one is taken instead.
    """
    global _last, _pool, _used, _millis, _stamp
    fine = time.time_ns() * (1 << _SUB_BITS) // 1_000_000
    with _lock:
        if fine <= _last:
            fine = _last + 1
        _last = fine
        if fine >> _SUB_BITS != _millis:
            _millis = fine >> _SUB_BITS
            text = f"{_millis & 0xFFFFFFFFFFFF:012x}"
            _stamp = f"{text[:8]}-{text[8:]}-7"
        at, stamp = _used, _stamp
        if at == len(_pool):
            _pool, at = os.urandom(_POOL).hex(), 0  # one call of the system for many ids
        _used = at + 16
        tail = _pool[at : at + 16]
    return f"{stamp}{fine & 0xFFF:03x}-{_VARIANT[tail[0]]}{tail[1:4]}-{tail[4:]}"


def _forget_pool() -> None:
    """A process that was forked must not give away the ids of its parent."""
    global _used
    _used = len(_pool)


os.register_at_fork(after_in_child=_forget_pool)


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
