"""The graph: what is known of people, places, things; since when, from where, and until when.

The truth is ``knowledge/journal.jsonl``; ``index/graph.db`` is made from it, goes on where it
stopped, and is made anew when the journal was edited by hand or by git, or when it is damaged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
import msgspec

from stead.memory.graph import journal
from stead.memory.graph.journal import Mark
from stead.memory.graph.nouns import (
    AmbiguousName,
    Done,
    Edge,
    Entity,
    Fact,
    JournalUnusable,
    Match,
    Operation,
    Pair,
    UnknownName,
    Version,
    listed,
)
from stead.memory.graph.queries import Look
from stead.memory.graph.state import PATH, Derived


class Reading:
    """The journal's state, and questions about it. Safe for several threads, one at a time."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.journal = home / journal.PATH
        self._one = threading.RLock()
        self._derived = Derived(home / PATH, lambda: journal.lock(home))
        self._depth = 0
        self._told: list[str] = []

    def close(self) -> None:
        with self._one:
            self._derived.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- keeping up with the journal

    @contextmanager
    def _fresh(self) -> Iterator[Any]:
        """The database, with all that the journal has."""
        with self._one:
            if not self._depth and self._behind():
                with journal.lock(self.home):
                    self._catch_up()
            yield self._derived.connection

    def _behind(self) -> bool:
        if self._derived.replaced():
            return True
        try:
            return self._derived.read_to()[1] != journal.stamp(self.journal)
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError, apsw.SQLError):
            return True

    def _catch_up(self) -> None:
        """Under the lock: read what is new; all of it, where what was read is no longer there."""
        told = journal.mend(self.journal)
        if told and told not in self._told:
            self._told.append(told)
        if self._derived.replaced():
            self._derived.again()
        try:
            self._read(told)
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
            self._told.append(f"{PATH} was damaged ({error}); it was made anew from the journal")
            self._derived.anew()
            self._read(told)
        except apsw.Error as error:
            raise JournalUnusable(path=self._derived.path, why=str(error)) from error

    def _read(self, told: str) -> None:
        stamp = journal.stamp(self.journal)
        mark, before = self._derived.read_to()
        if stamp == before:
            return
        with self._derived.connection:
            if not journal.same_beginning(self.journal, mark):
                was = self._ids()
                self._derived.empty()
                mark = self._derived.take(journal.read(self.journal, Mark()), Mark())
                gone = len(was - self._ids())
                if gone:
                    lines = "1 operation was" if gone == 1 else f"{gone} operations were"
                    self._derived.complain(f"{lines} taken out of the journal by hand or by git")
            else:
                mark = self._derived.take(journal.read(self.journal, mark), mark)
            if told:
                self._derived.complain(told)
            self._derived.note(mark, stamp)

    def _ids(self) -> set[str]:
        return {ident for (ident,) in self._derived.connection.execute("SELECT id FROM op")}

    def rebuild(self) -> int:
        """Make ``index/graph.db`` anew from the journal; how many operations it has."""
        with self._one, journal.lock(self.home):
            journal.mend(self.journal)
            stamp = journal.stamp(self.journal)
            self._derived.anew()
            with self._derived.connection:
                mark = self._derived.take(journal.read(self.journal, Mark()), Mark())
                self._derived.note(mark, stamp)
            return len(self._ids())

    @property
    def trouble(self) -> list[str]:
        """What in the journal could not be understood, and what was put right, in words."""
        with self._fresh() as connection:
            rows = connection.execute("SELECT told FROM trouble ORDER BY line").fetchall()
            found: list[str] = [told for (told,) in rows]
        return [*found, *(told for told in self._told if told not in found)]

    # --- questions

    def _look(self, connection: apsw.Connection, known_at: int = 0) -> Look:
        if not known_at:
            return Look(connection)
        row = connection.execute("SELECT max(seq) FROM op WHERE at <= ?", (known_at,)).fetchone()
        return Look(connection, (row[0] if row else 0) or 0)

    def find(self, name: str, limit: int = 10, kind: str = "") -> list[Match]:
        """Entities that ``name`` may mean, the likeliest first; typos and parts of names count."""
        with self._fresh() as connection:
            return self._look(connection).find(name, limit, kind)

    def entity(self, name: str, *, kind: str = "", known_at: int = 0) -> Entity:
        """The one entity meant by an id, the end of an id, or a name.

        Raises ``UnknownName`` and ``AmbiguousName``; both name what comes near.
        """
        with self._fresh() as connection:
            return self._meant(self._look(connection, known_at), name, kind)

    def _meant(self, look: Look, name: str, kind: str = "") -> Entity:
        known = look.entity(name)
        if known is not None and not known.retracted:
            return known
        exact = [e for e in look.named(name) if not kind or e.kind == kind] or look.by_tail(name)
        if len(exact) == 1:
            return exact[0]
        near = look.find(name, 6, kind) if not exact else []
        if len(near) == 1 and near[0].score >= 0.8:
            return near[0].entity
        several = exact or [match.entity for match in near if match.score >= 0.8]
        if len(several) > 1:
            said = [f"{entity.name} ({entity.id[-8:]})" for entity in several[:6]]
            raise AmbiguousName(name=name, names=listed(said))
        hint = f" Do you mean {listed([m.entity.name for m in near[:3]])}?" if near else ""
        raise UnknownName(name=name, hint=hint)

    def entities(self, kind: str = "") -> list[Entity]:
        """Every entity, by name."""
        with self._fresh() as connection:
            return self._look(connection).all_entities(kind)

    def owners(self, paths: Iterable[str]) -> dict[str, Entity | None]:
        """Whose cards these files are; of those that never were anybody's, nothing."""
        with self._fresh() as connection:
            look = self._look(connection)
            return {path: look.by_card(path) for path in paths if look.was_card(path)}

    def facts(
        self,
        name: str = "",
        *,
        predicate: str = "",
        as_of: int = 0,
        known_at: int = 0,
        ended: bool = False,
    ) -> list[Fact]:
        """What holds (``as_of``; 0: now) by what was known (``known_at``; 0: now), oldest first.

        ``ended``: also what no longer holds then, or does not yet.
        """
        with self._fresh() as connection:
            look = self._look(connection, known_at)
            entity = self._meant(look, name) if name else None
            found = look.facts(entity, predicate)
        at = as_of or known_at or now_ms()
        return [fact for fact in found if ended or fact.holds(at)]

    def fact(self, ident: str) -> Fact:
        """By id, or the end of one. Raises ``UnknownName``."""
        with self._fresh() as connection:
            look = self._look(connection)
            found = look.fact(ident)
            if found is None:
                tails = look.by_fact_tail(ident)
                found = look.fact(tails[0]) if len(tails) == 1 else None
        if found is None:
            raise UnknownName(name=ident, hint=" It should be the id of a fact.")
        return found

    def history(self, name: str, predicate: str = "") -> list[Fact]:
        """All that was ever said of it, what was retracted too, oldest first."""
        with self._fresh() as connection:
            look = self._look(connection)
            return look.history(self._meant(look, name), predicate)

    def fact_history(self, ident: str) -> list[Version]:
        """A fact as it was known from one change to the next."""
        with self._fresh() as connection:
            return self._look(connection).versions(ident)

    def neighbours(self, name: str, *, as_of: int = 0, known_at: int = 0) -> list[Edge]:
        """What it is related to, by relations that hold then."""
        with self._fresh() as connection:
            look = self._look(connection, known_at)
            edges = look.edges(self._meant(look, name))
        at = as_of or known_at or now_ms()
        return [edge for edge in edges if edge.fact.holds(at)]

    def contradictions(self, name: str = "") -> list[Pair]:
        """Where one thing was said and then another: both, with their dates."""
        with self._fresh() as connection:
            look = self._look(connection)
            return look.contradictions(self._meant(look, name) if name else None)

    def operations(self, limit: int = 50) -> list[Done]:
        """What was done, the last first."""
        with self._fresh() as connection:
            rows = connection.execute(
                "SELECT body, line, undone FROM op ORDER BY seq DESC LIMIT ?", (limit,)
            ).fetchall()
        decode = msgspec.json.Decoder(Operation).decode
        return [Done(decode(body), line, bool(undone)) for body, line, undone in rows]

    def counts(self) -> dict[str, int]:
        """How much there is: entities, facts, holding facts, operations."""
        with self._fresh() as connection:
            look = self._look(connection)
            facts = look.facts()
            total = connection.execute("SELECT count(*) FROM op").fetchone()
        now = now_ms()
        return {
            "operations": total[0] if total else 0,
            "entities": len(self.entities()),
            "facts": len(facts),
            "holding": sum(fact.holds(now) for fact in facts),
        }


def now_ms() -> int:
    return time.time_ns() // 1_000_000
