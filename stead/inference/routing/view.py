"""What `stead backends` and `stead status` show of the routing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from stead.inference.backends import Backend
from stead.inference.routing.health import Place
from stead.inference.routing.routes import Routes
from stead.inference.routing.table import Group, left_out


def whole(routes: Routes) -> dict[str, Any]:
    """For `stead status`: all of it, and what is not as it should be in sentences."""
    return {"backends": backends(routes), "lanes": lanes(routes), "not_yet": not_yet(routes)}


def backends(routes: Routes) -> list[dict[str, Any]]:
    """Every instance with its state, and what it has."""
    health = routes.health
    now = health.clock()
    return [
        {
            "name": backend.name,
            "url": shown(backend.url),
            "kind": backend.kind,
            "where": "house" if backend.house else "cloud",
            "apis": sorted(backend.apis),
            "models": [model.called for model in backend.models],
            **_state(health.place(backend.place), backend, now),
        }
        for backend in routes.setup.backends
    ]


def lanes(routes: Routes) -> list[dict[str, Any]]:
    """Every lane with its models in their order, and what it can never reach."""
    table = routes.table
    unreachable = left_out(table)
    names = dict.fromkeys([*table.lanes, "main", "light", *table.services])
    found = []
    for name in names:
        group = table.find(name)
        if group is not None:
            found.append(
                {
                    "name": name,
                    "models": _models(group),
                    "shares": _shares(group),
                    "shadow": group.shadow.label if group.shadow is not None else "",
                    "left_out": list(unreachable.get(name, ())),
                    "own": name in table.lanes,
                }
            )
    return found


def not_yet(routes: Routes) -> list[str]:
    """What does not work, in sentences."""
    told = []
    for one in backends(routes):
        if one["state"] in ("ok", "unknown"):
            continue
        others = sum(other.name == one["name"] for other in routes.setup.backends) > 1
        instead = "; its other instances get its calls" if others else ""
        told.append(f"backend {one['name']} at {one['url']}: {one['why']}{instead}")
    for name, left in left_out(routes.table).items():
        told.append(f"lane {name} never reaches {'; '.join(left)}")
    return told


def shown(url: str) -> str:
    """An address without a user and a password in it."""
    try:
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
    except ValueError:
        return ""


def _state(place: Place, backend: Backend, now: float) -> dict[str, Any]:
    waits = {
        model: {"why": why, "left_s": round(until - now, 1)}
        for model, (until, why, _) in place.waits.items()
        if until > now
    }
    if place.rests_until > now:
        state = "resting"
    elif place.rests_until:
        state = "trial"
    elif waits:
        state = "waiting"
    else:
        state = "ok" if place.heard_at > 0 else "unknown"
    why = place.why or "; ".join(f"{model}: {wait['why']}" for model, wait in waits.items())
    return {
        "state": state,
        "why": why,
        "again_in_s": round(max(0.0, place.rests_until - now), 1),
        "waits": waits,
        "under_way": place.load,
        "calls": place.calls,
        "failed": place.failed,
        "heard_s": round(now - place.heard_at, 1) if place.heard_at > 0 else None,
        "changed_at": int(place.changed_at * 1000),
    }


def _models(group: Group) -> list[str]:
    order: Iterator[str] = (choice.label for chain in group.chains for choice in chain.choices)
    return list(dict.fromkeys(order))


def _shares(group: Group) -> dict[str, float]:
    """Which part of the conversations begins with which model."""
    shares: dict[str, float] = {}
    before = 0.0
    for chain, bound in zip(group.chains, group.bounds, strict=False):
        if chain.choices:
            shares[chain.choices[0].label] = round(bound - before, 4)
        before = bound
    return shares
