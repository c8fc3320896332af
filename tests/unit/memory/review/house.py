"""A home with days in it, and a model that answers what its lines tell it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stead.core.errors import SteadError
from stead.core.nouns import ModelProfile, Usage
from stead.core.ports import ModelChunk, ModelRequest
from stead.memory.files.read import entries_of
from stead.memory.review.book import Book
from stead.memory.review.desk import Desk
from stead.memory.review.night import Night, Told
from stead.memory.review.nouns import Facts, Op, Operation, Terms, Used
from stead.memory.review.service import Means, Review
from stead.memory.review.shelf import FileShelf

DAY = "2026-11-20"
BOILER = "From now on Ines Weber services the boiler"
SOURCE = "memory/2026-11-20.md#L3@1a2b3c4d"


class Model:
    """Answers with what was wished of it for the lines it is shown; ``twist`` may spoil that."""

    def __init__(self) -> None:
        self.wishes: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[str] = []
        self.fails: SteadError | None = None
        self.twist: Callable[[str], str] = lambda text: text
        self.finish = "stop"
        self.usage = Usage(prompt_tokens=100, completion_tokens=20)
        self.before: Callable[[], None] = lambda: None

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        if self.fails is not None:
            raise self.fails
        said = request.messages[-1]["content"]
        self.asked.append(said)
        self.before()
        lines = said.split("Lines:\n")[1]
        found = [made for quote, made in self.wishes if quote in lines]
        yield ModelChunk(text=self.twist(json.dumps({"operations": found[:12]})))
        yield ModelChunk(finish=self.finish, usage=self.usage)


class House:
    """One home and what the review needs of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "memory").mkdir(exist_ok=True)
        (home / "keep").mkdir(exist_ok=True)
        self.model = Model()
        self.terms = Terms()
        self.told: list[str] = []
        self.commits: list[tuple[str, list[str]]] = []
        self.book = Book(home)
        self.facts: Facts | None = None
        self.used: Used | None = None
        self.ready = ""
        self.at = "03:30"
        self.profile = ModelProfile("small", context=8192)

    def day(self, *lines: str, day: str = DAY, who: str = "owner") -> Path:
        """Append what was said to a day's log, as stead writes it."""
        path = self.home / "memory" / f"{day}.md"
        known = path.read_text() if path.exists() else f"# {day}\n\n"
        for line in lines:
            number = known.count("<!-- ") + 1
            told = f"**{who}** (cli, main) [job 1a2b3c4d, node: chat]"
            if who == "stead":
                told = "**stead** [job 1a2b3c4d, waited 0.1 s, worked 1.0 s]"
            body = line.replace("\n", "\n  ")
            known += f"- 08:{number // 60:02}:{number % 60:02} {told}: {body} <!-- {number} -->\n"
        path.write_text(known)
        return path

    def wish(self, quote: str, op: str = "add", **fields: Any) -> str:
        """A line, and what the model makes of it."""
        base = {"op": op, "line": 1, "quote": quote}
        self.model.wishes.append((quote, {**base, **fields}))
        return quote

    def add(self, quote: str, topic: str, text: str = "") -> str:
        return self.wish(quote, topic=topic, text=text or quote)

    def card(
        self, name: str, *statements: str, topic: str = "", updated: str = "2026-03-01"
    ) -> Path:
        path = self.home / "memory" / "cards" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        rows = [f"- {one} <!-- since 2026-03-01, source by hand -->" for one in statements]
        head = f"---\ntopic: {topic or name}\ncreated: 2026-03-01\nupdated: {updated}\n---\n\n"
        path.write_text(f"{head}# {topic or name}\n\n" + "\n".join(rows) + "\n")
        return path

    def text(self, name: str) -> str:
        return (self.home / "memory" / "cards" / f"{name}.md").read_text()

    def cards(self) -> list[str]:
        folder = self.home / "memory" / "cards"
        return sorted(path.stem for path in folder.glob("*.md")) if folder.is_dir() else []

    def commit(self, words: str, paths: list[str]) -> str:
        self.commits.append((words, paths))
        return f"c{len(self.commits)}"

    def shelf(self) -> FileShelf:
        return FileShelf(self.home, self.commit)

    def desk(self) -> Desk:
        return Desk(self.shelf(), self.book, lambda: self.terms, self.facts)

    def run(self, *days: str, slot: str = "2026-11-21", dry_run: bool = False) -> Told:
        """One review of some days, as the service would run it."""
        night = Night(
            self.home, self.model, self.profile, self.terms, self.desk(), entries_of,
            Told(slot, dry_run), used=self.used, base=self.book.night(slot),
        )  # fmt: skip
        return asyncio.run(night.run(days or (DAY,)))

    def review(self) -> Review:
        async def tell(ident: str, words: str) -> None:
            self.told.append(words)

        means = Means(
            self.model, lambda: self.profile, lambda: self.terms, lambda: self.at, entries_of,
            tell, ready=lambda: self.ready, facts=self.facts, used=self.used,
        )  # fmt: skip
        return Review(self.home, self.shelf, means)


def operation(op: Op = Op.ADD, **fields: Any) -> Operation:
    """An operation of the owner's words that its quote bears."""
    made = Operation(op, DAY, quote="as it was said", source=SOURCE, speaker="owner", certain=True)
    return replace(made, **fields)
