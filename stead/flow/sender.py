"""The sender: takes replies from the outbox and hands them to their channel (invariant 5).

A row is marked ``sending`` before its channel is called. A crash or a time-out between that
and the mark that it arrived leaves a doubt, which is settled so::

    the channel can be asked (`seen`)  -> sent, or sent again
    else the rule of the channel       -> "send again" (the other side drops doubles, or may get
                                          a second copy), "leave", or "ask" the owner

Each conversation keeps its order and waits for none of the others. A channel that is away is
tried again with back-off; then its backlog is worked off in order. Channels that are read by
their clients (terminal, API) need no sender: reading marks their rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stead.core.errors import ChannelAway, DeliveryInDoubt, NotFound, SteadError
from stead.core.ports import Channel
from stead.core.storage import Delivery, FactStore, OutboxStore, View

log = logging.getLogger(__name__)

_LOOK_S = 5.0
_FIRST_S = 1.0
_LONGEST_S = 600.0
#: A channel that is away is tried this often at least: its return should be noticed soon.
_LONGEST_AWAY_S = 60.0
#: The longest that a channel may ask to be left alone (Retry-After).
_LONGEST_ASKED_S = 3600.0
#: On a channel that cannot drop doubles, so often is a reply sent again that may have arrived.
_DOUBTS = 3
#: So many replies that found their channel away are remembered.
_TROUBLED = 1000
#: A reply that found its channel away lets another conversation be the next to try.
_STEP_BACK_S = 0.2

AGAIN, LEAVE, ASK = "send again", "leave", "ask"


class _Store(OutboxStore, FactStore, Protocol):
    """What the sender asks of a storage."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How the owner wants a channel to be served."""

    ambiguous: str = AGAIN
    """What becomes of a reply of which nobody knows whether it arrived."""
    tries: int = 20
    """So often a reply may fail, while its channel answers, before it is set aside."""
    at_once: int = 4
    """Conversations that are sent to at the same time."""
    kind: str = ""


@dataclass(eq=False)
class _Post:
    """A channel and how things stand with it."""

    channel: Channel
    manner: Manner
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    busy: set[asyncio.Task[None]] = field(default_factory=set)
    paused: bool = False
    told: bool = False
    """Whether the owner has paused or resumed it since the start."""
    away_since: float = 0.0
    why: str = ""
    fails: int = 0
    retry_at: float = 0.0
    answered_at: float = 0.0
    troubled: dict[int, float] = field(default_factory=dict)
    """When a reply last found the channel away: if it answered others since, it is this one."""
    blamed: set[int] = field(default_factory=set)
    """Replies that were refused while others passed."""

    @property
    def name(self) -> str:
        return self.channel.name

    def own_fault(self, delivery: Delivery) -> bool:
        """Whether the channel, away for this reply now, took others since it was so before."""
        before = self.troubled.pop(delivery.id, float("inf"))
        if len(self.troubled) >= _TROUBLED:
            del self.troubled[next(iter(self.troubled))]
        self.troubled[delivery.id] = time.monotonic()
        if self.answered_at > before:
            self.blamed.add(delivery.id)
        return delivery.id in self.blamed

    def away(self, why: str, asked_s: float = 0.0) -> float:
        """It took nothing, or was silent; ``asked_s``: how long it wants to be left alone.
        Returns the seconds until it is tried again."""
        self.fails += 1
        self.blamed.clear()  # it is the channel after all
        wait = backoff_s(self.fails, _LONGEST_AWAY_S)
        if asked_s > 0:  # a little later than asked, never sooner
            wait = min(asked_s, _LONGEST_ASKED_S) * random.uniform(1.0, 1.1)
        self.retry_at = max(self.retry_at, time.monotonic() + wait)
        if not self.away_since:
            self.away_since = time.time()
            log.warning("channel %s is away: %s", self.name, why)
        self.why = why
        return wait

    def answered(self) -> None:
        """It is there, whatever it said to one reply."""
        if self.away_since:
            log.warning("channel %s is back", self.name)
        self.away_since, self.why, self.fails, self.retry_at = 0.0, "", 0, 0.0
        self.answered_at = time.monotonic()

    def room(self) -> int:
        """How many may be taken now: one, as a probe, while the channel is away."""
        if self.paused or time.monotonic() < self.retry_at:
            return 0
        most = 1 if self.away_since else self.manner.at_once
        return max(0, most - len(self.busy))


def backoff_s(failures: int, longest_s: float = _LONGEST_S) -> float:
    """Seconds until the next try: doubled each time, half of it left to chance."""
    whole: float = min(longest_s, _FIRST_S * 2 ** min(max(failures, 1) - 1, 20))
    return whole * random.uniform(0.5, 1.0)


