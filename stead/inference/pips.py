"""Finding a pip that can download: an environment made by uv has none of its own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

#: Where Debian keeps the wheel that it takes out of ensurepip.
_DISTRIBUTION_WHEELS = ("/usr/share/python-wheels",)
_PROBE_S = 60.0


def find() -> list[str] | None:
    """The beginning of a command line that runs pip, or None when this machine has none.

    Each candidate is tried with ``--version``: one that cannot run is passed over.
    """
    return next((command for command in _candidates() if _runs(command)), None)


def _candidates() -> Iterator[list[str]]:
    if importlib.util.find_spec("pip") is not None:
        yield [sys.executable, "-m", "pip"]
    for wheel in _bundled():
        yield [sys.executable, f"{wheel}/pip"]  # a wheel is a zip that Python can run from
    beside = Path(sys.executable).parent
    for name in ("uv", str(beside / "uv")):
        if found := shutil.which(name):
            yield [found, "tool", "run", "pip"]
    if found := shutil.which("uvx"):
        yield [found, "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            yield [found]
    if found := shutil.which("python3"):
        yield [found, "-m", "pip"]


def _bundled() -> list[Path]:
    """pip's own wheel, as it comes with Python for ensurepip."""
    places = [Path(place) for place in _DISTRIBUTION_WHEELS]
    if configured := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        places.insert(0, Path(configured))
    spec = importlib.util.find_spec("ensurepip")
    if spec is not None and spec.origin:
        places.insert(0, Path(spec.origin).parent / "_bundled")
    return [wheel for place in places for wheel in sorted(place.glob("pip-*.whl"), reverse=True)]


def _runs(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            [*command, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
