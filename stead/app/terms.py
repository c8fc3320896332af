"""Settings as the rooms of queue, flow, ledger and retention understand them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from stead.config import Settings
from stead.core.limits import Limit
from stead.core.nouns import Limits
from stead.flow.flow import Flow
from stead.flow.router import Router, Rule
from stead.gateway.node_service import NodeService
from stead.inference.plane.plane import Plane
from stead.keep.retention import Terms
from stead.queue.policy import Policy

_MICRO = 1_000_000


def taker(
    flow: Flow, service: NodeService, plane: Plane
) -> Callable[[Settings], Callable[[], None]]:
    """How a running gateway takes over what holds for messages, jobs and its log."""

    def prepare(settings: Settings) -> Callable[[], None]:
        router = Router(rules(settings))
        bounds = limits(settings)

        def take() -> None:
            flow.router = router
            service.limits = bounds
            plane.parts.local.wait_s = settings.model.wait_s
            logging.getLogger().setLevel(settings.log.level.upper())

        return take

    return prepare


def router(settings: Settings) -> Router:
    return Router(rules(settings))


def policy(settings: Settings) -> Policy:
    queue = settings.queue
    return Policy(
        lease_ms=int(queue.lease_s * 1000),
        backoff_ms=int(queue.backoff_s * 1000),
        backoff_max_ms=int(queue.backoff_max_s * 1000),
    )


def queue_limits(settings: Settings) -> list[Limit]:
    return [
        Limit(one.key, one.at_once, one.starts, int(one.per_s * 1000))
        for one in settings.queue.limit
    ]


def terms(settings: Settings) -> Terms:
    kept = settings.retention
    return Terms(
        jobs_ms=int(kept.jobs_days * 86_400_000),
        dead_ms=int(kept.dead_days * 86_400_000),
        calls_ms=int(kept.calls_days * 86_400_000),
        max_bytes=int(kept.max_mb * 1_000_000),
        every_ms=int(kept.every_h * 3_600_000),
    )


def limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(
        steps=limits.steps,
        tokens=limits.tokens,
        cost_micro=int(limits.usd * _MICRO),
        wall_s=limits.wall_s,
        answer_tokens=limits.answer_tokens,
    )


def rules(settings: Settings) -> list[Rule]:
    return [
        Rule(
            name=rule.name, to=rule.to, mark=rule.mark, match=rule.match, unless=rule.unless,
            max_chars=rule.max_chars, channel=rule.channel, lane=rule.lane,
            needs=tuple(rule.needs), prefer=tuple(rule.prefer), avoid=tuple(rule.avoid),
        )
        for rule in settings.route
    ]  # fmt: skip
