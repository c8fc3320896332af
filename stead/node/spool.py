"""The spool: reports on the node's own disk until the gateway has acknowledged them.

One append-only file, one report a line::

    9ae0daaf {"kind":"events","report":{"id":"...","job_id":"...",...}}

The eight hex digits are the CRC-32 of what follows the space. Appends made at
the same time share one fsync, on a thread of the spool's own, so that a slow
disk never blocks the event loop. Whatever was torn or damaged by a crash is set
aside in ``spool/damaged-<time>`` at the next start; every whole line is kept.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stead.core.errors import HomeUnusable
from stead.core.files import sync_folder
from stead.core.wire import Events, Finish

log = logging.getLogger("stead.node")

FILE = "reports.jsonl"
COMPACT_BYTES = 4 << 20

Report = Events | Finish


class _Line(msgspec.Struct):
    kind: str
    report: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(_Line).decode
_decoders: dict[str, Callable[[msgspec.Raw], Report]] = {
    "events": msgspec.json.Decoder(Events).decode,
    "finish": msgspec.json.Decoder(Finish).decode,
}


def to_line(report: Report) -> bytes:
    """A report as one line of the file, with its checksum and newline."""
    kind = "finish" if isinstance(report, Finish) else "events"
    body = _encode(_Line(kind, msgspec.Raw(_encode(report))))
    return b"%08x %s\n" % (zlib.crc32(body), body)


def from_line(line: bytes) -> Report | None:
    """The report of a line (without its newline), or None when the line is damaged."""
    crc, space, body = line[:8], line[8:9], line[9:]
    if space != b" " or crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        head = _decode_line(body)
        return _decoders[head.kind](head.report)
    except (msgspec.DecodeError, KeyError):
        return None


@dataclass(slots=True)
class _Put:
    id: str
    line: bytes
    written: Future[None]


@dataclass(slots=True)
class _Drop:
    ids: list[str]
    refused: str = ""
    """Why the gateway refused them; then they are kept in a file for people."""


class Spool:
    """The spool of one node. Opening it locks it; a second process is refused.

    Raises ``HomeUnusable`` when the folder cannot be written or is in use.
    """

    def __init__(self, folder: Path, *, compact_bytes: int = COMPACT_BYTES) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._compact_bytes = compact_bytes
        self._fd = -1
        self._size = 0
        self._live: dict[str, tuple[int, int]] = {}
        self._dead_bytes = 0
        self._suspect = False
        self._failing = False
        self._ops: list[_Put | _Drop] = []
        self._closing = False
        self._turn = threading.Condition()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = _lock(folder / "lock")
        except OSError as error:
            raise HomeUnusable(path=folder, why=error.strerror or str(error)) from error
        try:
            self.left: list[Report] = self._recover()
            """What an earlier process could not deliver, in the order it was written."""
        except OSError as error:
            os.close(self._lock_fd)
            raise HomeUnusable(path=folder, why=error.strerror or str(error)) from error
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()

    # --- what the event loop calls; none of these blocks ----------------------

    def append(self, report: Report) -> Future[None]:
        """Keep a report; the future is done when it is on the disk.

        It carries the ``OSError`` when it could not be written: nothing of the
        report is in the file then, and everything before it still is.
        """
        put = _Put(report.id, to_line(report), Future())
        if self._closing:
            put.written.set_exception(OSError("the spool is closed"))
            return put.written
        self._push(put)
        return put.written

    def acknowledge(self, ids: Iterable[str]) -> None:
        """The gateway has these (or will never want them): they may go."""
        self._push(_Drop(list(ids)))

    def refuse(self, id: str, why: str) -> None:
        """The gateway refused this one for good: move it to ``refused.jsonl`` for people."""
        self._push(_Drop([id], refused=why))

    def close(self) -> None:
        """Write what is still to be written, and give the lock back."""
        with self._turn:
            if self._closing:
                return
            self._closing = True
            self._turn.notify()
        self._thread.join()
        os.close(self._fd)
        os.close(self._lock_fd)

    def _push(self, op: _Put | _Drop) -> None:
        with self._turn:
            self._ops.append(op)
            self._turn.notify()

    # --- the spool's own thread ----------------------------------------------

    def _work(self) -> None:
        while True:
            with self._turn:
                while not self._ops and not self._closing:
                    self._turn.wait()
                ops, self._ops = self._ops, []
                if not ops:
                    return
            self._do(ops)

    def _do(self, ops: list[_Put | _Drop]) -> None:
        """One group: all its appends with one fsync, then what was acknowledged."""
        drops = [op for op in ops if isinstance(op, _Drop)]
        gone = {id for drop in drops if not drop.refused for id in drop.ids}
        # A report that the gateway acknowledged before the disk had it needs no disk.
        puts = [op for op in ops if isinstance(op, _Put)]
        keep = [put for put in puts if put.id not in gone]
        error: OSError | None = None
        if keep:
            try:
                self._write(keep)
            except OSError as caught:
                error = caught
            self._tell(error)
        for put in puts:
            if error is not None and put.id not in gone:
                put.written.set_exception(error)
            else:
                put.written.set_result(None)
        try:
            self._forget(drops)
        except OSError as caught:
            # Kept too long, never lost: a report that stays is only sent again.
            log.warning("the spool %s could not be tidied up: %s", self.path, caught)

    def _tell(self, error: OSError | None) -> None:
        """Say once that the disk fails, and once that it works again."""
        if error is not None and not self._failing:
            log.error(
                "the spool %s cannot be written (%s): jobs go on only as fast as the gateway takes "
                "their reports, and what it does not have when this node stops is lost; "
                "free some disk",
                self.path,
                error,
            )
        elif error is None and self._failing:
            log.warning("the spool %s can be written again", self.path)
        self._failing = error is not None

    def _write(self, puts: list[_Put]) -> None:
        if self._suspect:
            self._rewrite()
        data = b"".join(put.line for put in puts)
        try:
            _write_all(self._fd, data, self._size)
            os.fsync(self._fd)
        except OSError:
            # What reached the disk is not known now. Cut the file back to what was
            # whole, and write it anew before the next append.
            self._suspect = True
            try:
                os.ftruncate(self._fd, self._size)
            except OSError as error:
                log.warning("the spool %s could not be cut back: %s", self.path, error)
            raise
        for put in puts:
            self._live[put.id] = (self._size, len(put.line))
            self._size += len(put.line)

    def _forget(self, drops: list[_Drop]) -> None:
        for drop in drops:
            for id in drop.ids:
                if id not in self._live:
                    continue
                if drop.refused:
                    self._keep_refused(id, drop.refused)
                self._dead_bytes += self._live.pop(id)[1]
        if not self._dead_bytes:
            return
        if not self._live:
            # Not synced: if the power fails now, acknowledged reports are sent again,
            # and the gateway answers what it answered before.
            os.ftruncate(self._fd, 0)
            self._size = self._dead_bytes = 0
        elif self._dead_bytes > self._compact_bytes and 2 * self._dead_bytes > self._size:
            self._rewrite()

    def _keep_refused(self, id: str, why: str) -> None:
        offset, length = self._live[id]
        line = os.pread(self._fd, length, offset)
        path = self.folder / "refused.jsonl"
        with path.open("ab") as file:
            file.write(b"# %s: %s\n" % (_stamp().encode(), why.replace("\n", " ").encode()))
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _rewrite(self) -> None:
        """Write the live lines to a new file and put it in the place of the old one."""
        items = sorted(self._live.items(), key=lambda item: item[1])
        lines = [(id, os.pread(self._fd, length, offset)) for id, (offset, length) in items]
        fd = _replace(self.path, b"".join(line for _, line in lines))
        os.close(self._fd)
        self._fd, self._size, self._dead_bytes, self._suspect = fd, 0, 0, False
        self._live.clear()
        for id, line in lines:
            self._live[id] = (self._size, len(line))
            self._size += len(line)

    # --- at start ------------------------------------------------------------

    def _recover(self) -> list[Report]:
        """Read the file; set aside what is damaged, keep and return what is whole."""
        raw = self.path.read_bytes() if self.path.exists() else b""
        reports: list[Report] = []
        good: list[bytes] = []
        bad: list[bytes] = []
        for line in raw.split(b"\n"):
            report = from_line(line)
            if report is not None:
                reports.append(report)
                good.append(line + b"\n")
            elif line:
                bad.append(line)
        if bad:
            aside = _free_name(self.folder, f"damaged-{_stamp()}")
            os.close(_replace(aside, b"\n".join(bad) + b"\n"))
            log.warning(
                "the spool %s had %d damaged line(s), %d bytes, torn by a crash or a bad disk: "
                "set aside in %s; %d whole report(s) are kept and will be sent",
                self.path, len(bad), sum(map(len, bad)), aside.name, len(good),
            )  # fmt: skip
        whole = b"".join(good)
        if whole != raw or not raw:
            self._fd = _replace(self.path, whole)
        else:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        for report, line in zip(reports, good, strict=True):
            self._live[report.id] = (self._size, len(line))
            self._size += len(line)
        return reports


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise HomeUnusable(
            path=path.parent,
            why=f"another node (process {owner}) is using it; stop that one first",
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def _replace(path: Path, data: bytes) -> int:
    """Write ``data`` to ``path`` atomically and durably; return a descriptor of the new file."""
    temp = path.with_name(path.name + ".new")
    fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, data, 0)
        os.fsync(fd)
        os.replace(temp, path)
        sync_folder(path.parent)
    except OSError:
        os.close(fd)
        raise
    return fd


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view = view[done:]
        offset += done


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _free_name(folder: Path, name: str) -> Path:
    path, count = folder / name, 1
    while path.exists():
        path, count = folder / f"{name}-{count}", count + 1
    return path
