"""Changes of files that tools made, seen and taken back straight from the home directory: neither
gateway nor node has to be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stead.agent.files.back import Conflict, Told, Undone, diff_of, take_back, told, unsettled
from stead.agent.files.book import Book
from stead.agent.files.tree import Refused
from stead.core.errors import SteadError

__all__ = ["Told", "changes", "choose", "diff", "one", "undo"]

FOLDER = Path("keep") / "undo"


class NoSuchChange(SteadError):
    """There is no change {ident!r} to be found; `stead undo list` shows those that are kept."""

    code = "not_found"


class NothingToUndo(SteadError):
    """There is nothing to {verb}{where}. `stead undo list` shows what tools have changed."""

    code = "nothing_to_undo"


class UndoRefused(SteadError):
    """It was not {verb}: {why}.{back}"""

    code = "undo_refused"


class ChangedSince(UndoRefused):
    """It was not {verb}: {why}.{back}
    With --force it is done anyway; what is there now is kept and can be had back with --redo.
    {diff}"""

    code = "changed_since"


def changes(home: Path) -> tuple[list[Told], int]:
    """All that can still be taken back, the newest first; and how many a crash left that cannot
    be settled, as their workspace is away."""
    if not (home / FOLDER).is_dir():
        return [], 0
    book = Book(home / FOLDER)
    return told(book), len(unsettled(book))


def one(home: Path, ident: str) -> Told:
    """The change with this id, or whose id ends (or begins) with it. Raises ``NoSuchChange``."""
    found = [
        change
        for change in changes(home)[0]
        if ident and (change.entry.id.endswith(ident) or change.entry.id.startswith(ident))
    ]
    if len(found) != 1:
        raise NoSuchChange(ident=ident)
    return found[0]


def diff(home: Path, change: Told) -> str:
    """What it did, as a unified diff."""
    return diff_of(Book(home / FOLDER), change.entry)


def as_dict(change: Told) -> dict[str, Any]:
    """For programs."""
    entry = change.entry
    return {
        "id": entry.id,
        "at_ms": entry.at_ms,
        "tool": entry.tool,
        "job": entry.job,
        "step": entry.step,
        "workspace": entry.root,
        "paths": paths(change),
        "undone": change.undone,
        "undoes": entry.undoes,
    }


def paths(change: Told) -> list[str]:
    """What it changed."""
    return [f"{op.path} -> {op.to}" if op.to else op.path for op in change.entry.ops]


def choose(
    home: Path, *, ident: str = "", job: str = "", since_ms: int | None = None, redo: bool = False
) -> list[Told]:
    """What is to be taken back, in that order; by default the last change alone.

    ``redo``: what is to be taken back are changes that took others back. Raises ``NoSuchChange``
    and ``NothingToUndo``.
    """
    everything = changes(home)[0]
    if ident:
        named = one(home, ident)
        backs = [change for change in everything if change.entry.undoes == named.entry.id]
        found = (backs if redo else []) or [named]
    else:
        found = [
            change
            for change in everything
            if change.entry.job.endswith(job)
            and (since_ms is None or change.entry.at_ms >= since_ms)
            and bool(change.entry.undoes) is redo
        ]
    left = [change for change in found if not change.undone]
    if not left:
        if ident and found:
            why = "it has been taken back already (--redo brings it back)"
            raise UndoRefused(verb="undone", why=why, back="")
        where = f" of job {job}" if job else " since then" if since_ms is not None else ""
        raise NothingToUndo(verb="redo" if redo else "undo", where=where)
    return left if job or since_ms is not None else left[:1]


def undo(
    home: Path, chosen: list[Told], *, force: bool = False, redo: bool = False
) -> list[Undone]:
    """Take changes back, all of them or none. Raises ``UndoRefused``, ``ChangedSince``."""
    book = Book(home / FOLDER)
    done: list[Undone] = []
    verb = "redone" if redo else "undone"
    for change in chosen:
        try:
            done.append(take_back(book, change.entry.id, force=force))
        except (Refused, OSError) as problem:
            back = _bring_back(book, done)
            if isinstance(problem, Conflict) and problem.diff:
                raise ChangedSince(
                    verb=verb, why=problem, back=back, diff=problem.diff
                ) from problem
            why = problem.strerror if isinstance(problem, OSError) else problem
            raise UndoRefused(verb=verb, why=why, back=back) from problem
    return done


def _bring_back(book: Book, done: list[Undone]) -> str:
    """After a failure: all of it or none."""
    for number, undone in enumerate(reversed(done)):
        try:
            take_back(book, undone.new_id)
        except (Refused, OSError) as problem:
            return f" {len(done) - number} later changes stay undone ({problem})."
    return f" The {len(done)} later changes stay as they were." if done else ""
