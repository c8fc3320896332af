"""Which nodes are there: from their open claims, heartbeats and reports, in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stead.core.errors import WrongKey

_REVOKED = "That node key was revoked."


class CutShort(Exception):
    """This claim is answered now, with what there is to be said. Never leaves the gateway."""


class Presence:
    """A node is there while it has a claim open, or was heard of within ``away_s`` seconds."""

    def __init__(self, away_s: float) -> None:
        self._away_s = away_s
        self._heard: dict[str, float] = {}
        self._open: dict[str, dict[asyncio.Task[Any], float]] = {}
        self._revoked: set[str] = set()
        self._cut_short: set[asyncio.Task[Any]] = set()
        self._began = time.monotonic()

    def heard(self, node_id: str) -> None:
        if node_id not in self._revoked:
            self._heard[node_id] = time.monotonic()

    def invited(self, node_id: str) -> None:
        """The node has a new key; what was said with the revoked one counts no more."""
        self._revoked.discard(node_id)

    @contextmanager
    def claiming(self, node_id: str) -> Iterator[None]:
        """While a node's claim is held open it is surely there.

        Raises ``WrongKey`` in the claim when the node's key is revoked meanwhile, or was while
        the claim was on its way here, and ``CutShort`` when there is something to tell the node.
        """
        if node_id in self._revoked:
            raise WrongKey(_REVOKED)
        task = asyncio.current_task()
        assert task is not None
        self.heard(node_id)
        claims = self._open.setdefault(node_id, {})
        claims[task] = time.monotonic()
        try:
            yield
        except asyncio.CancelledError:
            if node_id in self._revoked:
                raise WrongKey(_REVOKED) from None
            if task in self._cut_short:
                task.uncancel()
                raise CutShort from None
            raise
        finally:
            claims.pop(task, None)
            if task in self._cut_short:  # by us: no sign that anybody is there
                self._cut_short.discard(task)
            else:
                self.heard(node_id)

    def cut_short(self, node_id: str, older_s: float = 0.0) -> None:
        """A claim that a node holds open for longer than this ends now: there is something to tell
        it, or it went silent with a job, so that the next one must not be given to it before it
        speaks again."""
        now = time.monotonic()
        for task, since in self._open.get(node_id, {}).items():
            if task not in self._cut_short and now - since >= older_s:
                self._cut_short.add(task)
                task.cancel()

    def gone(self, node_id: str) -> None:
        """Its key was revoked: a claim that it holds open ends now."""
        self._heard.pop(node_id, None)
        self._revoked.add(node_id)
        for task in self._open.get(node_id, ()):
            task.cancel()

    def alive(self, node_id: str) -> bool:
        if self._open.get(node_id):
            return True
        heard = self._heard.get(node_id)
        return heard is not None and time.monotonic() - heard < self._away_s

    def idle_s(self, node_id: str) -> float | None:
        """Seconds since it was last heard of; 0 while a claim is open, None if never."""
        if self._open.get(node_id):
            return 0.0
        heard = self._heard.get(node_id)
        return None if heard is None else time.monotonic() - heard

    def silent_s(self, node_id: str) -> float:
        """As :meth:`idle_s`; of one never heard of, since it could be heard here at all."""
        idle = self.idle_s(node_id)
        return time.monotonic() - self._began if idle is None else idle

    def any_alive(self) -> bool:
        """Whether any node is there; the worker in the gateway itself is none."""
        known = self._heard.keys() | self._open.keys()
        return any(self.alive(node_id) for node_id in known if not node_id.startswith("@"))

    def settled(self) -> bool:
        """Whether nodes have had the time to come back after the gateway's own start."""
        return time.monotonic() - self._began > min(self._away_s, 5.0)
