"""Identifiers: UUID version 7 (RFC 9562, section 5.7), strictly increasing in one process."""

from __future__ import annotations

import os
import threading
import time

_lock = threading.Lock()
_last = 0

_RANDOM_BITS = 62
_SUB_BITS = 12


def uuid7() -> str:
    """Return a new UUIDv7 as 36 characters; text order is creation order.

    The 12 bits of ``rand_a`` carry the fraction of the millisecond, as method 3
    of RFC 9562 section 6.2 allows. A clock that stands still or steps back does
    not break the order: the last value plus one is taken instead.
    """
    global _last
    fine = time.time_ns() * (1 << _SUB_BITS) // 1_000_000
    with _lock:
        fine = max(fine, _last + 1)
        _last = fine
    millis, sub = fine >> _SUB_BITS, fine & ((1 << _SUB_BITS) - 1)
    tail = int.from_bytes(os.urandom(8), "big") & ((1 << _RANDOM_BITS) - 1)
    value = (millis & ((1 << 48) - 1)) << 80 | 0x7 << 76 | sub << 64 | 0b10 << 62 | tail
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


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
