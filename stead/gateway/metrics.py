"""``/metrics`` for Prometheus: the counts of requests, and how things stand with every part.

Names of OpenTelemetry's semantic conventions for generative AI where there is one, in Prometheus'
spelling (dots become underscores, the unit is a suffix); all else begins with ``stead_``
(docs/metrics.md). It is read with the owner's key or a key that may; without one only from this
machine and only where the owner says so.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.core.errors import StoreUnusable
from stead.core.storage import Store, View
from stead.gateway.auth import bearer
from stead.gateway.exposition import CONTENT_TYPE, Page
from stead.gateway.http import Endpoint
from stead.gateway.meter import (
    DURATION,
    FIRST,
    OPERATIONS,
    PER_TOKEN,
    TOKENS,
    KeyCount,
    Meter,
    Series,
    added,
)

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Upstream:
    """How things stand with an instance of a backend."""

    backend: str
    instance: str
    up: bool
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on money, and what is used of it, in micro-dollars."""

    scope: str
    period: str
    """``day`` or ``month``."""
    limit_micro: int
    used_micro: int


class Sources(Protocol):
    """What is looked at when the page is read."""

    @property
    def store(self) -> Store: ...

    async def nodes(self) -> list[View]: ...

    def writes(self) -> tuple[int, int]:
        """Commits of the store, and operations in them."""
        ...

    def under_way(self) -> int: ...

    def upstreams(self) -> Iterable[Upstream]: ...

    async def budgets(self) -> Iterable[Budget]: ...


