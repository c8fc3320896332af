"""Forgetting in SQLite: no column of text is overlooked."""

from __future__ import annotations

from pathlib import Path

from stead.store.sqlite import engine, forget


def test_every_column_of_text_is_named(tmp_path: Path) -> None:
    """Each column of text in the schema is either blanked, or said to hold no words: one that is
    added must be put into one of the two lists."""
    path = tmp_path / "state.db"
    engine.migrate(path, tmp_path)
    connection = engine.connect(path, readonly=True)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not name.startswith("sqlite_")
    ]
    assert len(tables) > 20
    for table in tables:
        texts = {
            name
            for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")
            if kind.upper() not in ("INTEGER", "REAL")
        }
        blanked = set(forget.BLANK.get(table, ("", {}))[1])
        kept = forget.KEPT.get(table, frozenset())
        assert not blanked & kept, table
        assert texts == blanked | kept, f"{table}: {texts ^ (blanked | kept)}"
    connection.close()
