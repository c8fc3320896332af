"""What was said away, brought home: nothing is lost, nothing twice, nothing forgotten comes back.

Daily logs are only added to, each device in files of its own. Operations of the graph are joined by
their ids; each side's stay in the order they were made in, whatever its clock did. Cards, standing
files and contacts are merged line by line against what was taken along; where both changed the same
lines, home's stay and a card shows both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stead.core.files import write_atomic
from stead.memory.away.copies import (
    BASE,
    Manifest,
    NoCopy,
    day_of,
    files,
    hash_of,
    is_text,
    read_manifest,
    write_manifest,
)
from stead.memory.away.three import Clash, merge
from stead.memory.daily import held
from stead.memory.files.write import locked
from stead.memory.forget import graph, tomb
from stead.memory.forget.scrub import Scrubber
from stead.memory.forget.tomb import Hasher

_JOURNAL = "knowledge/journal.jsonl"


@dataclass(slots=True)
class BroughtHome:
    """What a merge did."""

    device: str
    lines: dict[str, int] = field(default_factory=dict)
    """Entries added, by daily log."""
    operations: int = 0
    changed: list[str] = field(default_factory=list)
    """Cards, standing files and contacts."""
    conflicts: list[str] = field(default_factory=list)
    """Cards that show what both changed."""
    forgotten: int = 0
    """Entries left out, since they are to be forgotten."""
    notes: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """The files of home that were changed."""
        journal = [_JOURNAL] if self.operations else []
        return [*self.lines, *journal, *self.changed, *self.conflicts]


class Merge:
    """One run, of one copy into one home."""

    def __init__(self, home: Path, folder: Path, *, dry: bool = False) -> None:
        """Raises ``NoCopy``."""
        manifest = read_manifest(folder)
        if manifest is None:
            raise NoCopy(path=folder, why="there is no manifest; `stead memory away export` it")
        self._home = home
        self._folder = folder
        self._dry = dry
        self._manifest: Manifest = manifest
        buried = tomb.buried(home / tomb.LIST)
        self._scrubber = Scrubber(Hasher(home), buried=frozenset(tomb.hashes(buried)))
        self._entities = frozenset(one for each in buried for one in each.entities)
        self.done = BroughtHome(manifest.device)

    def run(self) -> BroughtHome:
        """Bring everything home. Again is the same as once, also after a crash in between."""
        for path in list(files(self._folder)):
            now = hash_of(self._folder / path)
            known = (self._manifest.files.get(path), self._manifest.merged.get(path))
            if path == tomb.LIST.as_posix() or now in known:
                continue
            with locked(self._home):
                self._one(path)
            if is_text(path) and not self._dry:  # home has all of it now: later changes are to this
                data = (self._folder / path).read_bytes()
                (self._folder / BASE / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_atomic(self._folder / BASE / path, data, 0o600)
            self._manifest.merged[path] = now
        gone = [path for path in self._manifest.files if not (self._folder / path).exists()]
        self.done.notes += [f"{path} is gone there; it stays here" for path in gone]
        self.done.forgotten += len([one for one in self._scrubber.gone if one.text])
        if not self._dry:
            write_manifest(self._folder, self._manifest)
        return self.done

    def _one(self, path: str) -> None:
        daily, device = day_of(path)
        if daily:
            self._daily(path, device)
        elif path == _JOURNAL:
            self._journal()
        elif is_text(path):
            self._text(path)
        elif not (self._home / path).exists():
            self._write(path, (self._folder / path).read_bytes())
            self.done.changed.append(path)
        elif hash_of(self._home / path) != hash_of(self._folder / path):
            self.done.notes.append(f"{path} differs there; home's stays")

    def _clean(self, path: str, top: Path) -> list[bytes]:
        """The lines of a file without what is forgotten; nothing where there is none."""
        try:
            with (top / path).open("rb") as file:
                return list(self._scrubber.scrub(path, file))
        except FileNotFoundError:
            return []

    # --- daily logs --------------------------------------------------------------------

    def _daily(self, path: str, device: str) -> None:
        """Entries that home does not have are added to the device's file."""
        target = path if device else path.removesuffix(".md") + f".{self.done.device}.md"
        here = Counter(entry for _, entry in self._entries(path, self._home))
        if target != path:
            here += Counter(entry for _, entry in self._entries(target, self._home))
        added: list[bytes] = []
        for entry, _ in self._entries(path, self._folder):
            key = _key(entry)
            if here[key] > 0:
                here[key] -= 1
            elif entry.strip() and not entry.startswith(b"# "):
                added.append(entry if entry.endswith(b"\n") else entry + b"\n")
        if not added:
            return
        self.done.lines[target] = self.done.lines.get(target, 0) + len(added)
        if self._dry:
            return
        place = self._home / target
        with held(place):
            old = place.read_bytes()
            head = old or f"# {Path(path).name[:10]}\n\n".encode()
            if not head.endswith(b"\n"):
                head += b"\n"
            write_atomic(place, head + b"".join(added), 0o600)

    def _entries(self, path: str, top: Path) -> Iterator[tuple[bytes, bytes]]:
        """(entry with its further lines, by what it is known again)."""
        entry = b""
        for line in self._clean(path, top):
            if entry and line.startswith((b"- ", b"#")):
                yield entry, _key(entry)
                entry = b""
            if not entry and not line.strip():
                continue
            entry += line
        if entry:
            yield entry, _key(entry)

    # --- the graph ---------------------------------------------------------------------

    def _journal(self) -> None:
        known = self._scrubber.is_buried
        theirs, gone = graph.without(
            (self._folder / _JOURNAL).read_bytes().splitlines(keepends=True),
            known, known, self._entities,
        )  # fmt: skip
        self.done.forgotten += len(gone)
        place = self._home / _JOURNAL
        with graph.lock(self._home):
            try:
                ours = place.read_bytes().splitlines(keepends=True)
            except FileNotFoundError:
                ours = []
            joined, added = join(ours, theirs)
            self.done.operations += added
            if added and not self._dry:
                place.parent.mkdir(mode=0o700, exist_ok=True)
                write_atomic(place, b"".join(joined), 0o600)

    # --- cards -------------------------------------------------------------------------

    def _text(self, path: str) -> None:
        ours = _texts(_lines(self._home / path))
        base = _texts(self._clean(path, self._folder / BASE))
        theirs = _texts(self._clean(path, self._folder))
        if not theirs or theirs in (base, ours):
            return
        if not ours:
            if base:
                self.done.notes.append(f"{path} was gone here and changed there: it is back")
            self._write(path, _bytes(theirs))
            self.done.changed.append(path)
            return
        merged = merge(base, ours, theirs)
        if merged.lines != ours:
            self._write(path, _bytes(merged.lines))
            self.done.changed.append(path)
        if merged.clashes:
            self._conflict(path, merged.clashes)

    def _conflict(self, path: str, clashes: list[Clash]) -> None:
        """A card that shows both, for the owner to settle."""
        words = json.dumps(clashes_words(clashes), ensure_ascii=False)
        mark = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:6]
        stem = Path(path).stem
        name = f"memory/cards/conflict-{stem}-{self.done.device}-{mark}.md"
        lines = [
            "---\n", f"topic: conflict in {path}\n", "tags: [conflict]\n", "---\n", "\n",
            f"{path} was changed here and on {self.done.device}, in the same lines. Home's version"
            " stands there. Settle it there and delete this card.\n",
        ]  # fmt: skip
        for clash in clashes:
            lines += ["\n", f"## Here, from line {clash.line}\n", "\n", *_ended(clash.ours)]
            lines += ["\n", f"## On {self.done.device}\n", "\n", *_ended(clash.theirs)]
        if not (self._home / name).exists():
            self._write(name, _bytes(lines))
        self.done.conflicts.append(name)

    def _write(self, path: str, data: bytes) -> None:
        if self._dry:
            return
        place = self._home / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(place, data)