class Metrics:
    """The page. ``allowed`` raises a ``SteadError`` for a key that may not read it; ``open_here``:
    this machine needs no key."""

    def __init__(
        self,
        meter: Meter,
        sources: Sources,
        allowed: Callable[[Scope], object],
        *,
        open_here: Callable[[], bool],
        version: str,
        provider: Callable[[str], str] = str,
    ) -> None:
        self._meter = meter
        self._sources = sources
        self._allowed = allowed
        self._open_here = open_here
        self._version = version
        self._provider = provider
        self._began = time.time()

    def routes(self) -> list[Route]:
        return [Route("/metrics", Endpoint(self._answer), methods=["GET"])]

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not (self._open_here() and not bearer(scope) and is_here(scope)):
            self._allowed(scope)
        body = await self.page()
        answer = Response(body, media_type=None, headers={"content-type": CONTENT_TYPE})
        await answer(scope, receive, send)

    async def page(self) -> bytes:
        """The whole text. What cannot be looked at now is left out, and hides nothing else."""
        page = Page()
        self._requests(page)
        self._models(page)
        self._keys(page)
        for part in (self._work, self._money, self._nodes):
            await _if_it_can_be_looked_at(part, page)
        self._upstreams(page)
        self._itself(page)
        return page.text()

    # --- requests --------------------------------------------------------------------------

    def _requests(self, page: Page) -> None:
        self._meter.catch_up()
        every = list(self._meter.series.values())
        family = page.family(
            "stead_requests_total", "counter", "Requests at the model door that are over."
        )
        for one in every:
            family.sample(one.calls, _labels(one))
        page.counter(
            "stead_wrong_keys_total",
            "Requests refused for their key; they leave no row.",
            self._meter.wrong_keys,
        )
        page.gauge(
            "stead_requests_under_way", "Requests that are being answered.",
            self._sources.under_way(),
        )  # fmt: skip
        for name, help_, of in (
            ("stead_cost_usd_total", "What requests cost.", lambda one: one.cost_micro / _MICRO),
            (
                "stead_usage_estimated_total",
                "Requests whose backend told no usage, so that it was estimated.",
                lambda one: one.estimated,
            ),
        ):
            family = page.family(name, "counter", help_)
            for labels, value in _summed(every, of):
                family.sample(value, labels)
        family = page.family(
            "stead_tokens_total", "counter",
            "Tokens by kind: cache_read and cache_write are part of input, reasoning of output.",
        )  # fmt: skip
        for kind, of in _KINDS:
            for labels, value in _summed(every, of):
                family.sample(value, {**labels, "type": kind})
        family = page.family("stead_body_bytes_total", "counter", "Bytes of bodies that passed.")
        for way, of in (("in", _bytes_in), ("out", _bytes_out)):
            family.sample(sum(map(of, every)), {"direction": way})

    def _models(self, page: Page) -> None:
        """The histograms of OpenTelemetry."""
        by: dict[tuple[str, str, str, str], list[Series]] = defaultdict(list)
        for one in self._meter.series.values():
            told = one.labels
            if told.backend:
                operation = OPERATIONS.get(told.api, told.api)
                error = "" if told.outcome == "ok" else told.outcome
                by[operation, self._provider(told.backend), told.model, error].append(one)
        family = page.family(
            "gen_ai_client_operation_duration_seconds", "histogram", "GenAI operation duration."
        )
        for key, those in by.items():
            labels = _gen_ai(key) | ({"error_type": key[3]} if key[3] else {})
            family.histogram(
                DURATION, added(one.duration for one in those),
                sum(one.duration_s for one in those), labels,
            )  # fmt: skip
        whole: dict[tuple[str, str, str, str], list[Series]] = defaultdict(list)
        for key, those in by.items():
            whole[*key[:3], ""] += those
        family = page.family(
            "gen_ai_client_token_usage", "histogram", "Number of input and output tokens used."
        )
        for key, those in whole.items():
            labels = _gen_ai(key)
            if any(any(one.tokens_in) for one in those):
                family.histogram(
                    TOKENS, added(one.tokens_in for one in those),
                    sum(one.tokens_in_sum for one in those),
                    {**labels, "gen_ai_token_type": "input"},
                )  # fmt: skip
                family.histogram(
                    TOKENS, added(one.tokens_out for one in those),
                    sum(one.tokens_out_sum for one in those),
                    {**labels, "gen_ai_token_type": "output"},
                )  # fmt: skip
        family = page.family(
            "gen_ai_server_time_to_first_token_seconds", "histogram",
            "Time to generate first token for successful responses (streams).",
        )  # fmt: skip
        for key, those in whole.items():
            if any(any(one.first) for one in those):
                family.histogram(
                    FIRST, added(one.first for one in those), sum(one.first_s for one in those),
                    _gen_ai(key),
                )  # fmt: skip
        family = page.family(
            "gen_ai_server_time_per_output_token_seconds", "histogram",
            "Time per output token generated after the first token for successful responses.",
        )  # fmt: skip
        for key, those in whole.items():
            if any(any(one.per_token) for one in those):
                family.histogram(
                    PER_TOKEN, added(one.per_token for one in those),
                    sum(one.per_token_s for one in those), _gen_ai(key),
                )  # fmt: skip

    def _keys(self, page: Page) -> None:
        keys = self._meter.keys
        for name, help_, of in _BY_KEY:
            family = page.family(name, "counter", help_)
            for key, one in keys.items():
                family.sample(of(one), {"key": key})

    # --- how things stand --------------------------------------------------------------------

    async def _work(self, page: Page) -> None:
        counts = await self._sources.store.view_counts()
        queue = dict(counts["queue"])
        oldest = queue.pop("oldest_ms")
        family = page.family("stead_jobs", "gauge", "Jobs by state, of those that are not over.")
        for state, many in queue.items():
            family.sample(many, {"state": str(state)})
        page.gauge(
            "stead_queue_oldest_seconds", "How long the oldest queued job waits.", oldest / 1000
        )
        family = page.family("stead_replies", "gauge", "Replies on their way, by state.")
        for state, many in counts["outbox"].items():
            family.sample(many, {"state": str(state)})
        size = await self._sources.store.size()
        family = page.family("stead_store_bytes", "gauge", "Size of the database by part.")
        for part, many in size.items():
            family.sample(many, {"part": str(part)})
        commits, writes = self._sources.writes()
        page.counter("stead_store_commits_total", "Commits of the database.", commits)
        page.counter("stead_store_writes_total", "Operations in these commits.", writes)

    async def _money(self, page: Page) -> None:
        spent = await self._sources.store.view_spent()
        family = page.family(
            "stead_spent_usd", "gauge",
            "Money spent and set aside today and this month (UTC) by scope; "
            "chat and background together are all.",
        )  # fmt: skip
        for scope, used in spent.items():
            for period, micro in zip(("day", "month"), used, strict=True):
                family.sample(micro / _MICRO, {"scope": scope, "period": period})
        budgets = list(await self._sources.budgets())
        family = page.family("stead_budget_usd", "gauge", "Limits on money.")
        for one in budgets:
            family.sample(one.limit_micro / _MICRO, {"scope": one.scope, "period": one.period})
        family = page.family("stead_budget_used_ratio", "gauge", "How much of a limit is used.")
        for one in budgets:
            used_part = one.used_micro / one.limit_micro if one.limit_micro else 1.0
            family.sample(used_part, {"scope": one.scope, "period": one.period})

    async def _nodes(self, page: Page) -> None:
        family = page.family("stead_node_up", "gauge", "Whether a node is there.")
        for node in await self._sources.nodes():
            if not node["revoked"]:
                family.sample(int(node["alive"]), {"node": str(node["name"])})

    def _upstreams(self, page: Page) -> None:
        those = list(self._sources.upstreams())
        family = page.family("stead_upstream_up", "gauge", "Whether a backend's instance answers.")
        for one in those:
            family.sample(int(one.up), {"backend": one.backend, "instance": one.instance})
        family = page.family("stead_upstream_calls", "gauge", "Calls under way at an instance.")
        for one in those:
            family.sample(one.in_flight, {"backend": one.backend, "instance": one.instance})

    def _itself(self, page: Page) -> None:
        page.family("stead_build_info", "gauge", "The version of stead.").sample(
            1, {"version": self._version}
        )
        times = os.times()
        page.counter(
            "process_cpu_seconds_total", "User and system time of the gateway.",
            times.user + times.system,
        )  # fmt: skip
        page.gauge("process_start_time_seconds", "When the gateway began.", self._began)
        with contextlib.suppress(OSError):  # only Linux has it
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
            memory = pages * os.sysconf("SC_PAGE_SIZE")
            page.gauge("process_resident_memory_bytes", "Memory of the gateway.", memory)
            page.gauge("process_open_fds", "Open files.", len(os.listdir("/proc/self/fd")))
        page.gauge("stead_time_seconds", "The clock of this machine.", time.time())


