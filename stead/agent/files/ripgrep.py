"""Which files hold a text, asked of ripgrep where it is installed.

It only says which files are worth reading: the lines are found by the same code as without it, so
an answer never depends on whether it is there, but for how long it takes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

WHERE = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"
_MOST = 20_000_000
"""Bytes of names that are read."""


def candidates(
    folder: int, text: str, *, regex: bool, largest: int, skipped: Iterable[str], seconds: float
) -> set[str] | None:
    """Paths below the open folder that may hold the text, whatever its case; None where it cannot
    say: it is not there, does not understand the pattern, or took too long."""
    program = shutil.which("rg", path=WHERE)
    if program is None or not text.isascii() or not os.path.isdir("/proc/self/fd"):
        return None
    command = [
        program, "--no-config", "--no-ignore", "--hidden", "--no-messages", "--null",
        "--files-with-matches", "--ignore-case", "--max-filesize", str(largest),
        *(f"--glob=!{name}" for name in skipped),
        *(() if regex else ("--fixed-strings",)), "--regexp", text, "--", ".",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=f"/proc/self/fd/{folder}", capture_output=True, check=False,
            stdin=subprocess.DEVNULL, timeout=max(0.1, min(seconds, 60.0)), env={},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode not in (0, 1) or len(done.stdout) > _MOST:
        return None
    return {os.fsdecode(name).removeprefix("./") for name in done.stdout.split(b"\0") if name}
