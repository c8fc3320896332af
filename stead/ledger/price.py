"""What a model costs: exact, in whole pico-dollars (a millionth of a micro-dollar) a unit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from stead.core.nouns import Usage

_MILLION = 1_000_000

#: Pico-dollars for one unit, by how many prompt tokens the call has: (more than, price), the first
#: from 0 on. A call that is over a border pays the price beyond it for all of its tokens.
Steps = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model. What is None costs as much as what it is a part of."""

    prompt: Steps = ()
    completion: Steps = ()
    cache_read: Steps | None = None
    cache_write: Steps | None = None
    reasoning: Steps | None = None
    request: int = 0
    """For each call."""
    second: int = 0
    """Of sound that is heard."""
    char: int = 0
    """That is spoken."""
    page: int = 0
    """That is read."""
    source: str = ""
    """Where that was learnt, in words."""
    stated: bool = False
    """It is not known, and the owner said what to count."""

    @classmethod
    def of_tokens(
        cls,
        usd_in: float,
        usd_out: float,
        usd_cached: float = -1.0,
        usd_written: float = -1.0,
        *,
        stated: bool = False,
    ) -> Price:
        """From dollars a million tokens; -1 for those from and to a cache: as others."""
        source = "a price that was stated for what is not known" if stated else "stead.toml"
        return cls(
            _steps(usd_in), _steps(usd_out), None if usd_cached < 0 else _steps(usd_cached),
            None if usd_written < 0 else _steps(usd_written), source=source, stated=stated,
        )  # fmt: skip

    @property
    def paid(self) -> bool:
        every = (self.prompt, self.completion, self.cache_read, self.cache_write, self.reasoning)
        flat = (self.request, self.second, self.char, self.page)
        return any(flat) or any(pico for steps in every if steps for _, pico in steps)

    def cost_micro(
        self, usage: Usage, *, seconds: float = 0.0, chars: int = 0, pages: int = 0
    ) -> int:
        """What a call costs, in micro-dollars, rounded up."""
        size = usage.prompt_tokens
        cached = min(usage.cached_tokens, size)
        written = min(usage.cache_write_tokens, size - cached)
        thought = min(usage.reasoning_tokens, usage.completion_tokens)
        pico = (
            (size - cached - written) * _at(self.prompt, size)
            + cached * _at(self._read, size)
            + written * _at(self._write, size)
            + (usage.completion_tokens - thought) * _at(self.completion, size)
            + thought * _at(self._think, size)
            + self.request
            + round(seconds * self.second)
            + chars * self.char
            + pages * self.page
        )
        return -(-pico // _MILLION)

    def most_micro(
        self, prompt: int, completion: int, *, seconds: float = 0.0, chars: int = 0, pages: int = 0
    ) -> int:
        """The most that a call of at most so many tokens can cost: whatever of its prompt is read
        from or written to a cache, and however long its answer thinks."""
        parts = product((0, prompt), (0, prompt), (0, completion))
        sizes = {prompt, *(start for start, _ in self.prompt if 0 < start < prompt)}
        return max(
            self.cost_micro(
                Usage(size, min(read, size), completion, 0, min(write, size), think),
                seconds=seconds, chars=chars, pages=pages,
            )
            for read, write, think in parts
            for size in sizes
        )  # fmt: skip

    @property
    def _read(self) -> Steps:
        return self.prompt if self.cache_read is None else self.cache_read

    @property
    def _write(self) -> Steps:
        return self.prompt if self.cache_write is None else self.cache_write

    @property
    def _think(self) -> Steps:
        return self.completion if self.reasoning is None else self.reasoning


def _at(steps: Steps, size: int) -> int:
    price = 0
    for start, pico in steps:
        if size <= start and start:
            break
        price = pico
    return price


def _steps(usd: float) -> Steps:
    """Dollars a million units."""
    return ((0, round(usd * _MILLION)),)
