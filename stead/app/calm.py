"""How the gateway collects garbage."""

from __future__ import annotations

import gc


def calm_collector() -> None:
    """What was made at the start stays to the end, so the collector need not look at it again.

    Nearly all that a request makes is freed by counting; the rest may wait a little longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
