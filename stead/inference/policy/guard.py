"""Looks at what requests say, in a process of its own: :mod:`stead.inference.policy.scanner`.

There, because reading a long prompt takes longer than other callers should wait, because an
expression may take for ever, and because the detectors weigh more than the gateway. It is started
by the first request that needs it and ends when none has for a while. What cannot be looked at is
not let through.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from stead.core.errors import NoGuard, NotLookedAt
from stead.inference.policy.frames import Ask, Setup, SetupRule, Told, packed, unpacked
from stead.inference.policy.rules import Rule, Then

log = logging.getLogger(__name__)

_IDLE_S = 300.0
_TIME_S = 10.0
_BYTES_A_SECOND = 200_000
#: A new process has its libraries to load, some of them heavy.
_START_S = 60.0
_HEAD = 4


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a request."""

    by_rule: dict[str, dict[str, int]] = field(default_factory=dict)
    """How often each kind, for the rules that look for it. Never what it was."""
    body: bytes | None = None
    """With all that was to be blacked out; None: nothing was."""


class Guard:
    """Looks for what some rules ask for. ``time_s``: how long that may take at least."""

    def __init__(
        self, rules: Sequence[Rule], *, time_s: float = _TIME_S, idle_s: float = _IDLE_S
    ) -> None:
        self._setup = Setup(
            [
                SetupRule(
                    rule.name, rule.finds, rule.words, rule.patterns, rule.then is Then.REDACT
                )
                for rule in rules
                if rule.looks
            ]
        )
        self._time_s = time_s
        self._idle_s = idle_s
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def look(self, body: bytes, content_type: str, rules: Sequence[Rule]) -> Findings:
        """Raises ``NoGuard`` where a detector is not installed, ``NotLookedAt``."""
        ask = packed(Ask(body, content_type, [rule.name for rule in rules]))
        # To its end, whoever leaves meanwhile: else the next would read the answer.
        told = await asyncio.shield(asyncio.ensure_future(self._asked(ask, len(body))))
        if told.missing:
            lacks = next((rule for rule in rules if told.missing in rule.finds), rules[0])
            extra = "guard" if told.missing in ("secrets", "passwords") else "guard-personal"
            raise NoGuard(rule=lacks.name, what=told.missing, extra=extra)
        if told.failed:
            raise NotLookedAt(why=told.failed)
        return Findings(told.found, told.body)

    async def aclose(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    async def _asked(self, ask: bytes, size: int) -> Told:
        async with self._turn:
            try:
                for again in (True, False):
                    started = _START_S if self.pid is None else 0.0
                    time_s = self._time_s + started + size / _BYTES_A_SECOND
                    try:
                        async with asyncio.timeout(time_s):
                            return await self._exchange(ask)
                    except TimeoutError:
                        await self._end()
                        why = f"that took longer than {time_s:.0f} s"
                        raise NotLookedAt(why=why) from None
                    except (OSError, EOFError, msgspec.DecodeError) as error:
                        log.warning("the process that looks at requests fell: %s", error)
                        await self._end()
                        if not again:
                            why = "the process that does so falls again and again"
                            raise NotLookedAt(why=why) from None
            except BaseException:
                await self._end()
                raise
            finally:
                self._rest()
        raise AssertionError("unreachable")

    async def _exchange(self, ask: bytes) -> Told:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._started()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(ask)
        await process.stdin.drain()
        length = int.from_bytes(await process.stdout.readexactly(_HEAD), "big")
        return unpacked(await process.stdout.readexactly(length), Told)

    async def _started(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            # -P: nothing is loaded from wherever the gateway was started.
            sys.executable, "-P", "-m", "stead.inference.policy.scanner",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(packed(self._setup))
        return process

    def _rest(self) -> None:
        """Begin to wait for the next one."""
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._idle_s, self._idle_end)

    def _idle_end(self) -> None:
        if not self._turn.locked() and self._process is not None and self._process.stdin:
            self._process.stdin.close()  # it ends by that

    async def _end(self) -> None:
        process, self._process = self._process, None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None
