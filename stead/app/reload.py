"""A changed stead.toml is taken over while the gateway runs: all of it that can be, or nothing.

Whoever can take new settings gives a :data:`Prepare`: it works them out and may refuse; only when
nobody refuses, all take them over in one go, between two requests. What is under way ends on what
it began with.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from stead.config import Changes, Loaded, Settings, changes, merged
from stead.core.errors import ConfigError, SteadError

log = logging.getLogger("stead.gateway")

#: Works out new settings; what it returns takes them over and cannot fail. Raises ``ConfigError``.
Prepare = Callable[[Settings], Callable[[], None]]

#: How often the file is looked at, in seconds, and how long it must have been left alone: an
#: editor that writes it piece by piece shall not be read in between.
_LOOK_S = 0.5

_FILE = "stead.toml"
_Stamp = tuple[int, int, int]


class Reload:
    """``takers``: by what they are, for the log. Not for more than one thread."""

    def __init__(self, loaded: Loaded, takers: Sequence[tuple[str, Prepare]]) -> None:
        self._first = loaded.settings
        self._loaded = loaded
        self._takers = takers
        self._file = loaded.home / _FILE
        self._wanted = loaded.settings
        self._tried = self._stamp()
        self._applied_at = 0.0
        self.fault: ConfigError | None = None
        """Why the file as it is was not taken over."""
        self.pending: tuple[str, ...] = ()
        """Settings that were changed and hold from the next start on."""

    @property
    def settings(self) -> Settings:
        """What holds now."""
        return self._loaded.settings

    @property
    def loaded(self) -> Loaded:
        """What holds now, and where each value of the file came from."""
        return self._loaded

    @property
    def wanted(self) -> Settings:
        """What holds after a restart."""
        return self._wanted

    def check(self, text: str) -> Changes:
        """What would change with that as stead.toml; nothing does. Raises ``ConfigError`` for what
        would not be taken over."""
        fresh = self._loaded.with_text(text)
        holds = merged(self.settings, fresh.settings)
        for _, prepare in self._takers:
            prepare(holds)
        return changes(self._wanted, fresh.settings)

    def apply(self) -> Changes:
        """Take the file over as it is now. Raises ``ConfigError``, and then nothing has changed."""
        self._tried = self._stamp()
        try:
            changed = self._take()
        except ConfigError as error:
            self.fault = error
            log.error("the settings from before hold: %s", error.message)
            raise
        self.fault = None
        self._applied_at = time.time()
        self.pending = changes(self._first, self._wanted).restart
        for words, paths in (("taken over", changed.live), ("for the next start", changed.restart)):
            if paths:
                log.info("settings %s: %s", words, ", ".join(paths))
        return changed

    def _take(self) -> Changes:
        if self._tried is None and any(o.startswith(_FILE) for o in self._loaded.origins.values()):
            raise ConfigError(f"{self._file} is gone; put it back, or start stead anew without it.")
        fresh = self._loaded.again()
        changed = changes(self.settings, fresh.settings)
        holds = merged(self.settings, fresh.settings)
        taking = [prepare(holds) for _, prepare in self._takers]
        for take in taking:
            take()
        # What needs a restart stays as it was, also for who looks at what holds.
        self._wanted = fresh.settings
        self._loaded = Loaded(fresh.home, holds, fresh.origins, fresh.options)
        return changed

    async def run(self) -> None:
        """Notice changes of the file."""
        seen = self._tried
        while True:
            await asyncio.sleep(_LOOK_S)
            stamp = self._stamp()
            if stamp == seen and stamp != self._tried:
                self._quietly()
            seen = stamp

    def on_signal(self, hung_up: Callable[[], bool], stop: Callable[[], None]) -> None:
        """Take SIGHUP as a wish to read the file, unless it says that our terminal is gone."""

        def heard() -> None:
            if hung_up():
                stop()
            else:
                self._quietly()

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, heard)

    def troubles(self) -> list[str]:
        """For `stead status`: what does not hold that stands in the file."""
        told = []
        if self.fault is not None:
            told.append(f"{self.fault.message}. The settings from before hold.")
        if self.pending:
            told.append(f"changed in stead.toml, from the next start on: {_list(self.pending)}")
        return told

    def view(self) -> dict[str, Any]:
        """The state of the settings, for the owner's API."""
        fault = self.fault
        return {
            "applied_at": int(self._applied_at * 1000),
            "fault": None if fault is None else {"message": fault.message, "param": fault.param},
            "restart": list(self.pending),
        }

    def _quietly(self) -> None:
        """A fault is told by the status; nobody waits for it here."""
        try:
            self.apply()
        except SteadError as error:
            if not isinstance(error, ConfigError):
                log.error("stead.toml could not be taken over: %s", error.message)

    def _stamp(self) -> _Stamp | None:
        try:
            found = os.stat(self._file)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _list(paths: Sequence[str]) -> str:
    most = 6
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(paths[:most]) + more
