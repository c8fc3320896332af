"""Counts requests at the model door as they end, for ``/metrics``: a few additions each.

What is counted apart is bounded: the models, backends and lanes of the configuration, the keys
the owner has made, the outcomes of our own. Whatever is beyond ``MOST`` counts as ``other``, so
that no stranger can fill the memory with names. Histogram bounds are those that OpenTelemetry
names (semantic conventions for generative AI metrics).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stead.core.nouns import Call

#: Distinct series, and distinct keys, before ``other``.
MOST = 500
OTHER = "other"

DURATION = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
FIRST = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(4**n for n in range(14))

#: ``gen_ai.operation.name`` of each API; those without a well-known name have our own.
OPERATIONS: Mapping[str, str] = {
    "chat/completions": "chat", "responses": "chat", "messages": "chat",
    "completions": "text_completion", "embeddings": "embeddings", "audio/speech": "speech",
    "audio/transcriptions": "transcription", "messages/count_tokens": "count_tokens",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labels:
    """What a series counts apart."""

    api: str
    lane: str
    backend: str
    model: str
    outcome: str


class Series:
    """The counts of one combination of labels. Histograms as counts by bucket, the last without
    an upper bound; each with its sum."""

    __slots__ = (
        "bytes_in", "bytes_out", "cache_read", "cache_write", "calls", "cost_micro", "duration",
        "duration_s", "estimated", "first", "first_s", "labels", "per_token", "per_token_s",
        "reasoning", "tokens_in", "tokens_in_sum", "tokens_out", "tokens_out_sum",
    )  # fmt: skip

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.calls = self.estimated = self.cost_micro = self.bytes_in = self.bytes_out = 0
        self.cache_read = self.cache_write = self.reasoning = 0
        self.duration, self.duration_s = [0] * (len(DURATION) + 1), 0.0
        self.first, self.first_s = [0] * (len(FIRST) + 1), 0.0
        self.per_token, self.per_token_s = [0] * (len(PER_TOKEN) + 1), 0.0
        self.tokens_in, self.tokens_in_sum = [0] * (len(TOKENS) + 1), 0
        self.tokens_out, self.tokens_out_sum = [0] * (len(TOKENS) + 1), 0


@dataclass(slots=True)
class KeyCount:
    """What a program asked for."""

    calls: int = 0
    errors: int = 0
    tokens: int = 0
    cost_micro: int = 0


@dataclass(slots=True)
class Meter:
    """All counts since the start of this process."""

    series: dict[tuple[str, str, str, str, str], Series] = field(default_factory=dict)
    keys: dict[str, KeyCount] = field(default_factory=dict)
    catch_up: Callable[[], None] = field(default=lambda: None)
    """Called before what is counted here is told: who tells of requests may be a moment late."""
    wrong_keys: int = 0
    """Requests refused for their key: they have no row, since strangers could fill the disk."""

    def wrong_key(self) -> None:
        self.wrong_keys += 1

    def ended(self, call: Call) -> None:
        """A request is over. Called once for each, so there is nothing here but counting."""
        outcome = call.outcome
        one = self.series.get((call.api, call.lane, call.backend, call.model, outcome))
        if one is None:
            one = self._series(call)
        usage = call.usage
        read, wrote = usage.prompt_tokens, usage.completion_tokens
        one.calls += 1
        one.cost_micro += usage.cost_micro
        one.bytes_in += call.bytes_in
        one.bytes_out += call.bytes_out
        if call.backend:
            seconds = (call.total_ms - call.waited_ms) * 0.001
            one.duration[bisect_left(DURATION, seconds)] += 1
            one.duration_s += seconds
            if call.estimated:
                one.estimated += 1
            if read or wrote:
                one.tokens_in[bisect_left(TOKENS, read)] += 1
                one.tokens_in_sum += read
                one.tokens_out[bisect_left(TOKENS, wrote)] += 1
                one.tokens_out_sum += wrote
                one.cache_read += usage.cached_tokens
                one.cache_write += usage.cache_write_tokens
                one.reasoning += usage.reasoning_tokens
            if call.stream and outcome == "ok":
                seconds = call.first_ms * 0.001
                one.first[bisect_left(FIRST, seconds)] += 1
                one.first_s += seconds
                if wrote > 1:
                    seconds = (call.total_ms - call.first_ms) * 0.001 / (wrote - 1)
                    one.per_token[bisect_left(PER_TOKEN, seconds)] += 1
                    one.per_token_s += seconds
        key = self.keys.get(call.caller) or self._key(call.caller)
        key.calls += 1
        key.tokens += read + wrote
        key.cost_micro += usage.cost_micro
        if outcome != "ok" and outcome != "left":
            key.errors += 1

    def _series(self, call: Call) -> Series:
        labels = (call.api, call.lane, call.backend, call.model, call.outcome)
        if len(self.series) >= MOST:
            labels = (call.api, OTHER, OTHER if call.backend else "", OTHER, OTHER)
        found = self.series.get(labels)
        if found is None:
            found = self.series[labels] = Series(Labels(*labels))
        return found

    def _key(self, name: str) -> KeyCount:
        if len(self.keys) >= MOST:
            name = OTHER
        return self.keys.setdefault(name, KeyCount())


def added(many: Iterator[Sequence[int]]) -> list[int]:
    """Histograms as one."""
    return [sum(counts) for counts in zip(*many, strict=True)]
