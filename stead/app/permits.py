"""The owner's rules of permission, as the gateway hands them out and commands explain them."""

from __future__ import annotations

from collections.abc import Callable

from stead.config import Settings, permit_rule
from stead.core.permits import PermitRule
from stead.gateway.node_service import NodeService


def rules_of(settings: Settings) -> list[PermitRule]:
    """The rules of stead.toml."""
    return [permit_rule(one) for one in settings.permit]


def taker(service: NodeService) -> Callable[[Settings], Callable[[], None]]:
    """How a running gateway takes over rules: for the jobs that are given out from now on."""

    def prepare(settings: Settings) -> Callable[[], None]:
        rules = rules_of(settings)

        def take() -> None:
            service.permits = rules

        return take

    return prepare
