"""The SQLite storage: one writer thread with group commit, a few read connections."""

from stead.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
