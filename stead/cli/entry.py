"""The console script: quick to start, and gone at once when it is done."""

from __future__ import annotations

import contextlib
import gc
import os
import sys


def main() -> None:
    """Run one command line and end the process with its exit code.

    Of what a start makes, nothing is garbage, so the collector is told to look seldom;
    and at the end the process just leaves: taking the interpreter apart costs a tenth
    of a `stead status` and frees nothing that the system does not free.
    """
    gc.set_threshold(50_000, 20, 20)
    from stead.cli.main import main as run  # late: after the collector was told

    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed by whoever read us
            stream.flush()
    os._exit(code)