async def _if_it_can_be_looked_at(part: Callable[[Page], Awaitable[None]], page: Page) -> None:
    try:
        await part(page)
    except StoreUnusable:  # it is told by `stead status`; what can be counted is shown
        return


def _bytes_in(one: Series) -> int:
    return one.bytes_in


def _bytes_out(one: Series) -> int:
    return one.bytes_out


_KINDS: tuple[tuple[str, Callable[[Series], float]], ...] = (
    ("input", lambda one: one.tokens_in_sum),
    ("output", lambda one: one.tokens_out_sum),
    ("cache_read", lambda one: one.cache_read),
    ("cache_write", lambda one: one.cache_write),
    ("reasoning", lambda one: one.reasoning),
)


_BY_KEY: tuple[tuple[str, str, Callable[[KeyCount], float]], ...] = (
    ("stead_key_requests_total", "Requests by key.", lambda one: one.calls),
    (
        "stead_key_errors_total",
        "Requests by key that came to no good end.",
        lambda one: one.errors,
    ),
    ("stead_key_tokens_total", "Tokens by key.", lambda one: one.tokens),
    ("stead_key_cost_usd_total", "Cost by key.", lambda one: one.cost_micro / _MICRO),
)


def _labels(one: Series) -> dict[str, str]:
    told = one.labels
    return {
        "api": told.api, "lane": told.lane, "backend": told.backend, "model": told.model,
        "outcome": told.outcome,
    }  # fmt: skip


def _summed(
    every: list[Series], of: Callable[[Series], float]
) -> Iterable[tuple[dict[str, str], float]]:
    """By backend and model, of those that came to a backend."""
    sums: dict[tuple[str, str], float] = {}
    for one in every:
        if one.labels.backend:
            key = one.labels.backend, one.labels.model
            sums[key] = sums.get(key, 0) + of(one)
    for (backend, model), value in sums.items():
        yield {"backend": backend, "model": model}, value


def _gen_ai(key: tuple[str, str, str, str]) -> dict[str, str]:
    return {
        "gen_ai_operation_name": key[0],
        "gen_ai_provider_name": key[1],
        "gen_ai_request_model": key[2],
    }


def is_here(scope: Scope) -> bool:
    """Whether a request comes from this machine, and was meant for it: a page of the web that
    has its own name point here (DNS rebinding) names that name."""
    client = scope.get("client")
    if not client or not _loopback(str(client[0])):
        return False
    headers = dict(scope["headers"])
    if b"x-forwarded-for" in headers or b"forwarded" in headers:  # by a proxy, from elsewhere
        return False
    host = headers.get(b"host", b"").decode("latin-1").lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return host == "localhost" or _loopback(host)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
