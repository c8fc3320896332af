"""A house to route in: two boxes at home with the same models, one more, and two in the cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stead.inference.backends import Backend, BackendModel
from stead.inference.routing.routes import Routes
from stead.inference.routing.rules import Judge, Lane, Setup
from stead.inference.seam import Api, Asked, Plan, Verdict, Way, Who

QWEN = BackendModel("qwen-8b", alias="qwen", context=8000, vision="no")
EYES = BackendModel("llava", vision="yes", context=4000)
PLAIN = BackendModel("plain", tools="none")
BIG = BackendModel("gpt-big", usd_per_mtok_in=2.0, usd_per_mtok_out=8.0, context=400_000)
GIFT = BackendModel("gift", free=True)
CLAUDE = BackendModel("claude", usd_per_mtok_in=3.0)
VECTORS = BackendModel("vectors", apis=frozenset({"embeddings"}))

BOX_A = Backend("box", "http://10.0.0.1/v1", models=(QWEN, EYES))
BOX_B = Backend("box", "http://10.0.0.2/v1", models=(QWEN, EYES))
SHELF = Backend("shelf", "http://10.0.0.9/v1", models=(PLAIN, VECTORS))
CLOUD = Backend("cloud", "https://cloud.example/v1", models=(BIG, GIFT))
FAR = Backend("far", "https://far.example/v1", models=(CLAUDE,), kind="anthropic")
HOUSE = (BOX_A, BOX_B, SHELF, CLOUD, FAR)

OWNER = Who("owner")
ANY = Verdict()


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def routes(
    *lanes: Lane,
    judges: tuple[Judge, ...] = (),
    roles: Mapping[str, str] | None = None,
    backends: tuple[Backend, ...] = HOUSE,
    clock: Clock | None = None,
    services: Mapping[str, Backend] | None = None,
) -> Routes:
    setup = Setup(backends, lanes, judges, roles or {}, services or {})
    return Routes(setup, clock=clock or Clock())


def asked(model: str, api: Api = Api.CHAT, **more: Any) -> Asked:
    return Asked(api, more.pop("body", b"{}"), "application/json", model, **more)


def plan(found: Routes, model: str, api: Api = Api.CHAT, **more: Any) -> Plan:
    verdict = more.pop("verdict", ANY)
    who = more.pop("who", OWNER)
    return found.plan(who, asked(model, api, **more), verdict)


def names(plan: Plan) -> list[str]:
    """The ways as ``box1/qwen``: instances by the end of their address."""
    return [name(way) for way in plan.ways]


def name(way: Way) -> str:
    if way.backend is None:
        return "local"
    number = {BOX_A.url: "1", BOX_B.url: "2"}.get(way.backend.url, "")
    return f"{way.backend.name}{number}/{way.model.called}"


def fails(found: Routes, way: Way, status: int = 0, retry_after_s: float = 0.0) -> None:
    """A call there comes to such an end."""
    found.began(way)
    found.ended(way, status=status, retry_after_s=retry_after_s)
