"""A plain reader of memory for tests: every entry of every file, by the words it shares with the
question. It stands in for the index where that is not what is tested; the files are real."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stead.memory.files.read import entries_of, remembered_files
from stead.memory.nouns import Entry, Found, Hit, Question
from stead.memory.recall.words import content

DAY = 86_400_000


class Plain:
    """``Searches`` over the files of a home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.asked: list[Question] = []
        self.slow_s = 0.0

    @property
    def ready(self) -> bool:
        return (self._home / "memory").exists()

    async def search(
        self, question: Question, within_s: float = 5.0, *, fresh: bool = True
    ) -> Found:
        self.asked.append(question)
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        wanted = {*content(question.text)}
        hits = []
        if not (self._home / "memory").exists():
            return Found()
        for path in remembered_files(self._home):
            for entry in entries_of(self._home, path):
                if question.layers and entry.layer not in question.layers:
                    continue
                if entry.key in question.skip:
                    continue
                shared = len(wanted & {*content(f"{entry.text} {entry.title}")})
                if shared:
                    score = shared / max(1, len(wanted))
                    hits.append(Hit(entry, score, {"words": score}))
        hits.sort(key=lambda hit: -hit.score)
        return Found(tuple(hits[: question.limit]))


def card(home: Path, name: str, text: str, *, foreign: bool = False) -> Path:
    """A card with one line in it."""
    path = home / "memory" / "cards" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = " <!-- foreign -->" if foreign else ""
    path.write_text(f"---\ntopic: {name}\ncreated: 2026-03-01\n---\n- {text}{mark}\n")
    return path


def entries(home: Path) -> list[Entry]:
    return [entry for path in remembered_files(home) for entry in entries_of(home, path)]
