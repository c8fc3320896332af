"""Breaks one promise of stead, in the processes of a chaos run and nowhere else.

Python imports a module of this name at its start when its folder is on the path;
only the tests beside it put it there, and name the promise to be broken in
``CHAOS_BREAK``. Nothing of stead knows of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

Patch = Callable[[Any], None]


# --- the store -----------------------------------------------------------------------


def answer_before_commit(writer: Any) -> None:
    """Whoever waits for a write is told that it is done before it is."""

    def together(self: Any, batch: list[Any]) -> bool:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for item in batch:
            execute("SAVEPOINT one")
            try:
                self._do(item.bulk, [item])
            except Exception as error:  # noqa: BLE001
                execute("ROLLBACK TO one")
                item.error = error
            execute("RELEASE one")
        self._hand_back(batch)
        time.sleep(0.1)
        execute("COMMIT")
        return True

    writer.Writer._together = together


def no_sync(engine: Any) -> None:
    """What is committed stays in the memory of the machine."""
    connect = engine.connect

    def lazy(*args: Any, **more: Any) -> Any:
        connection = connect(*args, **more)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    engine.connect = lazy


def _write_over(ends: Any) -> None:
    """An attempt that has its row already gets it anew."""
    assert "INSERT INTO" in ends._NOTE
    ends._NOTE = ends._NOTE.replace("INSERT INTO", "INSERT OR REPLACE INTO")


def no_fence_for_ends(ends: Any) -> None:
    """Whoever reports an end is taken at his word, whatever the epoch."""
    ends._owns = lambda job, one: True
    _write_over(ends)


def no_fence_for_steps(jobs: Any) -> None:
    jobs.fence = lambda *args: False


def nobody_has_lost(queue: Any) -> None:
    """A worker is not told that its job is another's."""
    heartbeat = queue.Queue.heartbeat

    async def beat(self: Any, node_id: str, held: Any) -> Any:
        cancel, _ = await heartbeat(self, node_id, held)
        return cancel, []

    queue.Queue.heartbeat = beat


def a_repeated_end_counts_again(ends: Any) -> None:
    """The same report of an end, sent again, ends the job again."""
    ends._owns = lambda job, one: (job.epoch, job.node_id) == (one.report.epoch, one.node_id)
    _write_over(ends)


_writers: list[Any] = []


def remember_the_writer(writer: Any) -> None:
    begin = writer.Writer.__init__

    def init(self: Any, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        _writers.append(self)

    writer.Writer.__init__ = init


def reply_after_the_end(record: Any) -> None:
    """The reply is written a moment after the end of its job, in a transaction of its own."""
    reply = record.reply

    def later(c: Any, job: Any, text: str, role: str) -> str:
        threading.Timer(
            0.4, lambda: _writers[0].run_sync(lambda c: reply(c, job, text, role))
        ).start()
        return "later"

    record.reply = later


def open_calls_stay_open(store: Any) -> None:
    """Money set aside for a call that a crash cut off stays set aside."""

    async def close_open_calls(self: Any) -> int:
        return 0

    store.SqliteStore.close_open_calls = close_open_calls


def what_was_sent_is_sent_again(outbox: Any) -> None:
    """A reply that the other side has goes out once more."""
    mark = outbox.mark
    once: set[int] = set()

    def forget(c: Any, delivery_id: int, state: str, note: str, later: Any = outbox.NOW) -> None:
        if state in ("sent", "left", "ambiguous") and delivery_id not in once:
            once.add(delivery_id)
            state = "pending"
        mark(c, delivery_id, state, note, later)

    outbox.mark = forget


# --- in, and the order -----------------------------------------------------------------


def every_message_is_new(flow: Any) -> None:
    """A message that comes twice is taken for two."""
    accept = flow.Flow.accept

    async def accept_anew(self: Any, message: Any) -> Any:
        name = f"{message.external_id}-{time.time_ns()}"
        return await accept(self, replace(message, external_id=name))

    flow.Flow.accept = accept_anew


def all_at_once(flow: Any) -> None:
    """Messages of one conversation are worked on side by side."""
    make = flow.NewJob
    flow.NewJob = lambda **given: make(**{**given, "conc_key": None})


def log_lines_again(daily: Any) -> None:
    """The daily log does not look whether it has a line already."""
    import re

    daily._MARK = re.compile(rb"(?!)(\d)")
    write = daily.append_lines

    def slowly(*args: Any) -> None:
        write(*args)
        time.sleep(0.3)

    daily.append_lines = slowly


# --- the node -----------------------------------------------------------------------------


def nothing_is_replayed(journal: Any) -> None:
    journal.NodeJournal.past = lambda self, seq: None


def no_intent(journal: Any) -> None:
    """Calls are made without a word to the gateway before."""

    async def intend(self: Any, step: Any) -> None:
        pass

    journal.NodeJournal.intend = intend


def the_spool_forgets(spool: Any) -> None:
    """Reports are taken for kept, and are in memory only."""
    from concurrent.futures import Future

    def append(self: Any, report: Any) -> Any:
        kept: Future[None] = Future()
        kept.set_result(None)
        return kept

    spool.Spool.append = append


def half_an_answer_will_do(loop: Any) -> None:
    """An answer that broke off is passed off as whole."""
    chunk = loop.ModelChunk
    begin = loop._Job.__init__

    class Lenient:
        def __init__(self, model: Any) -> None:
            self._model = model

        async def stream(self, request: Any) -> Any:
            said = False
            try:
                async for piece in self._model.stream(request):
                    said = said or bool(piece.text)
                    yield piece
            except loop.SteadError:
                if not said:
                    raise
            yield chunk(finish="stop")

    def init(self: Any, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        self.model = Lenient(self.model)

    loop._Job.__init__ = init


BREAKS: dict[str, dict[str, Patch]] = {
    "answer before commit": {"stead.store.sqlite.writer": answer_before_commit},
    "no sync": {"stead.store.sqlite.engine": no_sync},
    "no fence": {
        "stead.store.sqlite.ends": no_fence_for_ends,
        "stead.store.sqlite.jobs": no_fence_for_steps,
        "stead.queue.queue": nobody_has_lost,
    },
    "end not idempotent": {"stead.store.sqlite.ends": a_repeated_end_counts_again},
    "reply outside of the transaction": {
        "stead.store.sqlite.writer": remember_the_writer,
        "stead.store.sqlite.record": reply_after_the_end,
    },
    "calls left open": {"stead.store.sqlite.store": open_calls_stay_open},
    "no dedupe": {"stead.flow.flow": every_message_is_new},
    "no order": {"stead.flow.flow": all_at_once},
    "log lines again": {"stead.memory.daily": log_lines_again},
    "no replay": {"stead.node.journal": nothing_is_replayed},
    "no intent": {"stead.node.journal": no_intent},
    "spool forgets": {"stead.node.spool": the_spool_forgets},
    "sent again": {"stead.store.sqlite.outbox": what_was_sent_is_sent_again},
    "half an answer": {"stead.agent.loop": half_an_answer_will_do},
}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what all others find, and patches it once it is loaded."""

    def __init__(self, patches: dict[str, Patch]) -> None:
        self._patches = dict(patches)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patch = self._patches.pop(name, None)
        if patch is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None and spec.loader is not None
        loader = spec.loader
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            patch(module)

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder(BREAKS.get(os.environ.get("CHAOS_BREAK", ""), {})))
