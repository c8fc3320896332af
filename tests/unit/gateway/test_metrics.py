"""``/metrics``: read by Prometheus' own parser, true, bounded, and closed to strangers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stead.core.errors import StoreUnusable, WrongKey
from stead.core.ids import uuid7
from stead.core.nouns import Call, Usage
from stead.core.storage import Store, View
from stead.gateway.exposition import Page
from stead.gateway.meter import DURATION, MOST, OTHER, TOKENS, Meter
from stead.gateway.metrics import Budget, Metrics, Upstream, is_here
from stead.store.sqlite import SqliteStore

Sample = tuple[str, tuple[tuple[str, str], ...]]


def call(**more: Any) -> Call:
    known: dict[str, Any] = {
        "usage": Usage(100, 40, 20, 30, 7, 5), "status": 200, "first_ms": 50.0,
        "total_ms": 1050.0, "api": "chat/completions", "lane": "main", "stream": True,
        "outcome": "ok", "waited_ms": 50.0, "bytes_in": 10, "bytes_out": 90, "caller": "notes",
        "model": "big", "backend": "cloud",
    }  # fmt: skip
    known |= more
    return Call(
        id=uuid7(), at=0, job_id=None, share="chat", reserved_micro=0, state="settled",
        reason="", **known,
    )  # fmt: skip


class Sources:
    def __init__(self, store: Store) -> None:
        self.store = store

    async def nodes(self) -> list[View]:
        return [
            {"name": "home", "alive": True, "revoked": False},
            {"name": "old", "alive": False, "revoked": True},
        ]

    def writes(self) -> tuple[int, int]:
        return 3, 12

    def under_way(self) -> int:
        return 2

    def upstreams(self) -> Iterable[Upstream]:
        return [Upstream("cloud", "a:1", True, 4), Upstream("cloud", "b:2", False)]

    async def budgets(self) -> Iterable[Budget]:
        return [Budget("lane:cron", "month", 2_000_000, 500_000), Budget("", "day", 0, 0)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


def refuse(scope: Any) -> object:
    raise WrongKey


def metrics(store: Store, meter: Meter, **more: Any) -> Metrics:
    known: dict[str, Any] = {"open_here": lambda: False, "version": "1.2"}
    return Metrics(meter, Sources(store), refuse, **{**known, **more})


def parsed(page: bytes) -> dict[Sample, float]:
    found: dict[Sample, float] = {}
    for family in text_string_to_metric_families(page.decode()):
        assert family.documentation and family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            labels = dict(sample.labels)
            if "le" in labels:  # 4 and 4.0 are the same bound
                labels["le"] = repr(float(labels["le"]))
            key = sample.name, tuple(sorted(labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def named(found: dict[Sample, float], name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {labels: value for (one, labels), value in found.items() if one == name}


async def test_what_is_counted_is_what_happened(store: SqliteStore) -> None:
    """Requests, tokens, money and times stand there as they were, under OpenTelemetry's names
    where there is one."""
    meter = Meter()
    for one in (
        call(), call(total_ms=2050.0), call(outcome="timeout", usage=Usage(), stream=False),
        call(outcome="over_budget", status=429, backend="", model="", usage=Usage()),
        call(api="embeddings", stream=False, estimated=True, caller="job", lane="embed"),
    ):  # fmt: skip
        meter.ended(one)
    meter.wrong_key()
    found = parsed(await metrics(store, meter, provider={"cloud": "openai"}.__getitem__).page())
    requests = named(found, "stead_requests_total")
    assert sum(requests.values()) == 5
    assert {dict(labels)["outcome"] for labels in requests} == {"ok", "timeout", "over_budget"}
    big = (("backend", "cloud"), ("model", "big"))
    assert named(found, "stead_cost_usd_total") == {big: pytest.approx(90e-6)}
    assert named(found, "stead_usage_estimated_total") == {big: 1}
    tokens = {dict(k)["type"]: v for k, v in named(found, "stead_tokens_total").items()}
    assert tokens == {
        "input": 300, "output": 60, "cache_read": 120, "cache_write": 21, "reasoning": 15
    }  # fmt: skip
    assert named(found, "stead_wrong_keys_total") == {(): 1}
    assert named(found, "stead_key_errors_total")[("key", "notes"),] == 2
    chat = {
        "gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "big",
    }  # fmt: skip
    name = "gen_ai_client_operation_duration_seconds"
    assert named(found, f"{name}_sum")[tuple(sorted(chat.items()))] == pytest.approx(3.0)
    failed = tuple(sorted({**chat, "error_type": "timeout"}.items()))
    assert named(found, f"{name}_count")[failed] == 1
    spent = named(found, "gen_ai_client_token_usage_sum")
    assert spent[tuple(sorted({**chat, "gen_ai_token_type": "input"}.items()))] == 200
    assert named(found, "gen_ai_server_time_to_first_token_seconds_sum") == {
        tuple(sorted(chat.items())): pytest.approx(0.1)
    }
    per = named(found, "gen_ai_server_time_per_output_token_seconds_sum")
    assert per[tuple(sorted(chat.items()))] == pytest.approx(3.0 / 19)


async def test_how_things_stand(store: SqliteStore) -> None:
    """Queue, nodes, store, budgets and upstreams stand beside the requests."""
    await store.record_calls([], [call(key_id="k9")])
    found = parsed(await metrics(store, Meter()).page())
    assert named(found, "stead_jobs")[("state", "queued"),] == 0
    assert named(found, "stead_node_up") == {(("node", "home"),): 1}
    assert named(found, "stead_store_commits_total") == {(): 3}
    assert named(found, "stead_requests_under_way") == {(): 2}
    assert named(found, "stead_spent_usd")[("period", "day"), ("scope", "key:k9")] == 30e-6
    ratio = named(found, "stead_budget_used_ratio")
    assert ratio[("period", "month"), ("scope", "lane:cron")] == 0.25
    up = named(found, "stead_upstream_up")
    assert up[("backend", "cloud"), ("instance", "b:2")] == 0
    assert named(found, "stead_build_info") == {(("version", "1.2"),): 1}


async def test_a_store_that_cannot_be_read_hides_nothing_else(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the database is away, what can be counted is still shown."""

    async def away() -> None:
        raise StoreUnusable(path="state.db", why="the disk is gone")

    monkeypatch.setattr(store, "view_counts", away)
    monkeypatch.setattr(store, "view_spent", away)
    meter = Meter()
    meter.ended(call())
    found = parsed(await metrics(store, meter).page())
    assert sum(named(found, "stead_requests_total").values()) == 1
    assert named(found, "stead_node_up") and not named(found, "stead_jobs")


