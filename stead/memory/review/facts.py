"""The graph as the review works with it: facts of the owner's words, each with its source."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from stead.core.errors import SteadError
from stead.memory.files.times import day_of, of_day
from stead.memory.graph import Fact, Graph
from stead.memory.review.nouns import Op, Operation
from stead.memory.review.said import same

_NOTE = "note"


class GraphFacts:
    """Facts, relations and notes of one home; see :class:`~stead.memory.review.nouns.Facts`."""

    def __init__(self, home: Path, mask: Callable[[str], str]) -> None:
        self._home = home
        self._mask = mask

    def take(self, operation: Operation, ident: str) -> None:
        """Write it down; with the same ``ident`` again nothing happens. Raises ``SteadError``."""
        at = of_day(date.fromisoformat(operation.day))
        with Graph(self._home, mask=self._mask, by="review") as graph:
            if operation.op is Op.END_FACT:
                for fact in self._said(graph, operation):
                    if _object(fact, operation):
                        graph.close_fact(fact.id, at, source=(operation.source,), op=ident)
                return
            predicate, value = operation.relation, operation.other
            if operation.op is Op.NOTE:
                predicate, value = _NOTE, operation.text
            other = "" if operation.op is Op.NOTE else self._known(graph, value)
            graph.assert_fact(
                operation.topic, predicate, "" if other else value, object=other,
                valid_from=at, source=(operation.source,), op=ident,
            )  # fmt: skip

    def knows(self, operation: Operation) -> bool:
        """Whether the graph says so already (of an end: whether there is nothing to end)."""
        with Graph(self._home) as graph:
            there = any(_object(fact, operation) for fact in self._said(graph, operation))
            return there is not (operation.op is Op.END_FACT)

    def against(self, operation: Operation) -> str:
        """What would have to end for it, with its date; empty: nothing."""
        if operation.op is not Op.FACT:
            return ""
        with Graph(self._home) as graph:
            for fact in self._said(graph, operation):
                if fact.single:
                    since = f"since {day_of(fact.valid_from)}" if fact.valid_from else "so far"
                    return f"{since} it was {fact.value}"
        return ""

    def _said(self, graph: Graph, operation: Operation) -> list[Fact]:
        relation = _NOTE if operation.op is Op.NOTE else operation.relation
        predicate = " ".join(relation.replace("_", " ").split()).lower()
        try:
            return graph.facts(operation.topic, predicate=predicate)
        except SteadError:  # nobody of that name, or several
            return []

    def _known(self, graph: Graph, name: str) -> str:
        try:
            return graph.entity(name).id
        except SteadError:
            return ""


def _object(fact: Fact, operation: Operation) -> bool:
    said = operation.text if operation.op is Op.NOTE else operation.other
    return same(fact.value, said) or fact.value.casefold() == said.casefold()
