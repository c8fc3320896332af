"""What was measured on: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import apsw
import psutil

from bench.disk import file_system


def words(scratch: Path) -> list[str]:
    """The machine in lines."""
    system = platform.freedesktop_os_release() if sys.platform == "linux" else {}
    return [
        f"{date.today().isoformat()}, commit {_commit()}",
        f"{os.cpu_count()} cores ({_processor()}), {psutil.virtual_memory().total / 1e9:.0f} GB "
        f"of memory, disk: {file_system(scratch) or 'unknown file system'}",
        f"{system.get('PRETTY_NAME', platform.system())}, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, "
        f"SQLite {apsw.sqlitelibversion()}",
        f"load when begun: {os.getloadavg()[0]:.1f} (everything measured runs on these same cores)",
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    root = Path(__file__).resolve().parent.parent
    try:
        told = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told.stdout.strip()