def test_histograms_are_those_of_the_library() -> None:
    """Buckets, sums and counts are what prometheus-client makes of the same observations."""
    registry, meter, rng = CollectorRegistry(), Meter(), random.Random(7)
    seconds = Histogram("seconds", "s", buckets=DURATION, registry=registry)
    tokens = Histogram("tokens", "t", buckets=TOKENS, registry=registry)
    for _ in range(500):
        ms = rng.choice([rng.uniform(0, 100_000), 1000 * rng.choice(DURATION)])
        many = rng.choice([0, 1, 4, rng.randrange(10**6), 10**9])
        seconds.observe(ms * 0.001)
        tokens.observe(many)
        meter.ended(call(total_ms=ms, waited_ms=0.0, usage=Usage(many, 0, 1)))
    (one,) = meter.series.values()
    page = Page()
    page.family("seconds", "histogram", "s").histogram(DURATION, one.duration, one.duration_s, {})
    page.family("tokens", "histogram", "t").histogram(TOKENS, one.tokens_in, one.tokens_in_sum, {})
    theirs = {
        key: value
        for key, value in parsed(generate_latest(registry)).items()
        if not key[0].endswith("_created")
    }
    ours = parsed(page.text())
    assert ours.keys() == theirs.keys()
    assert all(ours[key] == pytest.approx(theirs[key]) for key in ours)


def test_any_name_is_told_right() -> None:
    """Names with quotes, line breaks or other letters come out of the parser as they went in."""
    names = ['a"b', "a\\b", "a\nb", "käse 🧀", "a{b}=c,d", "", "\\n", " "]
    page = Page()
    family = page.family("odd", "gauge", 'a "help" with \\ and\nlines')
    for n, name in enumerate(names):
        family.sample(n + 0.5, {"name": name})
    found = named(parsed(page.text()), "odd")
    assert found == {(("name", name),): n + 0.5 for n, name in enumerate(names)}


async def test_what_is_counted_apart_is_bounded(store: SqliteStore) -> None:
    """However many names there are, the memory and the page stay small; the sums stay right."""
    meter = Meter()
    for n in range(3 * MOST):
        meter.ended(call(model=f"m{n}", caller=f"k{n}"))
    assert len(meter.series) <= MOST + 50 and len(meter.keys) <= MOST + 1
    assert sum(one.calls for one in meter.series.values()) == 3 * MOST
    assert sum(one.calls for one in meter.keys.values()) == 3 * MOST
    found = parsed(await metrics(store, meter).page())
    assert named(found, "stead_key_requests_total")[("key", OTHER),] >= 2 * MOST


def scope(client: str | None, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"client": (client, 1) if client else None, "headers": list(headers)}


@pytest.mark.parametrize(
    ("asked", "here"),
    [
        (scope("127.0.0.1", (b"host", b"127.0.0.1:7832")), True),
        (scope("127.9.9.9", (b"host", b"localhost")), True),
        (scope("::1", (b"host", b"[::1]:7832")), True),
        (scope("::1", (b"host", b"[::1]")), True),
        (scope("192.168.1.4", (b"host", b"localhost")), False),
        (scope("127.0.0.1", (b"host", b"evil.example:7832")), False),
        (scope("127.0.0.1", (b"host", b"localhost.evil.example")), False),
        (scope("127.0.0.1", (b"host", b"127.0.0.1.evil.example")), False),
        (scope("127.0.0.1"), False),
        (scope(None, (b"host", b"localhost")), False),
        (scope("127.0.0.1", (b"host", b"localhost"), (b"x-forwarded-for", b"1.2.3.4")), False),
        (scope("127.0.0.1", (b"host", b"localhost"), (b"forwarded", b"for=1.2.3.4")), False),
    ],
)
def test_who_is_here(asked: dict[str, Any], here: bool) -> None:
    """Without a key only programs of this machine read it: nobody through a proxy, and no page of
    the web whose name was pointed here."""
    assert is_here(asked) is here
