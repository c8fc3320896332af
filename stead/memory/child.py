"""The process that keeps the index of a home: ``python -m stead.memory.child``.

Started by :mod:`stead.memory.client` at the first question, it reads its orders from stdin, opens
the index (or makes it), answers questions, takes in what has changed in the files, and has the
meanings of new texts computed where the gateway says by whom. It ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
import time
from collections import OrderedDict
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from stead.memory.index.ranking import telling
from stead.memory.index.sqlite import SqliteIndex
from stead.memory.meaning import Embedder, EmbedFailed
from stead.memory.nouns import Found, Question
from stead.memory.places import sources_of
from stead.memory.wire import HEAD, LONGEST, Ask, EmbedAt, Orders, Told, frame

_CHANGED_S = 0.25
"""A question waits so long for changed files to be read, and this share of its time at most."""
_SHARE = 0.3
_MAKING_SHARE = 0.8
_QUERY_S = 0.4
_QUERIES = 256
_BATCH = 8
_QUIET_S = 1.0
"""Meanings of what is new are computed when nobody has asked for so long: a question has its own
computed by the same service, behind them."""
_LONGEST_S = 3.0
"""However much is asked, a few are computed after so long."""
_FETCH = 1000
_AGAIN_S = 20.0
_REST = 10.0
"""Between two looks at the files lies at least so many times what a look takes: with fifty thousand
contacts that is a third of a second."""

T = TypeVar("T")


class Child:
    """Answers what it is asked."""

    def __init__(self, orders: Orders, out: int) -> None:
        home = Path(orders.home)
        self._look_s = orders.look_s
        self._index = SqliteIndex(home, sources_of(home))
        self._out = out
        self._worker = ThreadPoolExecutor(1, "index")
        self._looked = -1e9
        self._look_took = 0.0
        self._dirty = True
        self._looking: asyncio.Task[Any] | None = None
        self._embedder: Embedder | None = None
        self._embedding: asyncio.Task[None] | None = None
        self._wanted_embed = -1e9
        self._asked = -1e9
        self._queries: OrderedDict[str, list[float]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        self._say(Told(0, "ready"))
        decode = msgspec.json.Decoder(Ask).decode
        while True:
            try:
                (size,) = HEAD.unpack(await reader.readexactly(HEAD.size))
                if size > LONGEST:
                    break
                ask = decode(await reader.readexactly(size))
            except (asyncio.IncompleteReadError, msgspec.DecodeError):
                break  # the gateway is gone, or out of its mind
            self._start(self._answer(ask))
        self._index.close()

    async def _answer(self, ask: Ask) -> None:
        try:
            told = await self._do(ask)
        except Exception as error:  # noqa: BLE001 - the edge of a request: others go on
            told = Told(ask.id, error=f"{type(error).__name__}: {error}")
        if ask.id:
            self._say(told)

    async def _do(self, ask: Ask) -> Told:
        if ask.op == "search":
            return Told(ask.id, found=await self._search(ask))
        if ask.op == "entries":
            return Told(ask.id, entries=tuple(self._index.entries(ask.keys)))
        if ask.op == "refresh":
            if self._looking is not None:  # it may have begun before what is to be found was there
                await asyncio.wait((self._looking,))
            return Told(ask.id, report=await asyncio.shield(self._begin_look()))
        if ask.op == "nudge":
            self._dirty = True
            self._look_soon()
        elif ask.op == "reindex":
            report = await self._work(self._index.rebuild, self._progress)
            self._embed_rest()
            return Told(ask.id, report=report)
        elif ask.op == "stats":
            self._look_soon()
            return Told(ask.id, stats=self._stats())
        elif ask.op == "embed":
            await self._embed_by(ask.embed)
        return Told(ask.id)

    # --- questions -----------------------------------------------------------------------------

    async def _search(self, ask: Ask) -> Found:
        question, within_s = ask.question, ask.within_s
        assert question is not None
        began = time.perf_counter()
        self._asked = time.monotonic()
        most_s = min(_QUERY_S, _SHARE * within_s)
        if ask.fresh:
            meaning = self._meaning(question, most_s)
            late, vector = await asyncio.gather(self._up_to_date(within_s, ask.fresh), meaning)
            found = self._index.search(question, vector)
        else:
            late = await self._up_to_date(within_s, ask.fresh)
            found = self._index.search(question)
            # Who is in a hurry need not wait for a model where the words say enough.
            if not telling(found.hits):
                vector = await self._meaning(question, most_s)
                found = self._index.search(question, vector) if vector is not None else found
        stale = "; ".join(filter(None, (found.stale, late)))
        took = (time.perf_counter() - began) * 1000
        return replace(found, stale=stale, took_ms=round(took, 2))

    async def _up_to_date(self, within_s: float, fresh: bool) -> str:
        """Let changed files be read first, as far as there is time. Says what was not. Who does
        not want it ``fresh`` waits only for an index that there is not yet."""
        self._look_soon()
        if self._looking is None:
            return ""
        making = bool(self._index.wanted)
        if not (fresh or making):
            return ""
        most_s = min(_CHANGED_S, _SHARE * within_s)
        wait_s = _MAKING_SHARE * within_s if making else most_s
        await asyncio.wait((self._looking,), timeout=wait_s)
        if self._looking is None or self._looking.done() or making:
            return ""
        return "files that have changed are still being read"

    def _look_soon(self) -> None:
        now = time.monotonic()
        rest_s = max(self._look_s, _REST * self._look_took)
        due = self._dirty or bool(self._index.wanted) or now - self._looked >= rest_s
        if due:
            self._begin_look()

    def _begin_look(self) -> asyncio.Task[Any]:
        """One at a time: who asks while one runs gets that one's report."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look_now())
        return self._looking

    async def _look_now(self) -> Any:
        self._dirty = False
        began = time.monotonic()
        report = None
        try:
            report = await self._work(self._index.refresh)
        finally:
            self._looked = time.monotonic()
            # What was spent on reading what had changed says nothing of the next look.
            if report is None or not (report.files or report.rebuilt):
                self._look_took = self._looked - began
            self._looking = None
        self._say(Told(0, "state", stats=self._index.brief()))
        self._embed_rest()
        return report

    def _progress(self, done: int, total: int) -> None:
        self._say(Told(0, "progress", done=done, total=total))

    def _stats(self) -> dict[str, Any]:
        told = self._index.stats()
        embedder = self._embedder
        told["embedding"] = self._embedding is not None and not self._embedding.done()
        told["embedder"] = embedder.at.model if embedder is not None else ""
        told["rss_mb"] = _used_mb()
        return told

    # --- meanings ------------------------------------------------------------------------------

    async def _embed_by(self, at: EmbedAt | None) -> None:
        if self._embedder is not None and (at is None or at != self._embedder.at):
            if at is None or at.model != self._embedder.at.model:
                self._queries.clear()
            await self._embedder.aclose()
            self._embedder = None
        if at is not None and self._embedder is None:
            self._embedder = Embedder(at)
            if self._index.model() != at.model:
                await self._work(self._index.use_model, at.model)
        self._embed_rest()

    async def _meaning(self, question: Question, within_s: float) -> list[float] | None:
        """The vector of a question, if it can be had in time."""
        if not question.text or question.exact:
            return None
        text = self._index.meant(question)
        known = self._queries.get(text)
        if known is not None:
            self._queries.move_to_end(text)
            return known
        embedder = self._embedder
        if embedder is None or self._index.model() != embedder.at.model:
            return None
        try:
            (vector,) = await embedder.vectors([text], query=True, within_s=within_s)
        except EmbedFailed:
            return None
        self._queries[text] = vector
        if len(self._queries) > _QUERIES:
            self._queries.popitem(last=False)
        return vector

    def _embed_rest(self) -> None:
        """Have the meanings computed that are missing."""
        if self._embedding is None or self._embedding.done():
            self._embedding = asyncio.ensure_future(self._embed_all())

    async def _embed_all(self) -> None:
        while rows := await self._work(self._index.without_meaning, _FETCH):
            if self._embedder is None:
                if time.monotonic() - self._wanted_embed > _AGAIN_S:
                    self._wanted_embed = time.monotonic()
                    self._say(Told(0, "want embed"))
                return
            for start in range(0, len(rows), _BATCH):
                embedder = self._embedder
                if embedder is None:
                    return
                some = rows[start : start + _BATCH]
                await self._quiet()
                try:
                    vectors = await embedder.vectors(
                        [text for _, text in some], query=False, within_s=120.0
                    )
                except EmbedFailed:
                    self._embedder = None  # the gateway says where to ask, once it is asked
                    return
                numbered = [number for number, _ in some]
                await self._work(
                    self._index.add_meanings,
                    embedder.at.model,
                    list(zip(numbered, vectors, strict=True)),
                )

    async def _quiet(self) -> None:
        until = time.monotonic() + _LONGEST_S
        # Each question moves the end of it, and none of them need know that somebody waits.
        while (left := min(until, self._asked + _QUIET_S) - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)

    # --- plumbing ------------------------------------------------------------------------------

    async def _work(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *args)

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _say(self, told: Told) -> None:
        data = memoryview(frame(told))
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except OSError:  # nobody listens: stdin ends too
            pass


def main() -> int:
    out = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # libraries print where they like
    os.close(null)
    size = HEAD.unpack(_exactly(HEAD.size))[0]
    orders = msgspec.json.decode(_exactly(size), type=Orders)
    # Reading the files must not hold up a search for long.
    sys.setswitchinterval(0.001)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(3)
    asyncio.run(_run(orders, out))
    os._exit(0)  # what its thread is in the midst of is of no use any more


async def _run(orders: Orders, out: int) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe = os.fdopen(0, "rb", buffering=0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    await Child(orders, out).serve(reader)
    os._exit(0)


def _exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return data


def _used_mb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1_000_000
    return peak // (1000 if sys.platform == "linux" else 1_000_000)


if __name__ == "__main__":
    sys.exit(main())
