"""The room *Jobs*: what is to be done, is being done and was done, and why; live."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stead.core.states import Lane
from stead.pages.form import fields
from stead.pages.inside import Api, Refused
from stead.pages.render import say
from stead.pages.rooms import House, Room
from stead.pages.shown import Bundle, Make, Shown

#: Rows of a page of the list; of those read again at most; of those sent for one change.
_PAGE, _ANEW, _ROWS = 30, 300, 60
_FILTERS = ("state", "lane", "session")
#: The tabs: a state, and how it is called.
_TABS = (
    ("", "All"), ("waiting", "Waiting for you"), ("running", "Running"), ("queued", "Queued"),
    ("dead", "Could not be done"), ("done", "Done"), ("cancelled", "Cancelled"),
)  # fmt: skip
_SAID = {
    "cancel": "The job was asked to stop.", "retry": "The job is queued again.",
    "answer": "The job goes on with your answer.",
}  # fmt: skip


class Jobs:
    """The handlers."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def index(self, request: Request) -> Response:
        """The list: ``state``, ``lane``, ``session``, ``before`` (an id: those older than it)."""
        api, query = self._house.api(request), request.query_params
        asked = filters(query)
        place = (await api.get("/api/v1/changes"))["place"]
        page = await api.get(
            "/api/v1/jobs", limit=_PAGE, before=query.get("before") or None, **asked
        )
        rows = page["jobs"]
        older = {**asked, "before": rows[-1]["id"] if rows else ""}
        return self._house.render.page(
            request, "jobs/index.html", jobs=rows, more=page["more"], asked=asked,
            tabs=[(state, words, _address(asked | {"state": state})) for state, words in _TABS],
            older=_address(older), later=bool(query.get("before")), newest=_address(asked),
            live="/live?" + urlencode({"on": "job", "since": place, **asked}),
            lanes=[lane.value for lane in Lane],
        )  # fmt: skip

    async def show(self, request: Request) -> Response:
        """The story of one: an id of it or of its message, or a piece of one."""
        api = self._house.api(request)
        place = (await api.get("/api/v1/changes"))["place"]
        story = await api.get(f"/api/v1/why/{_safe(request)}")
        ident = story["job"]["id"]
        if request.path_params["id"] != ident:
            return RedirectResponse(f"/jobs/{ident}", 303)
        return self._house.render.page(
            request, "jobs/story.html", story=story, job=story["job"],
            live="/live?" + urlencode({"on": "story", "job": ident, "since": place}),
        )  # fmt: skip

    async def act(self, verb: str, request: Request) -> Response:
        """``cancel``, ``retry`` or ``answer``; back to the story, with what became of it."""
        ident = _safe(request)
        body: dict[str, str] | None = None
        if verb == "answer":
            body = {"answer": (await fields(request)).get("answer", "")}
        api = self._house.api(request)
        done = await api.post(f"/api/v1/jobs/{ident}/{verb}", body)
        words = "The job was cancelled." if done["state"] == "cancelled" else _SAID[verb]
        if request.headers.get("hx-request") != "true":
            return RedirectResponse(f"/jobs/{done['job_id']}", 303)
        story = await api.get(f"/api/v1/why/{done['job_id']}")
        return say(Response(self._head(story), media_type="text/html"), words)

    def _head(self, story: dict[str, Any]) -> str:
        return self._house.render.macro("jobs/parts.html", "head")(story)


def filters(query: QueryParams) -> dict[str, str]:
    """What of a list is asked for."""
    return {name: query[name][:200] for name in _FILTERS if query.get(name)}


def _address(asked: dict[str, str]) -> str:
    given = {name: value for name, value in asked.items() if value}
    return "/jobs" + (f"?{urlencode(given)}" if given else "")


def _safe(request: Request) -> str:
    """The id of a path as part of another: nothing but what an id may hold."""
    ident = str(request.path_params["id"])
    if not ident.replace("-", "").isalnum() or not ident.isascii():
        raise Refused(404, {"message": f"There is no job {ident[:80]!r}.", "code": "not_found"})
    return ident


