"""The shim: a library that stands between a process and its disk and clock.

It is compiled from the C files beside this one and loaded into the tested process with
``LD_PRELOAD``; the process itself is not changed. What it does is said through a control file
while the process runs::

    library = shim.build(folder)
    control = shim.Control(folder / "gateway.control", seed=7)
    power.begin(home, journal)                    # what is there now is on the disk
    process = Popen(..., env={**env, **shim.environment(library, control, home, journal)})
    control.jump(3_600_000)                       # an hour ahead
    control.fill(under="state.db")                # its disk is full
    process.kill()
    power.lose_unsynced(journal, seed=7)          # and the power failed

One control file per process; processes of one machine share the journal.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from stead.core.errors import SteadError

MAGIC = 0x736F616863647374
VERSION = 1

SETTINGS = (
    "clock_offset_ns", "drift_ppb", "drift_since_ns", "seed",
    "write_eio_ppm", "write_eio_every", "sync_eio_ppm", "sync_eio_every",
    "short_ppm", "write_delay_us", "sync_delay_us", "skip_sync", "names_with_data",
)  # fmt: skip
#: What the shim counts: calls on followed files, and what it did to them. ``trouble``: the shim
#: could not keep its own record; the outcome of a power cut says nothing then.
COUNTS = (
    "writes", "syncs", "write_eio", "sync_eio", "full", "short", "delayed", "trouble",
)  # fmt: skip

_SOURCES = ("clock.c", "disk.c")
_FILES = (*_SOURCES, "names.c", "calls.c", "shim.h")
_VALUES, _COUNTERS, _UNDER = 24, 24, 512
_LIVE, _ROOM = 16, 32
_COUNT_AT = 40
_SLOT_AT = _COUNT_AT + 8 * _COUNTERS
_SLOT_SIZE = 8 * _VALUES + _UNDER
_SIZE = _SLOT_AT + 2 * _SLOT_SIZE


class ShimUnusable(SteadError):
    """The faults of disk and clock cannot be injected: {why}"""

    code = "shim_unusable"


def available() -> str:
    """Empty where the shim can be used; else why not, and what would help."""
    if not sys.platform.startswith("linux"):
        return "it needs Linux (a library put before libc); to have them: run this on Linux"
    if _compiler() is None:
        return "there is no C compiler; to have them: install a C compiler (Debian: gcc libc6-dev)"
    return ""


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def build(folder: Path) -> Path:
    """The library, compiled into ``folder`` unless this very one lies there already.

    Raises ``ShimUnusable`` where it cannot be made.
    """
    why, compiler = available(), _compiler()
    if why or compiler is None:
        raise ShimUnusable(why=why)
    here = Path(__file__).parent
    fields = _fields()
    known = hashlib.sha256(fields.encode())
    for name in _FILES:
        known.update((here / name).read_bytes())
    library = folder / f"shim-{known.hexdigest()[:16]}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{library.name}.{os.getpid()}"
    (folder / "fields.h").write_text(fields)
    command = [compiler, "-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC", "-pthread"]
    command += [
        "-I",
        str(folder),
        "-o",
        str(made),
        *(str(here / name) for name in _SOURCES),
        "-ldl",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise ShimUnusable(
            why=f"{compiler} could not compile it ({words[0] if words else 'no reason given'}); "
            "install the headers of the C library (Debian: libc6-dev)"
        )
    made.replace(library)
    return library


def _fields() -> str:
    def names(kind: str, fields: Iterable[str]) -> str:
        return f"enum {{ {', '.join(f'{kind}_{name.upper()}' for name in fields)} }};\n"

    return f"#define CONTROL_VERSION {VERSION}\n{names('SET', SETTINGS)}{names('COUNT', COUNTS)}"


def environment(library: Path, control: Control, prefix: Path, journal: Path) -> dict[str, str]:
    """What a process needs in its environment to run under the shim.

    ``prefix``: the folder whose files are followed (it is made). ``journal``: where the record of
    what its disk holds is kept; outside of ``prefix``, begun with ``power.begin``.
    """
    prefix.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "LD_PRELOAD": str(library.resolve()),
        "CHAOS_CONTROL": str(control.path.resolve()),
        "CHAOS_PREFIX": str(prefix.resolve()),
        "CHAOS_JOURNAL": str(journal.resolve()),
    }


class Control:
    """The control file of one process. Changes hold at once, also before it starts and after a
    restart; ``heal`` takes back everything but the clock."""

    def __init__(self, path: Path, *, seed: int = 0) -> None:
        self.path = path
        self._values = dict.fromkeys(SETTINGS, 0)
        self._values["seed"] = seed & (2**63 - 1)
        self._under = ""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w+b") as file:
            file.truncate(_SIZE)
            self._page = mmap.mmap(file.fileno(), _SIZE)
        struct.pack_into("<QQ", self._page, 0, MAGIC, VERSION)
        self._put(_ROOM, -1)
        self._write()

    # --- clock -----------------------------------------------------------------

    @property
    def ahead_ms(self) -> float:
        """How far the wall clock of the process is ahead now."""
        return self._ahead_ns(time.monotonic_ns()) / 1e6

    def jump(self, ms: float) -> None:
        """Set the wall clock forth (or back) by so much from where it is."""
        self._set(clock_offset_ns=self._values["clock_offset_ns"] + round(ms * 1e6))

    def drift(self, ppm: float) -> None:
        """From now on the wall clock runs too fast by ``ppm`` (negative: too slow)."""
        now = time.monotonic_ns()
        self._set(
            clock_offset_ns=self._ahead_ns(now), drift_ppb=round(ppm * 1000), drift_since_ns=now
        )

    def right_clock(self) -> None:
        """The right time again."""
        self._set(clock_offset_ns=0, drift_ppb=0)

    def _ahead_ns(self, now: int) -> int:
        values = self._values
        drifted = (now - values["drift_since_ns"]) * values["drift_ppb"] // 10**9
        return values["clock_offset_ns"] + drifted

    # --- disk ------------------------------------------------------------------
    # Each takes ``under``: only paths below the prefix that begin so ("state.db" means its -wal
    # too). There is one such scope at a time, that of the last call.

    def fill(self, room: int = 0, *, under: str = "") -> None:
        """The disk is full once files have grown by ``room`` bytes: ENOSPC. What only overwrites
        goes on, as on a real one."""
        self._put(_ROOM, room)
        self._set(under=under)

    def free(self) -> None:
        """There is room again."""
        self._put(_ROOM, -1)

    def fail(
        self, *, write_ppm: int = 0, write_every: int = 0, sync_ppm: int = 0, sync_every: int = 0,
        under: str = "",
    ) -> None:  # fmt: skip
        """EIO on writes and syncs: so many of a million at random (by the seed), and each n-th.

        What a failed sync should have brought to the disk is lost even if a later one succeeds,
        unless it is written again: so it is on Linux.
        """
        self._set(
            write_eio_ppm=write_ppm, write_eio_every=write_every, sync_eio_ppm=sync_ppm,
            sync_eio_every=sync_every, under=under,
        )  # fmt: skip

    def slow(self, *, sync_us: int = 0, write_us: int = 0, under: str = "") -> None:
        """Each sync (each write) takes so much longer."""
        self._set(sync_delay_us=sync_us, write_delay_us=write_us, under=under)

    def shorten(self, ppm: int, *, under: str = "") -> None:
        """So many writes of a million are short: the rest has to be written by another."""
        self._set(short_ppm=ppm, under=under)

    def modes(self, *, skip_sync: bool = False, names_with_data: bool = False) -> None:
        """``skip_sync``: spare the real disk, only the record of a power cut knows of syncs.
        ``names_with_data``: the sync of a new file brings its name too, as ext4 does; else, as
        POSIX has it, only the sync of its folder does."""
        self._set(skip_sync=int(skip_sync), names_with_data=int(names_with_data))

    def heal(self) -> None:
        """A healthy disk again."""
        self.free()
        quiet = [name for name in SETTINGS if name.endswith(("_ppm", "_every", "_us"))]
        self._set(under="", **dict.fromkeys(quiet, 0))

    def counts(self) -> dict[str, int]:
        """What was seen and done so far, by the names of ``COUNTS``."""
        found = struct.unpack_from(f"<{len(COUNTS)}q", self._page, _COUNT_AT)
        return dict(zip(COUNTS, found, strict=True))

    def close(self) -> None:
        self._page.close()

    def _set(self, *, under: str | None = None, **values: int) -> None:
        self._values.update(values)
        if under is not None:
            if len(under.encode()) >= _UNDER:
                raise ValueError(f"a path of at most {_UNDER - 1} bytes is wanted")
            self._under = under
        self._write()

    def _write(self) -> None:
        """Fill the slot that does not count, then let it count."""
        turn = 1 - struct.unpack_from("<q", self._page, _LIVE)[0]
        at = _SLOT_AT + turn * _SLOT_SIZE
        numbers = [self._values[name] for name in SETTINGS]
        struct.pack_into(f"<{len(numbers)}q", self._page, at, *numbers)
        struct.pack_into(f"<{_UNDER}s", self._page, at + 8 * _VALUES, self._under.encode())
        self._put(_LIVE, turn)

    def _put(self, at: int, value: int) -> None:
        struct.pack_into("<q", self._page, at, value)