class Sender:
    """One loop a channel, so that a channel that hangs or fails holds up no other."""

    def __init__(
        self,
        store: _Store,
        channels: Sequence[Channel],
        manners: dict[str, Manner] | None = None,
        *,
        look_s: float = _LOOK_S,
    ) -> None:
        self._store = store
        self._look_s = look_s
        manners = manners or {}
        self._posts = {
            channel.name: _Post(channel, manners.get(channel.name, Manner()))
            for channel in channels
        }
        self._stopping = asyncio.Event()

    def nudge(self) -> None:
        """There may be something to send."""
        for post in self._posts.values():
            post.wanted.set()

    async def run(self) -> None:
        """Send until :meth:`stop`; what is being sent then is seen to its end."""
        async with asyncio.TaskGroup() as group:
            # With no channel there is nothing to do but to wait for the stop.
            group.create_task(self._stopping.wait(), name="sender")
            for post in self._posts.values():
                group.create_task(self._serve(post), name=f"sender of {post.name}")

    def stop(self) -> None:
        """Take nothing more; :meth:`run` ends when what is being sent has ended."""
        self._stopping.set()
        self.nudge()

    @property
    def sending(self) -> int:
        """Replies that are being sent just now."""
        return sum(len(post.busy) for post in self._posts.values())

    # --- what the owner sees and does -------------------------------------------------

    def channels(self) -> list[View]:
        """Each channel in the shape of the API. ``since`` and ``retry_in_s`` while it is away."""
        now = time.monotonic()
        return [
            {
                "name": post.name,
                "kind": post.manner.kind,
                "state": "paused" if post.paused else "away" if post.away_since else "ok",
                "why": post.why,
                "since": int(post.away_since * 1000),
                "retry_in_s": round(max(0.0, post.retry_at - now), 1),
                "sending": len(post.busy),
                "dedupes": post.channel.dedupes,
                "ambiguous": post.manner.ambiguous,
            }
            for post in self._posts.values()
        ]

    async def pause(self, name: str, paused: bool = True) -> None:
        """Hold a channel's replies back, or let them go; kept over a restart.

        Raises ``NotFound``. A channel that was away is tried at once when it is let go.
        """
        post = self._posts.get(name)
        if post is None:
            raise NotFound(what=f"channel {name!r} that replies are pushed to")
        await self._store.set_fact(f"paused:{name}", "1" if paused else None)
        post.paused, post.told = paused, True
        post.retry_at = 0.0
        post.wanted.set()

    # --- one channel --------------------------------------------------------------------

    async def _serve(self, post: _Post) -> None:
        try:
            await self._insist(lambda: self._recover(post))
            while not self._stopping.is_set():
                post.wanted.clear()
                took = 0
                try:
                    took = await self._fill(post)
                    wait_s = await self._wait_s(post) if not took else 0.0
                except Exception:  # the edge of a channel: its rows wait, the others go on
                    log.exception("the outbox of %s could not be worked on", post.name)
                    wait_s = self._look_s
                if not took:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await post.wanted.wait()
            if post.busy:
                await asyncio.wait(post.busy)
        finally:
            for task in post.busy:
                task.cancel()

    async def _fill(self, post: _Post) -> int:
        room = post.room()
        if not room:
            return 0
        taken = await self._store.take(post.name, room)
        for delivery in taken:
            task = asyncio.create_task(self._send(post, delivery), name=f"send {delivery.id}")
            post.busy.add(task)
            task.add_done_callback(lambda done: self._sent(post, done))
        return len(taken)

    def _sent(self, post: _Post, task: asyncio.Task[None]) -> None:
        post.busy.discard(task)
        post.wanted.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("sending by %s failed", post.name, exc_info=task.exception())

    async def _wait_s(self, post: _Post) -> float:
        """How long there is surely nothing to do, unless somebody says so sooner."""
        held = post.retry_at - time.monotonic()
        if post.paused or held > 0:
            return min(self._look_s, held) if not post.paused else self._look_s
        if not post.room():
            return self._look_s
        due = await self._store.next_delivery_ms(post.name)
        return self._look_s if due is None else min(self._look_s, max(0.005, due / 1000))

    async def _recover(self, post: _Post) -> None:
        """After a start: what nobody knows the end of is settled by the rule."""
        paused = await self._store.fact(f"paused:{post.name}") is not None
        if not post.told:
            post.paused = paused
        for delivery in await self._store.unsettled(post.name):
            await self._settle(post, delivery, "cut off by a stop of stead while it was sent", 0.0)

    async def send_due(self, name: str) -> int:
        """Send what is due on one channel, in order; how many were tried. For tests and tools."""
        post = self._posts[name]
        tried = 0
        while count := await self._fill(post):
            tried += count
            await asyncio.wait(post.busy)
        return tried

    # --- one reply ------------------------------------------------------------------------

    async def _send(self, post: _Post, delivery: Delivery) -> None:
        try:
            await post.channel.send(delivery)
        except ChannelAway as error:
            if error.answered and post.own_fault(delivery):
                await self._failed(post, delivery, error)
                return
            wait_s = post.away(error.message, error.wait_s) + _STEP_BACK_S
            await self._later(delivery, wait_s, error.message, counts=False)
        except DeliveryInDoubt as error:
            await self._in_doubt(post, delivery, error.message)
        except SteadError as error:
            post.answered()
            await self._failed(post, delivery, error)
        except Exception as error:  # the edge of a channel: a fault of its own
            log.exception("channel %s broke on reply %d", post.name, delivery.id)
            await self._in_doubt(post, delivery, f"{type(error).__name__}: {error}")
        else:
            post.answered()
            post.troubled.pop(delivery.id, None)
            post.blamed.discard(delivery.id)
            copies = delivery.doubts and not post.channel.dedupes
            note = f"it may have arrived before, {delivery.doubts}x" if copies else ""
            await self._insist(lambda: self._store.delivered(delivery.id, note))

    async def _failed(self, post: _Post, delivery: Delivery, error: SteadError) -> None:
        why, permanent = error.message, error.failure.permanent
        if not permanent and delivery.tries < post.manner.tries:
            asked_s = getattr(error, "wait_s", 0.0)
            wait_s = max(backoff_s(delivery.tries), min(asked_s, _LONGEST_ASKED_S))
            await self._later(delivery, wait_s, why)
            return
        if not permanent:
            why = f"given up after {delivery.tries} tries: {why}"
        log.error("reply %d cannot be delivered by %s: %s", delivery.id, post.name, why)
        await self._insist(lambda: self._store.undeliverable(delivery.id, why))

    async def _later(
        self, delivery: Delivery, wait_s: float, note: str, *, counts: bool = True
    ) -> None:
        wait_ms = int(wait_s * 1000)
        await self._insist(
            lambda: self._store.undelivered(delivery.id, delay_ms=wait_ms, note=note, counts=counts)
        )

    # --- doubts ---------------------------------------------------------------------------

    async def _in_doubt(self, post: _Post, delivery: Delivery, why: str) -> None:
        own = post.own_fault(delivery)
        wait_s = backoff_s(max(delivery.doubts, delivery.tries))
        if not own:  # on a dead channel every reply is in doubt, so it is tried more gently
            wait_s = max(wait_s, post.away(why) + _STEP_BACK_S)
        hopeless = own and delivery.tries >= post.manner.tries
        await self._insist(lambda: self._settle(post, delivery, why, wait_s, hopeless))

    async def _settle(
        self, post: _Post, delivery: Delivery, why: str, wait_s: float, hopeless: bool = False
    ) -> None:
        """Nobody knows whether it arrived: ask the channel, else go by its rule."""
        store, rule, wait_ms = self._store, post.manner.ambiguous, int(wait_s * 1000)
        there = await self._read_back(post, delivery)
        if there:
            await store.delivered(delivery.id, f"read back there; {why}")
        elif there is False and not hopeless:
            note = f"not found there, sent again; {why}"
            await store.undelivered(delivery.id, delay_ms=wait_ms, note=note)
        elif rule == LEAVE:
            await store.left(delivery.id, f"may or may not have arrived, left by rule; {why}")
        elif rule == AGAIN and post.channel.dedupes and not hopeless:
            note = f"sent again, the other side drops doubles; {why}"
            await store.undelivered(delivery.id, delay_ms=wait_ms, note=note, doubt=True)
        elif rule == AGAIN and delivery.doubts + 1 < _DOUBTS and not post.channel.dedupes:
            note = f"sent again by rule, perhaps a second copy; {why}"
            await store.undelivered(delivery.id, delay_ms=wait_ms, note=note, doubt=True)
        else:
            await store.ambiguous(delivery.id, f"may or may not have arrived; {why}")

    async def _read_back(self, post: _Post, delivery: Delivery) -> bool | None:
        try:
            return await post.channel.seen(delivery)
        except Exception as error:  # noqa: BLE001  the edge of a channel: then it is not known
            log.warning("channel %s could not be asked about a reply: %s", post.name, error)
            return None

    async def _insist(self, mark: Callable[[], Awaitable[Any]]) -> None:
        """Write down what is known, however long the storage takes to be able to."""
        tries = 0
        while True:
            try:
                await mark()
            except SteadError as error:
                tries += 1
                log.error("the outbox could not be written: %s", error.message)
                await asyncio.sleep(backoff_s(tries, 10.0))
            else:
                return
