"""Search in what is remembered: daily logs of made-up words, few common and most rare.

The index runs in a process of its own, as it does for the gateway; what it holds of memory is that
process's. Processor time of the thread that works stands beside the wall's: on a machine that does
other things too, the first says more.
"""

from __future__ import annotations

import itertools
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench.figures import Figure, Place, quantile
from stead.memory.index.sqlite import SqliteIndex
from stead.memory.nouns import Question
from stead.memory.places import sources_of

_A_DAY = 300
_WORDS = 60_000
_QUESTIONS = 400
_ADDS = 200
_WIDE = 384
_COMMON = "the a of to and in is it for on we you i that was be with my this have".split()  # noqa: SIM905
_SYLLABLES = "ba ro ti ka len mo sur den pla vik or tan gel fi no chu rem sta wo lin".split()  # noqa: SIM905


def run(place: Place) -> Iterable[Figure]:
    """10,000 and 100,000 entries."""
    yield from _measured(place, 10_000)
    yield from _measured(place, 100_000, aims=True)


def run_million(place: Place) -> Iterable[Figure]:
    yield from _measured(place, 1_000_000)


def _measured(place: Place, count: int, *, aims: bool = False) -> Iterator[Figure]:
    home = place.scratch / f"home-{count}"
    _fill(home, count)
    done = subprocess.run(
        [sys.executable, "-m", "bench.parts.memory_index", str(home)],
        capture_output=True, text=True, timeout=place.limit_s, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    told: dict[str, Any] = json.loads(done.stdout)
    aim: Callable[[float], float | None] = (lambda value: value) if aims else (lambda value: None)
    of = f"{count:,} entries"

    def figure(name: str, key: str, unit: str, most: float | None = None) -> Figure:
        wall = told.get(f"{key} wall")
        beside = f"{wall:.1f} {unit} by the wall clock" if wall is not None else ""
        return Figure(f"{of}: {name}", told[key], unit, aim(most) if most else None, beside=beside)

    yield figure("the index made", "made", "s", 10.0)
    yield figure("search, p50", "search p50", "ms", 15.0)
    yield figure("search, p99", "search p99", "ms", 50.0)
    if "meaning p50" in told:
        yield figure("search with vectors, p50", "meaning p50", "ms", 15.0)
        yield figure("search with vectors, p99", "meaning p99", "ms", 50.0)
    yield figure("a line added until it can be found, p50", "add p50", "ms")
    yield figure("a line added until it can be found, p99", "add p99", "ms", 10.0)
    yield figure("memory, text only", "words MB", "MB", 150.0)
    if "MB" in told:
        yield figure("memory, with vectors", "MB", "MB", 150.0)
    yield figure("the file, text only", "words file", "MB")
    if "file" in told:
        yield figure("the file, with vectors", "file", "MB")


# --- in the process of the index -----------------------------------------------------------------


def main(home: Path) -> None:
    """Prints the figures of one home as JSON."""
    index = SqliteIndex(home, sources_of(home))
    told: dict[str, float] = {}
    wall, began = time.perf_counter(), time.thread_time()
    report = index.rebuild()
    told["made"], told["made wall"] = time.thread_time() - began, time.perf_counter() - wall
    questions = _questions(home)
    _times(told, "search", [lambda q=q: index.search(q) for q in questions])  # type: ignore[misc]
    told["words MB"], told["words file"] = _used_mb(), _file_mb(home)
    log = max(home.glob("memory/*.md"))
    _times(told, "add", [lambda n=n: _add(index, log, n) for n in range(_ADDS)])  # type: ignore[misc]
    if _vectors(index, report.total):
        rng = random.Random(3)
        pairs = [(q, _vector(rng)) for q in questions]
        index.search(*pairs[0])  # the codes are read by the first
        _times(told, "meaning", [lambda p=p: index.search(*p) for p in pairs])  # type: ignore[misc]
        told["MB"], told["file"] = _used_mb(), _file_mb(home)
    index.close()
    print(json.dumps(told))


def _times(told: dict[str, float], name: str, works: list[Callable[[], object]]) -> None:
    took, walls = [], []
    for work in works:
        wall, began = time.perf_counter(), time.thread_time()
        work()
        took.append(1000 * (time.thread_time() - began))
        walls.append(1000 * (time.perf_counter() - wall))
    for share in (50, 99):
        told[f"{name} p{share}"] = quantile(took, share / 100)
        told[f"{name} p{share} wall"] = quantile(walls, share / 100)


def _add(index: SqliteIndex, log: Path, number: int) -> None:
    with log.open("a") as file:
        file.write(_line(f"barotika the line number{number} of kalenmo", 10**8 + number))
    if index.refresh().added != 1:
        raise RuntimeError("the line was not taken in")


def _vectors(index: SqliteIndex, total: int) -> bool:
    """A vector for each entry, made up."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    rng = random.Random(2)
    index.use_model("made up")
    while rows := index.without_meaning(1000):
        for start in range(0, len(rows), 100):
            some = rows[start : start + 100]
            index.add_meanings("made up", [(number, _vector(rng)) for number, _ in some])
    return True


def _vector(rng: random.Random) -> list[float]:
    """Like E5's: all in one direction, with a little of their own."""
    return [1.0 + rng.gauss(0.0, 0.5) for _ in range(_WIDE)]


def _questions(home: Path) -> list[Question]:
    rng = random.Random(5)
    files = sorted(home.glob("memory/*.md"))
    found = []
    for _ in range(_QUESTIONS):
        lines = [one for one in rng.choice(files).read_text().splitlines() if one[:2] == "- "]
        words = rng.choice(lines).split("]: ")[-1].split(" <!--")[0].split()
        found.append(Question(" ".join(rng.sample(words, min(len(words), rng.randint(2, 7))))))
    return found


def _used_mb() -> float:
    """The most that the process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1000 if sys.platform == "linux" else peak / 1e6


def _file_mb(home: Path) -> float:
    return sum(file.stat().st_size for file in (home / "index").iterdir()) / 1e6


def _fill(home: Path, count: int) -> None:
    """Daily logs with so many entries."""
    (home / "memory").mkdir(parents=True)
    rng = random.Random(1)
    weights = list(itertools.accumulate(1 / (n + 8) for n in range(_WORDS)))
    words = [_word(n) for n in range(_WORDS)]
    day, done = date(2015, 1, 1), 0
    while done < count:
        many = min(_A_DAY, count - done)
        lines = []
        for number in range(done, done + many):
            said = rng.choices(
                words, cum_weights=weights, k=max(2, int(rng.lognormvariate(2.3, 0.6)))
            )
            mixed = ((one, rng.choice(_COMMON)) if rng.random() < 0.6 else (one,) for one in said)
            lines.append(_line(" ".join(itertools.chain.from_iterable(mixed)), number))
        (home / f"memory/{day}.md").write_text(f"# {day}\n\n" + "".join(lines))
        done, day = done + many, day + timedelta(1)


def _line(text: str, number: int) -> str:
    minute = number % _A_DAY * 2
    who = f"**owner** (terminal, s{number // 20 % 3}) [job {number:08x}, light]"
    if number % 2:
        who = f"**stead** [job {number - 1:08x}, waited 0.1 s, worked 2.0 s, 9+9 tokens, $0.0000]"
    return f"- {8 + minute // 60:02}:{minute % 60:02}:00 {who}: {text} <!-- {number} -->\n"


def _word(number: int) -> str:
    number += len(_SYLLABLES)
    found = ""
    while number:
        number, at = divmod(number, len(_SYLLABLES))
        found += _SYLLABLES[at]
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