def clashes_words(clashes: list[Clash]) -> list[list[str]]:
    """What they are about, whatever line they stand in."""
    return [[*one.ours, "\0", *one.theirs] for one in clashes]


def join(ours: list[bytes], theirs: list[bytes]) -> tuple[list[bytes], int]:
    """Operations of both, by their ids; and how many came new.

    Each of theirs stands behind all that stood before it there, and before what was made here later
    than it. A clock that was set back takes nothing out of its order.
    """
    inserted: dict[int, list[bytes]] = {}
    joined = [line if line.endswith(b"\n") else line + b"\n" for line in ours]
    where = {
        ident: n for n, ident in reversed([(n, _ident(one)[0]) for n, one in enumerate(joined)])
    }
    times = _times(joined)
    seen: set[str] = set()
    place = late = 0
    for line in theirs:
        ident, at = _ident(line)
        if not ident or ident in seen:
            continue
        seen.add(ident)
        late = max(late, at)
        if ident in where:
            place = max(place, where[ident] + 1)
            continue
        while place < len(joined) and times[place] <= late:
            place += 1
        inserted.setdefault(place, []).append(line.rstrip(b"\n") + b"\n")
    made: list[bytes] = []
    for n in range(len(joined) + 1):
        made += inserted.get(n, [])
        made += joined[n : n + 1]
    return made, len(made) - len(joined)


def _times(lines: list[bytes]) -> list[int]:
    """When each was made, never before the one above it."""
    found, late = [], 0
    for line in lines:
        late = max(late, _ident(line)[1])
        found.append(late)
    return found


def _ident(line: bytes) -> tuple[str, int]:
    """Id and time of an operation; empty for what is none."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(line)
        if isinstance(found, dict):
            at = found.get("at", 0)
            return str(found.get("id", "")), at if isinstance(at, int) else 0
    return "", 0


def _key(entry: bytes) -> bytes:
    return b"\n".join(line.rstrip() for line in entry.strip().split(b"\n")).rstrip()


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []


def _texts(lines: list[bytes]) -> list[str]:
    return [line.decode("utf-8", "surrogateescape") for line in lines]


def _bytes(lines: list[str]) -> bytes:
    return "".join(lines).encode("utf-8", "surrogateescape")


def _ended(lines: tuple[str, ...]) -> list[str]:
    return [line if line.endswith("\n") else line + "\n" for line in lines] or ["(nothing)\n"]
