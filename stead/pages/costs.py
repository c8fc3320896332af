"""The room *Costs*: what models cost, by day and by whom; budgets; every call and why."""

from __future__ import annotations

import time
from calendar import timegm
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest, SteadError
from stead.pages.forms import moment
from stead.pages.rooms import House, Room

_CALLS = "/api/v1/calls"
_BY = (
    ("model", "Model"), ("lane", "Lane"), ("key", "Key"), ("session", "Conversation"),
    ("backend", "Backend"), ("share", "Share"), ("month", "Month"),
)  # fmt: skip
_SPANS = (("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("0", "All"))
_FILTERS = ("key", "lane", "model", "backend", "api", "status", "outcome", "job")
_DAY_MS = 86_400_000
_ROWS = 100


def room(house: House) -> Room:
    """Sums and a chart; the list of calls; one call."""
    part = _Costs(house)
    routes = [
        Route("/costs", part.overview, methods=["GET"]),
        Route("/costs/calls", part.calls, methods=["GET"]),
        Route("/costs/calls/{id}", part.call, methods=["GET"]),
    ]
    return Room("costs", "Costs", routes)


class _Costs:
    def __init__(self, house: House) -> None:
        self._house = house

    async def overview(self, request: Request) -> Response:
        query, api = request.query_params, self._house.api(request)
        by = query.get("by", "model")
        by = by if by in dict(_BY) else "model"
        days = query.get("days", "30")
        days = days if days in dict(_SPANS) else "30"
        since = _since(int(days))
        sums = (await api.get(f"{_CALLS}/sums", by=by, since=since))["sums"]
        per_day = (await api.get(f"{_CALLS}/sums", by="day", since=since))["sums"]
        return self._house.render.page(
            request, "costs/overview.html", money=await api.get("/api/v1/budgets"),
            days=_all_days(per_day, since), by=by, span=days, spans=_SPANS, all_by=_BY,
            sums=[{**one, "name": one[by]} for one in sums[:_ROWS]], more=len(sums) - _ROWS,
            total=_total(per_day), since=since, filter=_filter_of(by),
        )  # fmt: skip

    async def calls(self, request: Request) -> Response:
        query = request.query_params
        asked = {name: query.get(name, "").strip()[:200] for name in _FILTERS}
        times = {name: query.get(name, "").strip() for name in ("since", "until")}
        rest = {name: query.get(name, "").strip() for name in ("slow_s", "cost_over_usd")}
        found: Any = {"calls": [], "more": False}
        wrong = ""
        try:
            found = await self._house.api(request).get(
                _CALLS, **{name: value or None for name, value in asked.items()},
                since=moment(times["since"], "since"),
                until=moment(times["until"], "until", end=True),
                slow_ms=_scaled(rest["slow_s"], 1000), before=query.get("before") or None,
                cost_over=_scaled(rest["cost_over_usd"], 1_000_000), limit=50,
            )  # fmt: skip
        except SteadError as error:
            wrong = error.message
        given = {**asked, **times, **rest}
        return self._house.render.page(
            request, "costs/calls.html", status=422 if wrong else 200, found=found, asked=given,
            wrong=wrong, before=query.get("before", ""), narrowed=any(given.values()),
        )  # fmt: skip

    async def call(self, request: Request) -> Response:
        ident = request.path_params["id"]
        found = await self._house.api(request).get(f"{_CALLS}/{ident}")
        return self._house.render.page(request, "costs/call.html", call=found)


def _since(days: int) -> int | None:
    """The beginning of the first of so many days (UTC, as the sums have them); None: of all."""
    if not days:
        return None
    now = time.time_ns() // 1_000_000
    return (now // _DAY_MS - days + 1) * _DAY_MS


def _all_days(found: list[dict[str, Any]], since: int | None) -> list[dict[str, Any]]:
    """Days on which nothing was asked are there, too: a chart must not pass over them."""
    known = {one["day"]: one for one in found}
    if not known:
        return []
    first = min(known) if since is None else _name(since)
    last = max(max(known), _name(time.time_ns() // 1_000_000))
    out: list[dict[str, Any]] = []
    at = _start(first)
    empty = {"calls": 0, "errors": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost_micro": 0}
    while (name := _name(at)) <= last and len(out) < 4_000:
        out.append({**empty, **known.get(name, {}), "day": name, "at": at // 1000})
        at += _DAY_MS
    return out


def _name(ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ms / 1000))


def _start(day: str) -> int:
    return timegm(time.strptime(day, "%Y-%m-%d")) * 1000


def _total(days: list[dict[str, Any]]) -> dict[str, int]:
    names = ("calls", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_micro")
    return {name: sum(one[name] or 0 for one in days) for name in names}


def _filter_of(by: str) -> str:
    """The filter of the list of calls that shows what a sum is made of."""
    return by if by in ("model", "lane", "key", "backend") else ""


def _scaled(text: str, factor: int) -> int | None:
    """Raises ``BadRequest``."""
    if not text:
        return None
    try:
        return int(float(text) * factor)
    except (ValueError, OverflowError):
        raise BadRequest(f"{text!r} is no number.") from None