# --- live -------------------------------------------------------------------------------


class Rows:
    """The rows of a list with its filters, down to the last one that is shown."""

    states = False

    def __init__(self, api: Api, query: QueryParams, row: Callable[[dict[str, Any]], str]) -> None:
        self._api = api
        self._row = row
        self._asked = filters(query)
        self._last = query.get("from", "")

    def _fits(self, job: dict[str, Any]) -> bool:
        return all(job[name] == value for name, value in self._asked.items())

    async def changed(self, bundle: Bundle) -> str:
        rows = [one["row"] for one in bundle.of("job") if one["id"] >= self._last]
        rows.sort(key=lambda row: str(row["id"]), reverse=True)
        html = []
        if len(rows) > _ROWS:  # what is older than these is to be had by the pager
            rows = rows[:_ROWS]
            html.append(f'<i data-live-cut="jobs" data-live-key="{rows[-1]["id"]}"></i>')
        for job in rows:
            if self._fits(job):
                html.append(bundle.once(("job", job["id"]), partial(self._row, job)))
            else:
                html.append(f'<li id="job-{job["id"]}" data-live-gone></li>')
        return "".join(html)

    async def anew(self) -> str:
        rows: list[dict[str, Any]] = []
        more = True
        while more and len(rows) < _ANEW and (not rows or rows[-1]["id"] > self._last):
            before = rows[-1]["id"] if rows else None
            page = await self._api.get("/api/v1/jobs", limit=100, before=before, **self._asked)
            rows, more = rows + page["jobs"], page["more"]
        shown = [job for job in rows if job["id"] >= self._last]
        return '<i data-live-clear="jobs"></i>' + "".join(self._row(job) for job in shown)


class Story:
    """The parts of one job's story; those that differ from what the page has."""

    states = False

    def __init__(
        self, api: Api, job: str, render: Callable[[dict[str, Any]], Iterator[tuple[str, str]]]
    ) -> None:
        self._api = api
        self._job = job
        self._render = render
        self._sent: dict[str, bytes] = {}

    async def changed(self, bundle: Bundle) -> str:
        mine = {one["id"] for one in bundle.of("job")}
        mine |= {one["row"]["job_id"] for one in bundle.of("approval")}
        return await self.anew() if self._job in mine else ""

    async def anew(self) -> str:
        story = await self._api.get(f"/api/v1/why/{self._job}")
        html = []
        for name, part in self._render(story):
            mark = hashlib.blake2b(part.encode("utf-8", "replace"), digest_size=16).digest()
            if self._sent.get(name) != mark:
                self._sent[name] = mark
                html.append(part)
        return "".join(html)


class _Elsewhere:
    """The story of what is no job."""

    states = False

    async def changed(self, bundle: Bundle) -> str:
        return ""

    async def anew(self) -> str:
        return ""


def rows(house: House) -> Make:
    """``on=job``: the list."""
    row = house.render.macro("jobs/parts.html", "row")
    return lambda api, query: Rows(api, query, row)


def story(house: House) -> Make:
    """``on=story``: one job."""
    macro = house.render.macro
    names = ("head", "attempts", "asked", "calls", "cost", "reply")
    whole = {name: macro("jobs/parts.html", name) for name in names}
    step = macro("jobs/parts.html", "step")

    def parts(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for name, render in whole.items():
            yield name, render(told)
        for one in told["steps"]:
            yield f"{one['seq']}-{one['epoch']}", step(one)

    def make(api: Api, query: QueryParams) -> Shown:
        job = query.get("job", "")
        if not job.replace("-", "").isalnum() or not job.isascii():
            return _Elsewhere()
        return Story(api, job, parts)

    return make


def room(house: House) -> Room:
    jobs = Jobs(house)
    return Room(
        "jobs",
        "Jobs",
        [
            Route("/jobs", jobs.index, methods=["GET"]),
            Route("/jobs/{id}", jobs.show, methods=["GET"]),
            *(
                Route(f"/jobs/{{id}}/{verb}", partial(jobs.act, verb), methods=["POST"])
                for verb in _SAID
            ),
        ],
    )
