"""Writing to the graph: every change is one line of the journal, checked against what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import apsw
import msgspec

from stead.core.ids import go_on_after, uuid7
from stead.memory.graph import journal
from stead.memory.graph.nouns import (
    SINGLE,
    VERSION,
    BadOperation,
    End,
    Entity,
    EntityWords,
    Fact,
    FactWords,
    JournalUnusable,
    Operation,
    UnknownName,
)
from stead.memory.graph.queries import Look
from stead.memory.graph.reading import Reading, now_ms
from stead.memory.graph.state import PATH
from stead.memory.nouns import Entry

_MANY = 2_000
"""So many operations go into the journal with one fsync."""


class Graph(Reading):
    """``mask`` takes secrets out of words before they are written; ``by`` is who asks for it."""

    def __init__(
        self, home: Path, *, mask: Callable[[str], str] | None = None, by: str = "owner"
    ) -> None:
        super().__init__(home)
        self._mask = mask or _as_it_is
        self.by = by

    @contextmanager
    def _writing(self) -> Iterator[Look]:
        """Nobody else writes; all that the journal has is known."""
        with self._one:
            if self._depth:
                yield Look(self._derived.connection)
                return
            with journal.lock(self.home):
                self._catch_up()
                self._depth += 1
                try:
                    yield Look(self._derived.connection)
                finally:
                    self._depth -= 1

    def write(self, operations: Iterable[Operation]) -> None:
        """Append operations as they are, checked only for their form. Many at once are quicker.

        Raises ``BadOperation`` and ``JournalUnusable``; what was not written then does not count.
        """
        with self._writing():
            batch: list[Operation] = []
            for operation in operations:
                batch.append(_checked(operation))
                if len(batch) == _MANY:
                    self._append(batch)
                    batch = []
            if batch:
                self._append(batch)

    def _append(self, operations: Sequence[Operation]) -> None:
        derived = self._derived
        mark, before = derived.read_to()
        if journal.stamp(self.journal) != before:  # edited in this very moment
            self._catch_up()
            mark, before = derived.read_to()
        lines = journal.append(self.journal, operations, mark)
        after = journal.stamp(self.journal)
        grown = before.size + lines[-1].end - mark.end
        if after.size != grown or (before.inode and after.inode != before.inode):
            # Somebody else had his hands in it. What is there now counts; is ours?
            self._catch_up()
            if not self._ids() >= {operation.id for operation in operations}:
                why = "it was replaced by another program at the same moment. Try again"
                raise JournalUnusable(path=self.journal, why=why)
            return
        try:
            with derived.connection:
                derived.note(derived.take(lines, mark), after)
        except apsw.Error as error:  # it catches up at its next use
            why = f"{PATH} cannot be written ({error}). The journal has what you asked for"
            raise JournalUnusable(path=self.journal, why=why) from error

    def operation(self, verb: str, **words: object) -> Operation:
        """A new operation, not written yet."""
        if self._last_id:
            go_on_after(self._last_id)
        made: dict[str, object] = {
            "id": uuid7(), "v": VERSION, "at": now_ms(), "op": verb, "by": self.by,
        }  # fmt: skip
        return self._masked(_made({**made, **words}))

    @property
    def _last_id(self) -> str:
        row = self._derived.connection.execute(
            "SELECT id FROM op ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return str(row[0]) if row else ""

    def _masked(self, operation: Operation) -> Operation:
        hide = self._mask
        fact = operation.fact
        if fact is not None:
            fact = msgspec.structs.replace(
                fact, value=hide(fact.value), predicate=hide(fact.predicate)
            )
        entities = tuple(
            msgspec.structs.replace(
                one, name=hide(one.name), aliases=tuple(hide(alias) for alias in one.aliases)
            )
            for one in operation.entities
        )
        return msgspec.structs.replace(
            operation, fact=fact, entities=entities, why=hide(operation.why)
        )

    # --- asserting

    def assert_entity(
        self,
        name: str,
        kind: str = "",
        *,
        aliases: Sequence[str] = (),
        ident: str = "",
        cards: Sequence[str] = (),
        source: Sequence[str] = (),
        batch: str = "",
        new: bool = False,
    ) -> Entity:
        """Make an entity, or add names to the one of that name and kind (or ``ident``).

        ``new``: make another one, though there is one of that name.
        """
        with self._writing() as look:
            known = None if new else self._same(look, ident or name, kind)
            words = EntityWords(
                known.id if known else ident or uuid7(),
                kind=kind if not known or not known.kind else "",
                name=_name(name) if not known else "",
                aliases=tuple(_name(alias) for alias in aliases),
                cards=tuple(cards),
            )
            told = set() if known is None else {known.name, *known.aliases}
            fresh = set(words.aliases) - told
            if known and not fresh and not words.kind and not set(cards) - set(known.cards):
                return known
            self.write(
                [self.operation("assert", entities=(words,), source=tuple(source), batch=batch)]
            )
            return self.entity(words.id)

    def _same(self, look: Look, name: str, kind: str) -> Entity | None:
        """The one entity of exactly that id or name; of several the one of that kind."""
        known = look.entity(name)
        if known is not None:
            return known
        named = look.named(name) or look.by_tail(name)
        fits = [one for one in named if not kind or one.kind in (kind, "")]
        if len(fits) > 1:
            return self._meant(look, name, kind)  # says which there are
        return fits[0] if fits else None

    def assert_fact(
        self,
        subject: str,
        predicate: str,
        value: str = "",
        *,
        object: str = "",
        kind: str = "",
        object_kind: str = "",
        valid_from: int = 0,
        valid_to: int = 0,
        confidence: float = 1.0,
        source: Sequence[str] = (),
        single: bool | None = None,
        why: str = "",
        foreign: bool = False,
        due: int = 0,
        batch: str = "",
        op: str = "",
    ) -> Fact:
        """Say that something holds of ``subject`` (an id, or a name; a new one is made).

        Either ``value`` (words) or ``object`` (another entity, by id or name). What is known
        already gets one more source. Where there can be but one (``single``; None: by the
        predicate), the older by valid time ends where the newer begins, in the same operation.
        ``op``: an id of the caller's for the operation; what has it is not done again.
        """
        predicate = " ".join(predicate.replace("_", " ").split()).lower()
        if not predicate or bool(value.strip()) == bool(object.strip()):
            _refuse("a fact has a subject, a predicate, and either a value or an object")
        if valid_from and valid_to and valid_to < valid_from:
            _refuse("it would end before it begins")
        with self._writing() as look:
            if op and (done := self._done(op)) is not None and done.fact is not None:
                return self.fact(done.fact.id)
            whose, fresh = self._or_new(look, subject, kind)
            target, more = self._or_new(look, object, object_kind) if object else ("", [])
            there = look.entity(whose)
            said = look.facts(there) if there is not None else []
            known = [fact for fact in said if fact.predicate == predicate]
            if single is None:
                single = predicate in SINGLE or any(fact.single for fact in known)
            words = FactWords(
                uuid7(), whose, predicate, self._mask(value.strip()), target, valid_from, valid_to,
                confidence, single, due,
            )  # fmt: skip
            alike = [fact for fact in known if _alike(fact, words, look)]
            same = next((fact for fact in alike if _already(fact, words)), None)
            ends: list[End] = []
            if same is not None:
                words = _again(same, words)
            else:
                others = [fact for fact in known if fact not in alike] if single else []
                words, ends = _give_way(others, alike, words)
            made = self.operation(
                "assert", entities=(*fresh, *more), fact=words, ends=tuple(ends), why=why,
                source=tuple(source), foreign=foreign, batch=batch, **({"id": op} if op else {}),
            )  # fmt: skip
            if same is None or set(source) - set(same.source) or confidence > same.confidence:
                self.write([made])
            return self.fact(words.id)

    def _or_new(self, look: Look, name: str, kind: str) -> tuple[str, list[EntityWords]]:
        known = self._same(look, name, kind)
        if known is not None:
            return known.id, []
        words = EntityWords(uuid7(), kind=kind, name=_name(name))
        return words.id, [words]

    def _done(self, op: str) -> Operation | None:
        rows: Any = self._derived.connection.execute("SELECT body FROM op WHERE id = ?", (op,))
        row = rows.fetchone()
        return msgspec.json.decode(row[0], type=Operation) if row else None

    # --- ending, taking back

    def close_fact(
        self, ident: str, at: int = 0, *, why: str = "", source: Sequence[str] = (), op: str = ""
    ) -> Fact:
        """It held until ``at`` (0: now); what was known stays. ``op``: see :meth:`assert_fact`."""
        with self._writing():
            fact = self.fact(ident)
            if op and self._done(op) is not None:
                return fact
            end = at or now_ms()
            if fact.valid_from and end < fact.valid_from:
                _refuse("it would end before it begins")
            if fact.valid_to != end:
                ends = (End(fact.id, end),)
                own = {"id": op} if op else {}
                made = self.operation("close", ends=ends, why=why, source=tuple(source), **own)
                self.write([made])
            return self.fact(fact.id)

    def retract(self, *idents: str, why: str = "", batch: str = "") -> Operation:
        """Facts that never held, or entities that are not wanted; their history stays."""
        with self._writing() as look:
            known = tuple(self._id(look, ident) for ident in idents)
            made = self.operation("retract", ids=known, why=why, batch=batch)
            self.write([made])
            return made

    def _id(self, look: Look, ident: str) -> str:
        if look.fact(ident) or look.entity(ident):
            return ident
        tails = look.by_fact_tail(ident)
        return tails[0] if len(tails) == 1 else self._meant(look, ident).id

    def merge(self, into: str, *others: str, why: str = "", batch: str = "") -> Entity:
        """They are one: what is known of ``others`` is known of ``into``. ``split`` undoes it."""
        with self._writing() as look:
            whole = self._meant(look, into)
            parts = {self._meant(look, other).id: None for other in others}
            parts.pop(whole.id, None)
            if not parts:
                _refuse(f"{whole.name} is one already")
            ids = tuple(parts)
            self.write([self.operation("merge", into=whole.id, ids=ids, why=why, batch=batch)])
            return self.entity(whole.id)

    def split(
        self, name: str, *, facts: Sequence[str] = (), new_name: str = "", why: str = ""
    ) -> list[Entity]:
        """Two that were taken for one.

        Without ``facts``: everything that was merged into it is on its own again (given the id of
        one that was merged: that one). With them: a new entity gets those facts.
        """
        with self._writing() as look:
            if facts:
                return self._split_off(look, self._meant(look, name), facts, new_name, why)
            whole = self._meant(look, name)
            parts = (name,) if name in whole.members and name != whole.id else whole.members
            apart = tuple(part for part in parts if part != whole.id)
            if not apart:
                _refuse(f"nothing was merged into {whole.name}; say which facts are of another")
            self.write([self.operation("split", ids=apart, why=why)])
            after = (self.entity(ident) for ident in (whole.id, *apart))
            return list({entity.id: entity for entity in after}.values())

    def _split_off(
        self, look: Look, whole: Entity, facts: Sequence[str], new_name: str, why: str
    ) -> list[Entity]:
        of_it = {fact.id for fact in look.history(whole, "")}
        chosen = tuple(self._id(look, fact) for fact in facts)
        if not set(chosen) <= of_it:
            _refuse(f"not all of these facts are about {whole.name}")
        words = EntityWords(uuid7(), kind=whole.kind, name=_name(new_name or whole.name))
        self.write([self.operation("split", entities=(words,), ids=chosen, why=why)])
        return [self.entity(whole.id), self.entity(words.id)]

    def undo(self, ident: str = "", *, batch: str = "", why: str = "") -> Operation:
        """Take back an operation (by id, or its end; "": the last that counts), or a whole batch.

        An operation of its own: an undo is undone like anything else.
        """
        with self._writing():
            execute: Callable[..., Any] = self._derived.connection.execute
            if batch:
                rows = execute(
                    "SELECT id FROM op WHERE batch = ? AND batch != ''"
                    " AND verb != 'undo' AND NOT undone",
                    (batch,),
                ).fetchall()
                words: dict[str, object] = {"batch": batch}
            else:
                rows = self._to_undo(execute, ident)
                words = {"ids": tuple(found for (found,) in rows)}
            if not rows:
                _refuse("there is nothing to undo, or it is undone already")
            made = self.operation("undo", why=why, **words)
            self.write([made])
            return made

    def _to_undo(self, execute: Callable[..., Any], ident: str) -> list[tuple[str]]:
        if not ident:
            last = "SELECT id FROM op WHERE NOT undone AND verb != 'undo' ORDER BY seq DESC LIMIT 1"
            return list(execute(last).fetchall())
        rows = execute(
            "SELECT id, undone FROM op WHERE id = ?1 OR"
            " (length(?1) >= 6 AND substr(id, -length(?1)) = ?1)",
            (ident,),
        ).fetchall()
        if len(rows) != 1:
            hint = " It should be the id of one operation." + (" Say more of it." if rows else "")
            raise UnknownName(name=ident, hint=hint)
        return [(found,) for found, undone in rows if not undone]

    def entries(self) -> Iterator[Entry]:
        """Every fact that was not retracted, for the index; see :mod:`.entries`."""
        from stead.memory.graph.entries import entries_of  # late: they import each other

        yield from entries_of(self)


def _alike(fact: Fact, words: FactWords, look: Look) -> bool:
    """Whether both say the same, whatever the time."""
    if words.object:
        target = look.entity(words.object)
        return fact.object == (target.id if target else words.object)
    return not fact.object and _flat(fact.value) == _flat(words.value) and fact.due == words.due


def _already(fact: Fact, words: FactWords) -> bool:
    """Whether a fact that says the same covers the time of ``words``, so that nothing is new."""
    if fact.valid_to and not words.to:  # it ended; now it is said to hold
        return False
    if words.to and fact.valid_to != words.to:
        return False
    if not words.since:
        return fact.holds(now_ms()) or not fact.valid_from
    return bool(fact.valid_from) and fact.valid_from <= words.since


def _again(fact: Fact, words: FactWords) -> FactWords:
    return msgspec.structs.replace(words, id=fact.id, since=fact.valid_from, to=fact.valid_to)


def _give_way(
    others: Sequence[Fact], alike: Sequence[Fact], words: FactWords
) -> tuple[FactWords, list[End]]:
    """Only one of ``others`` at a time: the older by valid time ends where the newer begins.

    One that says the same without a beginning ends there too, as ``words`` says it better.
    """
    if others and not words.since:
        words = msgspec.structs.replace(words, since=now_ms())
    ends = [
        End(fact.id, words.since)
        for fact in alike
        if words.since and not fact.valid_from and not fact.valid_to
    ]
    for fact in others:
        if fact.valid_from <= words.since:
            if not fact.valid_to or fact.valid_to > words.since:
                ends.append(End(fact.id, words.since))
        elif not words.to or words.to > fact.valid_from:
            words = msgspec.structs.replace(words, to=fact.valid_from)
    return words, ends


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def _name(name: str) -> str:
    flat = " ".join(name.split())
    if not flat:
        _refuse("a name is empty")
    return flat


def _made(words: dict[str, object]) -> Operation:
    try:
        return _checked(Operation(**words))  # type: ignore[arg-type]
    except TypeError as error:
        raise BadOperation(why=str(error)) from error


def _checked(operation: Operation) -> Operation:
    """As it would be read back. Raises ``BadOperation``."""
    try:
        return msgspec.json.decode(msgspec.json.encode(operation), type=Operation)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise BadOperation(why=str(error)) from error


def _refuse(why: str) -> NoReturn:
    raise BadOperation(why=why)


def _as_it_is(words: str) -> str:
    return words
