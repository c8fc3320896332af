"""One forgetting from its beginning to its proof.

What is meant is looked up first, everywhere, and shown. Then what was found is written down by ids
and hashes (``memory/.forgetting``), and taken out place by place; each step may be done again, so a
forgetting that was cut off is simply ended at the next start. At the end every byte of the home is
searched for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stead.core.errors import BadRequest, SteadError, WrongState
from stead.core.files import sync_folder
from stead.core.forgetting import ForgetStore, Traces, Wanted
from stead.memory.daily import held
from stead.memory.files.write import locked
from stead.memory.forget import graph, history, places, tomb
from stead.memory.forget.prove import Proof, Seeker, repositories, search
from stead.memory.forget.scrub import Gone, Scrubber, personal_names
from stead.memory.forget.tomb import Buried, Hasher, UnderWay
from stead.memory.forget.wish import Wish
from stead.memory.forget.words import Matcher, Phrase, plain, probes

log = logging.getLogger(__name__)

KINDS = ("message", "person", "topic", "span", "text")
_OVER = ("", "done", "cancelled", "dead")
_SHOWN = 200
_MOST_SHOWN = 200
_JOURNAL = "knowledge/journal.jsonl"


class Index(Protocol):
    """What derives from the files and can be made anew."""

    async def reindex(self) -> object:
        """Make all of it anew; no byte of the old one is left."""
        ...


@dataclass(slots=True)
class Plan:
    """What would go, and from where. Holds the words: it is never written down."""

    wish: Wish
    traces: Traces = field(default_factory=Traces)
    entries: list[Gone] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Of a person: all the names, addresses and numbers that are meant."""
    matches: Matcher | None = None
    entities: frozenset[str] = frozenset()
    cited: frozenset[str] = frozenset()
    phrases: list[Phrase] = field(default_factory=list)
    short: int = 0
    proof: Proof = field(default_factory=Proof)
    copies: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        found = self.traces
        rows = found.jobs or found.messages or found.lines or found.rows
        return not (rows or self.entries or self.copies)

    @property
    def busy(self) -> list[str]:
        """Jobs that are not over."""
        return [
            f"job {job[-8:]} is {state}; cancel it first (`stead jobs cancel {job[-8:]}`) or wait"
            for job, state in self.traces.jobs.items()
            if state not in _OVER
        ]

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        found: dict[str, list[str]] = {}
        for path in self.proof.paths:
            found.setdefault(places.kind_of(path), []).append(path)
        return {
            "kind": self.wish.kind,
            "empty": self.empty,
            "names": self.names,
            "jobs": len(self.traces.jobs),
            "messages": [
                {"id": one.id, "at": one.at, "role": one.role, "session": one.session,
                 "text": one.text[:_SHOWN]}
                for one in self.traces.messages[:_MOST_SHOWN]
            ],
            "more_messages": max(0, len(self.traces.messages) - _MOST_SHOWN),
            "entries": [
                {"path": one.path, "line": one.line, "text": one.text[:_SHOWN]}
                for one in self.entries[:_MOST_SHOWN]
            ],
            "more_entries": max(0, len(self.entries) - _MOST_SHOWN),
            "copies": self.copies,
            "backups": found.get("backups", []),
            "yours": found.get("yours", []) + found.get("attached", []),
            "elsewhere": self.traces.elsewhere,
            "busy": self.busy,
            "searched": {"files": self.proof.files, "bytes": self.proof.bytes},
        }  # fmt: skip


