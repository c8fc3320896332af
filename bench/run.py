"""The command: choose benches, run them one after the other, show what came of them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from bench import disk, machine, report
from bench.figures import Bench, Figure, Place, Skipped
from bench.registry import BENCHES


class TooLong(Exception):
    """The bench did not come to its end within its time."""


@dataclass
class Outcome:
    """What came of one bench."""

    bench: Bench
    figures: list[Figure] = field(default_factory=list)
    skipped: str = ""
    failed: str = ""
    took_s: float = 0.0
    busy: float = 0.0
    """Per cent of the machine that others kept busy just before."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when every bench could be run or was skipped for a reason, 1 else."""
    options = _options(arguments)
    if options.list:
        for bench in BENCHES:
            print(f"{bench.name:12} {bench.what}")
        return 0
    chosen = [bench for bench in BENCHES if not options.names or bench.name in options.names]
    folder = Path(options.dir).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    if disk.in_memory(folder):
        print(f"{folder} lies in memory, where a sync costs nothing; name a disk with --dir.",
              file=sys.stderr)  # fmt: skip
        return 1
    about = machine.words(folder)
    outcomes = []
    for bench in chosen:
        _progress(f"{bench.name}: {bench.what} ...")
        busy = _others(options.patience)
        outcome = _run(bench, folder, Path(options.models).expanduser())
        outcome.busy = busy
        outcomes.append(outcome)
    if options.json:
        print(json.dumps(report.as_data(outcomes, about), indent=2))
    else:
        print(report.as_text(outcomes, about))
    if options.write:
        report.write(outcomes, about)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benches to run; none: all")
    parser.add_argument("--list", action="store_true", help="name the benches and stop")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", action="store_true", help="put the table into the document")
    parser.add_argument("--dir", default=_default_dir(), help="work in this folder, on a real disk")
    parser.add_argument(
        "--models",
        default=os.environ.get("STEAD_TEST_MODELS", "~/.cache/stead-test-models"),
        help="folder with weights of the catalogue's models, NAME.gguf",
    )
    parser.add_argument(
        "--patience", type=float, default=5.0, metavar="S",
        help="wait so many seconds for a quiet machine before each bench (default: 5)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    known = {bench.name for bench in BENCHES}
    unknown = sorted(set(options.names) - known)
    if unknown:
        names = ", ".join(sorted(known))
        parser.error(f"there is no bench named {', '.join(unknown)}; there are: {names}")
    if options.write and options.names:
        parser.error("--write needs all benches, so that the document holds one run")
    return options


def _default_dir() -> str:
    """A folder on a disk: the usual one for temporary files, unless that is memory."""
    usual = tempfile.gettempdir()
    return "~/.cache/stead-bench" if disk.in_memory(Path(usual)) else usual


def _others(patience_s: float) -> float:
    """Wait a while for a quiet machine; per cent of it that is busy all the same."""
    until = time.monotonic() + patience_s
    while True:
        busy = psutil.cpu_percent(interval=0.5)
        if busy < report.QUIET or time.monotonic() > until:
            return busy


def _run(bench: Bench, folder: Path, models: Path) -> Outcome:
    outcome = Outcome(bench)
    scratch = Path(tempfile.mkdtemp(prefix="stead-bench-", dir=folder))
    begun = time.monotonic()
    try:
        with _within(bench.limit_s):
            for figure in bench.run(Place(scratch, models, bench.limit_s)):
                outcome.figures.append(figure)
    except Skipped as why:
        outcome.skipped = str(why)
    except Exception as error:  # noqa: BLE001  the edge of a bench: the others are run all the same
        outcome.failed = f"{type(error).__name__}: {error}"
    finally:
        outcome.took_s = time.monotonic() - begun
        shutil.rmtree(scratch, ignore_errors=True)
    _progress(f"{bench.name}: {report.ending(outcome.skipped, outcome.failed)} "
              f"after {outcome.took_s:.0f} s")  # fmt: skip
    return outcome


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise ``TooLong`` in the block when it is not over in time."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"it was cut off after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
