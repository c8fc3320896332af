"""The graph against a model in plain Python that knows no database and no versions: it works out
every answer anew from the list of operations."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stead.memory.graph import Graph
from stead.memory.graph.nouns import End, EntityWords, FactWords, Operation
from stead.memory.graph.queries import Look
from stead.memory.graph.state import PATH

PEOPLE = [f"person-{n}" for n in range(4)]
FACTS = [f"fact-{n}" for n in range(6)]


class Model:
    """What a list of operations means."""

    def __init__(self, operations: list[Operation]) -> None:
        counts = [True] * len(operations)
        for at in range(len(operations) - 1, -1, -1):
            undo = operations[at]
            if undo.op != "undo" or not counts[at]:
                continue
            for before in range(at):
                of = operations[before]
                whole = undo.batch and of.batch == undo.batch and of.op != "undo"
                if whole or of.id in undo.ids:
                    counts[before] = False
        self.names: dict[str, list[str]] = {}
        self.parent: dict[str, str] = {}
        self.gone: set[str] = set()
        self.facts: dict[str, dict[str, Any]] = {}
        for number, operation in enumerate(operations):
            if counts[number]:
                getattr(self, "do_" + operation.op)(operation)

    def do_undo(self, operation: Operation) -> None:
        pass

    def do_assert(self, operation: Operation) -> None:
        for one in operation.entities:
            names = self.names.setdefault(one.id, [])
            if one.name:
                names[:] = [one.name, *(name for name in names if name != one.name)]
            names.extend(alias for alias in one.aliases if alias not in names)
            self.gone.discard(one.id)
        fact = operation.fact
        if fact is not None:
            known = self.facts.get(fact.id)
            if known is None or known["retracted"]:
                self.facts[fact.id] = {
                    "subject": fact.subject, "value": fact.value, "to": fact.to,
                    "since": fact.since, "source": list(operation.source), "retracted": False,
                }  # fmt: skip
            else:
                known["source"] += [s for s in operation.source if s not in known["source"]]
        self.do_close(operation)

    def do_close(self, operation: Operation) -> None:
        for end in operation.ends:
            if end.fact in self.facts:
                self.facts[end.fact]["to"] = end.to

    def do_retract(self, operation: Operation) -> None:
        for ident in operation.ids:
            if ident in self.facts:
                self.facts[ident]["retracted"] = True
            if ident in self.names:
                self.gone.add(ident)

    def do_merge(self, operation: Operation) -> None:
        for ident in operation.ids:
            if ident in self.names and ident != operation.into:
                self.parent[ident] = operation.into

    def do_split(self, operation: Operation) -> None:
        for one in operation.entities:
            self.do_assert(Operation("x", 1, 0, "assert", entities=(one,)))
            for ident in operation.ids:
                if ident in self.facts:
                    self.facts[ident]["subject"] = operation.entities[0].id
        for ident in operation.ids:
            if not operation.entities:
                self.parent.pop(ident, None)

    def root(self, ident: str) -> str:
        path = [ident]
        while (up := self.parent.get(path[-1])) is not None and up in self.names:
            if up in path:
                return min(path[path.index(up) :])
            path.append(up)
        return path[-1]


def seen(look: Look) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the database says of every id."""
    facts, people = {}, {}
    for ident in FACTS:
        fact = look.fact(ident)
        if fact is not None:
            facts[ident] = (
                fact.subject, fact.value, fact.valid_from, fact.valid_to, list(fact.source),
                bool(fact.known_to),
            )  # fmt: skip
    for ident in PEOPLE:
        entity = look.entity(ident)
        if entity is not None:
            names = {entity.name, *entity.aliases} - {""}
            people[ident] = (entity.id, names, set(entity.members), entity.retracted)
    return facts, people


def meant(model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
    facts = {
        ident: (
            model.root(f["subject"]), f["value"], f["since"], f["to"], f["source"], f["retracted"],
        )
        for ident, f in model.facts.items()
    }  # fmt: skip
    people = {}
    for ident in model.names:
        root = model.root(ident)
        members = {other for other in model.names if model.root(other) == root}
        names = {name for other in members for name in model.names[other]}
        people[ident] = (root, names, members, members <= model.gone)
    return facts, people


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.home = Path(self.folder.name)
        self.graph = Graph(self.home)
        self.done: list[Operation] = []

    def teardown(self) -> None:
        self.graph.close()
        self.folder.cleanup()

    def write(self, verb: Any, **words: Any) -> None:
        number = len(self.done)
        operation = Operation(f"op-{number}", 1, 1_000 + number, verb, **words)
        self.done.append(operation)
        self.graph.write([operation])

    @rule(
        who=st.sampled_from(PEOPLE), name=st.sampled_from(["", "Anna", "Bo", "Cy"]),
        alias=st.sampled_from([(), ("Anna",), ("Dee",)]), batch=st.sampled_from(["", "b"]),
    )  # fmt: skip
    def name_one(self, who: str, name: str, alias: tuple[str, ...], batch: str) -> None:
        self.write("assert", entities=(EntityWords(who, "person", name, alias),), batch=batch)

    @rule(
        fact=st.sampled_from(FACTS), who=st.sampled_from(PEOPLE), to=st.sampled_from([0, 70]),
        value=st.sampled_from(["x", "y"]), ends=st.lists(st.sampled_from(FACTS), max_size=2),
        source=st.sampled_from([(), ("a",), ("b",)]), batch=st.sampled_from(["", "b"]),
    )  # fmt: skip
    def say(
        self, fact: str, who: str, to: int, value: str, ends: list[str], source: tuple[str, ...],
        batch: str,
    ) -> None:  # fmt: skip
        words = FactWords(fact, who, "is", value, since=50, to=to)
        self.write(
            "assert", fact=words, ends=tuple(End(one, 60) for one in ends), source=source,
            batch=batch,
        )  # fmt: skip

    @rule(fact=st.sampled_from(FACTS), to=st.sampled_from([55, 80]))
    def close(self, fact: str, to: int) -> None:
        self.write("close", ends=(End(fact, to),))

    @rule(ids=st.lists(st.sampled_from(FACTS + PEOPLE), min_size=1, max_size=2))
    def retract(self, ids: list[str]) -> None:
        self.write("retract", ids=tuple(ids))

    @rule(into=st.sampled_from(PEOPLE), ids=st.lists(st.sampled_from(PEOPLE), min_size=1))
    def merge(self, into: str, ids: list[str]) -> None:
        self.write("merge", into=into, ids=tuple(ids))

    @rule(ids=st.lists(st.sampled_from(PEOPLE), min_size=1))
    def split(self, ids: list[str]) -> None:
        self.write("split", ids=tuple(ids))

    @rule(who=st.sampled_from(PEOPLE), ids=st.lists(st.sampled_from(FACTS), min_size=1))
    def split_off(self, who: str, ids: list[str]) -> None:
        self.write("split", entities=(EntityWords(who, "person", "New"),), ids=tuple(ids))

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.done), min_size=1, max_size=2))
        self.write("undo", ids=tuple(operation.id for operation in chosen))

    @rule()
    def undo_batch(self) -> None:
        self.write("undo", batch="b")

    @rule()
    def come_back(self) -> None:
        """Another process goes on."""
        self.graph.close()
        self.graph = Graph(self.home)

    @rule()
    def lose_the_index(self) -> None:
        (self.home / PATH).unlink()

    @precondition(lambda self: len(self.done) > 1)
    @rule(data=st.data())
    def edit_by_hand(self, data: st.DataObject) -> None:
        """A line is taken out with an editor."""
        which = data.draw(st.integers(0, len(self.done) - 1))
        del self.done[which]
        # Ids follow the number of lines: none may be given twice.
        self.done = [_numbered(n, operation, self.done) for n, operation in enumerate(self.done)]
        whole = b"".join(_line(operation) for operation in self.done)
        self.graph.journal.write_bytes(whole)

    @invariant()
    def agrees(self) -> None:
        with self.graph._fresh() as connection:
            assert seen(Look(connection)) == meant(Model(self.done))

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def as_known_at(self, data: st.DataObject) -> None:
        """What was known at any time is what the journal was then."""
        upto = data.draw(st.integers(0, len(self.done)))
        with self.graph._fresh() as connection:
            look = self.graph._look(connection, 999 + upto)
            assert seen(look) == meant(Model(self.done[:upto]))


def _numbered(number: int, operation: Operation, _all: list[Operation]) -> Operation:
    names = {old.id: f"op-{n}" for n, old in enumerate(_all)}
    ids = tuple(names.get(i, i) for i in operation.ids if i in names or not i.startswith("op-"))
    return msgspec.structs.replace(operation, id=f"op-{number}", at=1_000 + number, ids=ids)


def _line(operation: Operation) -> bytes:
    return msgspec.json.encode(operation) + b"\n"


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