class Forgetter:
    """Forgets in one home. One at a time."""

    def __init__(
        self,
        home: Path,
        store: ForgetStore,
        *,
        still: Callable[[], AbstractAsyncContextManager[None]] | None = None,
        flush: Callable[[], Any] | None = None,
        index: Index | None = None,
        sweep: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        """``still``: nothing is added to daily logs inside of it; ``flush`` (a coroutine function):
        what waits is put into them; ``sweep``: the bytes of files that hung on the messages go."""
        self._home = home
        self._store = store
        self._still = still or _nothing
        self._flush = flush
        self._index = index
        self._sweep = sweep
        self._one = asyncio.Lock()
        self.running = False
        self.last: dict[str, Any] | None = None
        """The last receipt."""

    # --- what is meant -----------------------------------------------------------------

    async def plan(self, wish: Wish) -> Plan:
        """What would go. Changes nothing. Raises ``BadRequest``, ``NotFound``."""
        plan = Plan(_checked(wish))
        await asyncio.to_thread(self._names, plan)
        plan.traces = await self._store.forget_find(_wanted(plan))
        await asyncio.to_thread(self._files, plan)
        await asyncio.to_thread(self._copies, plan)
        return plan

    def _names(self, plan: Plan) -> None:
        wish = plan.wish
        if wish.kind == "text":
            plan.matches = Matcher([Phrase.of(wish.words)])
        elif wish.kind == "topic":
            words = plain(wish.words).split() or [wish.words.strip()]
            plan.matches = Matcher(map(Phrase.of, words), together=True)
        elif wish.kind == "person":
            first = Matcher([Phrase.of(wish.words)])
            names = {wish.words.strip()}
            for path in self._paths(".vcf"):
                names |= personal_names(_lines_of(self._home / path), first)
            ids, also = graph.people(list(_lines_of(self._home / _JOURNAL)), first)
            plan.entities = frozenset(ids)
            plan.names = sorted({name.strip() for name in names | also if plain(name)})
            plan.matches = Matcher(map(Phrase.of, plan.names))

    def _files(self, plan: Plan) -> None:
        scrubber = self._scrubber(plan)
        self._look(scrubber)
        cited = frozenset(f"{one.path}#{one.line}" for one in scrubber.gone if one.line)
        if cited:  # what was drawn from these lines
            plan.cited = cited
            scrubber = self._scrubber(plan)
            self._look(scrubber)
        plan.entries = list(dict.fromkeys(scrubber.gone))

    def _look(self, scrubber: Scrubber) -> None:
        for path in self._paths():
            for _ in scrubber.scrub(path, _lines_of(self._home / path)):
                pass

    def _scrubber(self, plan: Plan, known: Iterable[str] = ()) -> Scrubber:
        wish, hasher = plan.wish, Hasher(self._home)
        notices = [one.text for one in plan.traces.messages if not one.job_id]
        return Scrubber(
            hasher, plan.matches,
            jobs=frozenset(job[-8:] for job in plan.traces.jobs),
            known=frozenset(known),
            said=frozenset(hasher.of(f"notice: {text}") for text in notices),
            since=wish.since, until=wish.until, session=wish.session, cited=plan.cited,
            entities=plan.entities,
        )  # fmt: skip

    def _copies(self, plan: Plan) -> None:
        if plan.matches is not None and plan.wish.kind != "topic":
            plan.phrases = list(plan.matches.phrases)
        else:
            texts = [one.text for one in plan.traces.messages] + plan.traces.texts
            plan.phrases, plan.short = probes([*texts, *(one.text for one in plan.entries)])
        plan.proof = search(self._home, Seeker(plan.phrases))
        kinds = ("copy", "backups") if plan.wish.backups else ("copy",)
        git = {repo.relative_to(self._home).as_posix() for repo in repositories(self._home)}
        found = [path for path in plan.proof.paths if places.kind_of(path) in kinds]
        named = places.of_jobs(self._home, plan.traces.jobs, plan.traces.calls)
        plan.copies = [
            path
            for path in dict.fromkeys([*named, *found])
            if not any(path == repo or path.startswith(f"{repo}/") for repo in git)
        ]

    def _paths(self, suffix: str = "") -> list[str]:
        """The files of memory, relative to the home."""
        found = []
        for top in places.TRUTH:
            for path in sorted((self._home / top).rglob(f"*{suffix}")):
                name = path.relative_to(self._home).as_posix()
                hidden = any(part.startswith(".") for part in name.split("/"))
                if path.is_file() and not path.is_symlink() and not hidden:
                    found.append(name)
        return [name for name in found if name != tomb.LIST.as_posix()]

    # --- doing it ------------------------------------------------------------------------

    async def run(self, wish: Wish) -> dict[str, Any]:
        """Forget; the receipt. What an earlier one left undone is ended first.

        Raises ``WrongState`` when a job is not over, and changes nothing then.
        """
        async with self._alone():
            await self._resume()
            begun = time.time()
            plan = await self.plan(wish)
            if plan.busy:
                raise WrongState(f"Nothing was forgotten: {'; '.join(plan.busy[:5])}.")
            now = int(begun * 1000)
            way = UnderWay(
                now, wish.kind, list(plan.traces.jobs), [one.id for one in plan.traces.messages],
                plan.traces.lines, plan.traces.rows, sorted({one.hash for one in plan.entries}),
                sorted({f"{one.path}#{one.hash}" for one in plan.entries}), sorted(plan.cited),
                sorted(plan.entities), await asyncio.to_thread(self._said, plan), plan.copies,
                wish.backups,
            )  # fmt: skip
            await asyncio.to_thread(tomb.begin, self._home, way)
            receipt = await self._work(way, plan)
            receipt["took_ms"] = int((time.time() - begun) * 1000)
            self.last = receipt
            return receipt

    async def resume(self) -> dict[str, Any] | None:
        """End what was cut off, if anything was; its receipt."""
        async with self._alone():
            return await self._resume()

    async def _resume(self) -> dict[str, Any] | None:
        way = await asyncio.to_thread(tomb.begun, self._home)
        if way is None:
            return None
        plan = Plan(Wish(way.kind, backups=way.backups), copies=way.derived)
        plan.traces.jobs = dict.fromkeys(way.jobs, "")
        plan.cited, plan.entities = frozenset(way.cited), frozenset(way.entities)
        self.last = await self._work(way, plan)
        return self.last

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        async with self._one:
            self.running = True
            try:
                yield
            finally:
                self.running = False

    async def _work(self, way: UnderWay, plan: Plan) -> dict[str, Any]:
        home = self._home
        buried = Buried(way.at, way.kind, way.hashes, way.jobs, way.messages, way.entities)
        await asyncio.to_thread(tomb.bury, home, buried)
        rows = await self._store.forget(way.jobs, way.messages, way.lines, way.rows)
        counts: dict[str, Any] = {"rows": rows} if rows else {}
        gone = 0 if self._sweep is None else await self._sweep()
        if self._flush is not None:
            await self._flush()
        async with self._still():
            scrubber = self._scrubber(plan, () if plan.phrases or plan.matches else way.entries)
            counts["files"] = await asyncio.to_thread(self._rewrite, scrubber)
        seeker = Seeker(plan.phrases)
        cleared = await asyncio.to_thread(
            places.clear, home, plan.copies, seeker, way.jobs, backups=way.backups
        )
        cleared.add("attached files", gone)
        counts["copies"] = cleared.counts
        said = frozenset(way.said)
        counts["history"], stays = await asyncio.to_thread(self._history, scrubber, said)
        if not await self._store.forget_clean():
            stays.append("state.db-wal: somebody reads the database; it goes with the next run")
        if counts["files"] or not seeker.phrases:
            await self._index_anew()  # its terms are no words that could be searched for
        proof = await self._prove(plan, seeker)
        await asyncio.to_thread(tomb.end, home)
        return self._receipt(way, plan, counts, [*cleared.left, *stays], proof)

    def _rewrite(self, scrubber: Scrubber) -> dict[str, int]:
        """Take it out of the files of memory; entries that went, by file."""
        with locked(self._home):
            for path in self._paths():
                before = len(scrubber.gone)
                for _ in scrubber.scrub(path, _lines_of(self._home / path)):
                    pass
                if len(scrubber.gone) > before:
                    del scrubber.gone[before:]
                    _replace(self._home, path, scrubber)
        went: dict[str, int] = {}
        for one in scrubber.gone:
            went[one.path] = went.get(one.path, 0) + bool(one.text)
        return went

    def _said(self, plan: Plan) -> list[str]:
        """Hashes of the words of commits that go."""
        seeker, hasher = Seeker(plan.phrases), Hasher(self._home)
        return [
            hasher.of(words)
            for repository in repositories(self._home)
            for words in history.messages(repository)
            if seeker.seen(words.encode("utf-8", "replace"))
        ]

    def _history(self, scrubber: Scrubber, said: frozenset[str]) -> tuple[int, list[str]]:
        """Take it out of the home's own history."""

        def change(path: str, data: bytes) -> bytes | None:
            if not path.startswith(tuple(f"{top}/" for top in places.TRUTH)):
                return data
            if path == tomb.LIST.as_posix():
                return data
            made = b"".join(scrubber.scrub(path, data.splitlines(keepends=True)))
            return made if made or not data else None

        def message(words: str) -> str:
            return "forgotten\n" if scrubber.hasher.of(words) in said else words

        many, stays = 0, []
        for repository in repositories(self._home):
            try:
                with locked(self._home):
                    many += history.rewrite(repository, change, message)
            except history.HistoryStays as error:
                stays.append(error.message)
        return many, stays

    async def _prove(self, plan: Plan, seeker: Seeker) -> Proof:
        """Search all bytes; what derives is made anew where it still holds something."""
        proof = await asyncio.to_thread(search, self._home, seeker)
        kinds = {places.kind_of(path) for path in proof.paths}
        # Without words to look for (after a crash) the database is written anew.
        blind = not seeker.phrases
        unsure = blind or plan.short > 0
        if unsure or "database" in kinds:
            await self._store.forget_clean(rewrite=True)
            proof = await asyncio.to_thread(search, self._home, seeker)
        left = [path for path in proof.paths if places.kind_of(path) == "index"]
        if left:
            await asyncio.to_thread(self._drop, left)
            proof = await asyncio.to_thread(search, self._home, seeker)
        return proof

    async def _index_anew(self) -> None:
        """What derives from the files is made anew; what cannot be goes, till it is next used."""
        await asyncio.to_thread(self._drop, ["index/graph.db", "index/contacts.db"])
        path = f"{places.INDEX}/memory.db"
        if not (self._home / path).exists():
            return
        try:
            if self._index is not None:
                await self._index.reindex()
                return
        except SteadError as error:
            log.warning("the index is dropped, as it cannot be made anew: %s", error)
        await asyncio.to_thread(self._drop, [path])

    def _drop(self, paths: list[str]) -> None:
        for path in paths:
            for end in ("", "-wal", "-shm", "-journal"):
                (self._home / f"{path}{end}").unlink(missing_ok=True)

    def _receipt(
        self, way: UnderWay, plan: Plan, counts: dict[str, Any], left: list[str], proof: Proof
    ) -> dict[str, Any]:
        kinds: dict[str, list[str]] = {}
        for path in proof.paths:
            kinds.setdefault(places.kind_of(path), []).append(path)
        for path in kinds.get("backups", []):
            left.append(
                f"{path} still holds it, until you delete that file (or forget with --backups)"
            )
        for path in kinds.get("attached", []):
            left.append(
                f"{path}: a file that hangs on a message holds it; forget that message to have the"
                " file go"
            )
        for path in kinds.get("yours", []):
            left.append(f"{path} is yours and was left as it is")
        for path in [*kinds.get("truth", []), *kinds.get("database", [])]:
            left.append(f"{path}: the same words also stand there, said apart from this")
        for path in [*kinds.get("copy", []), *kinds.get("index", [])]:
            left.append(f"{path} still holds it")
        left += [f"{where}: matches, and is kept as a name" for where in plan.traces.elsewhere]
        if plan.short:
            left.append(
                f"{plan.short} of the texts are too short to be searched for: they were taken out"
                " where they stood"
            )
        left.append("the disk may keep bytes of files that were removed, and snapshots of it")
        return {
            "at": way.at,
            "kind": way.kind,
            "jobs": len(way.jobs),
            "messages": len(way.messages),
            "counts": counts,
            "tombstones": [one[: tomb.SHOWN] for one in way.hashes],
            "left": left,
            "found": proof.paths,
            "proof": proof.words() if plan.phrases else "nothing to search for",
            "searched": {"files": proof.files, "bytes": proof.bytes},
            "took_ms": 0,
        }


def _checked(wish: Wish) -> Wish:
    if wish.kind not in KINDS:
        raise BadRequest(f"One can forget {', '.join(KINDS)}, not {wish.kind!r}.", param="kind")
    if wish.kind == "span":
        if wish.until and wish.until <= wish.since:
            raise BadRequest("A span ends after it begins.", param="until")
        if not (wish.since and wish.until):
            raise BadRequest("A span needs its beginning and its end.", param="since")
        return wish
    if not wish.words.strip():
        raise BadRequest(f"Say which {wish.kind} is to be forgotten.", param="words")
    if wish.kind in ("text", "person") and len(wish.words.strip()) < 2:
        raise BadRequest("One letter stands everywhere; say more.", param="words")
    return wish


def _wanted(plan: Plan) -> Wanted:
    wish = plan.wish
    if wish.kind == "message":
        return Wanted(idents=(wish.words.strip(),))
    if wish.kind == "span":
        return Wanted(since=wish.since, until=wish.until, session=wish.session)
    return Wanted(matches=plan.matches)


def _lines_of(path: Path) -> Iterable[bytes]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        yield from file


def _replace(home: Path, name: str, scrubber: Scrubber) -> None:
    """Put a file without what is meant in its place, at once; nobody adds to it meanwhile."""
    path = home / name
    with contextlib.ExitStack() as stack:
        if name == _JOURNAL:
            stack.enter_context(graph.lock(home))
        else:
            stack.enter_context(held(path))
        temporary = path.with_name(f".{path.name}.forget.tmp")
        many = 0
        with temporary.open("wb") as file:
            temporary.chmod(path.stat().st_mode & 0o777)
            for line in scrubber.scrub(name, _lines_of(path)):
                file.write(line)
                many += 1
            file.flush()
            os.fsync(file.fileno())
        if many or not any(one.path == name and not one.text for one in scrubber.gone):
            temporary.replace(path)
        else:
            temporary.unlink()
            path.unlink()
        sync_folder(path.parent)


@contextlib.asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield
