"""Programs under the shim, in a home of their own, that are killed and lose their power."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stead.chaos.faults import power, shim

ROOT = Path(__file__).resolve().parents[3]


def needed(why: str) -> None:
    """Skip where something is missing (``why`` says what); in CI that is a failure."""
    if not why:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


class Shimmed:
    """A home whose programs run under the shim."""

    def __init__(self, folder: Path, library: Path, seed: int = 0) -> None:
        self.home, self.journal = folder / "home", folder / "journal"
        self.library = library
        self.control = shim.Control(folder / "control", seed=seed)
        self.programs: list[subprocess.Popen[str]] = []
        power.begin(self.home, self.journal)

    def start(self, program: str, *args: str) -> subprocess.Popen[str]:
        """Run Python code in the home; what it prints can be read."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        env |= shim.environment(self.library, self.control, self.home, self.journal)
        process = subprocess.Popen(
            [sys.executable, "-c", program, *args],
            env=env, cwd=self.home, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.programs.append(process)
        return process

    def run(self, program: str, *args: str) -> list[str]:
        """Run it to its end; the lines it printed."""
        process = self.start(program, *args)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
        return out.splitlines()

    def until_killed(self, program: str, *args: str, line: str) -> list[str]:
        """Run it until it prints ``line``, then ``kill -9``; what it printed before."""
        process = self.start(program, *args)
        said: list[str] = []
        assert process.stdout is not None
        for told in process.stdout:
            if told.strip() == line:
                break
            said.append(told.strip())
        else:
            raise AssertionError(f"it ended without {line!r}: {said}")
        process.kill()
        rest = process.stdout.read()  # communicate() would pass over what was read ahead
        process.wait(60)
        return said + rest.splitlines()

    def cut_power(self, seed: int = 0, mode: power.Mode = "some") -> power.Loss:
        assert self.control.counts()["trouble"] == 0
        return power.lose_unsynced(self.journal, seed, mode)

    def close(self) -> None:
        for process in self.programs:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.control.close()
