"""Pruning in SQLite: no table is forgotten, and nothing young is walked through."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.core.pruning import PruneRule
from stead.store.sqlite import SqliteStore, engine, prune

#: Tables with rows of jobs that `prune.DETAIL` does not name, and what becomes of those rows.
ELSEWHERE = {
    "message": "stays: the record",
    "outbox": "settled ones go with their job, open ones stay",
    "call": "goes by its own age",
    "discarded": "goes with its job by its foreign key",
    "replay": "goes with its job by its foreign key",
    "given": "goes with its job by its foreign key",
    "recall": "goes with its job by its foreign key",
    "pruned": "what is left of a job",
    "approval": "goes with its job by its foreign key",
    "permit_grant": "stays: the owner's word, until he takes it back",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SqliteStore(tmp_path / "state.db", tmp_path / "copies").close()
    return tmp_path / "state.db"


def test_no_table_is_forgotten(path: Path) -> None:
    """A new table with rows of jobs must say what becomes of them when their job is pruned."""
    connection = engine.connect(path, readonly=True)
    found = connection.execute(
        "SELECT t.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c"
        " WHERE t.type = 'table' AND c.name = 'job_id'"
    ).fetchall()
    assert {name for (name,) in found} == {*prune.DETAIL, *ELSEWHERE}
    connection.close()


def test_space_can_be_given_back(path: Path) -> None:
    """A database is made such that its free pages can be returned."""
    connection = engine.connect(path)
    assert connection.pragma("auto_vacuum") == 2
    connection.close()


def test_what_is_young_is_not_walked_through(path: Path) -> None:
    """A batch looks its jobs up by the time in their ids."""
    connection = engine.connect(path, readonly=True)
    sql, args = prune._jobs(PruneRule((), 1, ""), "", 10)
    (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {sql}", args).fetchall()
    assert "SEARCH job USING PRIMARY KEY (id>? AND id<?)" in str(plan)
    connection.close()
