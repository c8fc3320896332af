"""Looks at a home directory whose gateway does not answer: read-only, straight from the files."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import apsw

from stead import __version__
from stead.core.errors import NewerSchema, StoreUnusable
from stead.core.storage import View
from stead.inference import modelstate
from stead.inference.audit import shown
from stead.store.sqlite import approvals as questions
from stead.store.sqlite import calls as audit
from stead.store.sqlite import engine, views, writer
from stead.store.sqlite import outbox as deliveries


def status(home: Path) -> View:
    """What the files say, in the shape of ``/api/v1/status``."""
    not_yet = [_gateway_words(home)]
    counts: View = {
        "queue": {"queued": 0, "running": 0, "waiting": 0, "dead": 0, "oldest_ms": 0},
        "today": {"calls": 0, "tokens": 0, "cost_micro": 0},
        "outbox": {},
    }
    works = []
    try:
        with _database(home) as database:
            counts = views.counts(database)
        queue = counts["queue"]
        works.append(
            f"the database can be read: {queue['queued'] + queue['running']} jobs under way or"
            f" queued, {queue['waiting']} wait for you, {queue['dead']} dead; all are kept"
        )
    except StoreUnusable as error:
        not_yet.append(error.message)
    state = modelstate.read(home)
    return {
        "ok": False,
        "version": __version__,
        "home": str(home),
        "url": "",
        "since": 0,
        "works": works,
        "not_yet": not_yet,
        "model": {
            "ready": state.phase == "ready",
            "phase": state.phase,
            "name": state.model,
            "done": state.done,
            "total": state.total,
            "words": modelstate.words(state),
        },
        "nodes": [],
        "queue": counts["queue"],
        "today": {**counts["today"], "backends": counts.get("backends", [])},
        "outbox": counts["outbox"],
        "channels": [],
    }


def jobs(home: Path, **filters: Any) -> View:
    """The jobs as ``/api/v1/jobs`` lists them. Raises ``StoreUnusable``."""
    with _database(home) as database:
        return views.jobs(database, **filters)


def why(home: Path, ident: str) -> View:
    """The story of a message as ``/api/v1/why`` tells it. Raises ``NotFound``."""
    with _database(home) as database:
        return views.why(database, ident)


def calls(home: Path, **filters: Any) -> View:
    """The calls as ``/api/v1/calls`` lists them. Raises ``StoreUnusable``, ``BadRequest``."""
    with _database(home) as database:
        return views.calls(database, **filters)


def call(home: Path, ident: str) -> View:
    """One call as ``/api/v1/calls/ID`` shows it. Raises ``NotFound``."""
    with _database(home) as database:
        found = audit.shown_one(database, ident)
    found["bodies"] = shown.bodies(home / "audit", found["id"])
    return found


def call_sums(home: Path, **filters: Any) -> View:
    """The sums of calls as ``/api/v1/calls/sums`` has them. Raises ``StoreUnusable``."""
    with _database(home) as database:
        return audit.sums(database, **filters)


def outbox(home: Path, **filters: Any) -> View:
    """The replies as ``/api/v1/outbox`` lists them. Raises ``StoreUnusable``."""
    with _database(home) as database:
        return deliveries.view(database, **filters)


def delivery(home: Path, ident: str) -> View:
    """One reply as ``/api/v1/outbox/ID`` shows it. Raises ``NotFound``."""
    with _database(home) as database:
        return deliveries.show(database, ident)


def approvals(home: Path, **filters: Any) -> View:
    """The questions as ``/api/v1/approvals`` lists them."""
    with _database(home) as database:
        return questions.listed(database, filters.get("state", "open"), filters.get("limit", 50))


def approval(home: Path, ident: str) -> View:
    """One question as ``/api/v1/approvals/ID`` shows it. Raises ``NotFound``."""
    with _database(home) as database:
        return questions.one(database, ident)


def grants(home: Path, *, revoked: bool = False) -> View:
    """What is allowed for ever, as ``/api/v1/grants`` lists it; nothing where all is new."""
    if not (home / "state.db").exists():
        return {"grants": []}
    with _database(home) as database:
        return questions.granted(database, revoked)


def attempts(home: Path, ident: str) -> View:
    """The attempts at a job as ``/api/v1/jobs/ID/attempts`` tells them. Raises ``NotFound``."""
    with _database(home) as database:
        return views.attempts(database, ident)


class _database:
    """The home's database, read-only, for a ``with`` statement."""

    def __init__(self, home: Path) -> None:
        self._path = home / "state.db"

    def __enter__(self) -> Any:
        if not self._path.exists():
            raise StoreUnusable(path=self._path, why="there is none yet; `stead up` makes it")
        self._connection = engine.connect(self._path, readonly=True)
        found, known = engine.schema_version(self._connection), engine.shipped()[-1].number
        if found > known:
            self._connection.close()
            raise NewerSchema(path=self._path, found=found, known=known)
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._connection.close()
        if isinstance(error, apsw.Error):  # damage shows only where it is read
            raise StoreUnusable(path=self._path, why=writer.why(error)) from error


def _gateway_words(home: Path) -> str:
    """Whether a gateway process lives in this home, by the lock it holds."""
    path = home / "run" / "gateway.pid"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "the gateway is not running; start it with `stead up`"
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        pid = os.read(fd, 32).decode("ascii", "replace").strip()
        return f"the gateway (process {pid}) runs but does not answer; see `stead logs`"
    else:
        return "the gateway is not running; start it with `stead up`"
    finally:
        os.close(fd)


def proposals(home: Path, state: str) -> View:
    """What waits for the owner's word, as ``/api/v1/memory/review/proposals`` lists it."""
    from stead.memory.review.book import Book  # late: only these two looks need it

    return {"proposals": Book(home).proposals(state)}


def proposal(home: Path, ident: str) -> View:
    """One of them. Raises ``NotFound``."""
    from stead.memory.review.book import Book  # late: as above

    return Book(home).proposal(ident)
