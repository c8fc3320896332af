"""The owner's API: messages in, jobs and their stories out, nodes, status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.blobs.handed import Handed
from stead.core.errors import BadRequest, Forbidden, NotFound
from stead.core.ids import uuid7
from stead.core.nouns import Inbound
from stead.core.people import OWNER, inside, outside, person_of
from stead.core.place import Place
from stead.core.placement import is_label, is_node_name
from stead.core.recall import OFF_THE_RECORD, is_off_the_record
from stead.core.states import Lane
from stead.core.storage import Accepted, Store, View
from stead.flow.flow import Flow
from stead.flow.live import Seen
from stead.gateway.auth import Keys
from stead.gateway.http import (
    Endpoint,
    Json,
    comment,
    decode,
    named,
    number,
    read_body,
    sse,
    stream,
)
from stead.gateway.people import asker, note
from stead.gateway.placement import Placement
from stead.gateway.status import Status
from stead.gateway.talk import Stopping, Talk

_ANSWERS = ("repeat", "done", "fail")
_OF_THE_RECORD = {
    "session": str, "after": int, "before": int, "limit": int, "most": int, "read": str,
}  # fmt: skip


class _NewMessage(msgspec.Struct):
    text: str
    session: str = "main"
    mark: str = ""
    external_id: str = ""
    channel: str = "cli"
    lane: Lane = Lane.CHAT
    needs: list[str] = msgspec.field(default_factory=list)
    prefer: list[str] = msgspec.field(default_factory=list)
    avoid: list[str] = msgspec.field(default_factory=list)
    off_the_record: bool = False
    replaces: str = ""
    """The id of an earlier message of yours in this conversation: in prompts this one stands in its
    place, and what was said after it is left out. The record keeps all."""
    files: list[str] = msgspec.field(default_factory=list)


class _Session(msgspec.Struct):
    session: str


class _Answer(msgspec.Struct):
    answer: str


class Owner:
    """``/api/v1/...``, all with the owner's key."""

    def __init__(
        self,
        store: Store,
        flow: Flow,
        talk: Talk,
        keys: Keys,
        placement: Placement,
        status: Status,
        handed: Handed,
        *,
        max_body: int,
    ) -> None:
        self._store = store
        self._flow = flow
        self._talk = talk
        self._keys = keys
        self._placement = placement
        self._status = status
        self._handed = handed
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/status",
                self._get_status,
                "GET",
                about="How everything is: queue, nodes, models, channels, money, troubles",
            ),
            route(
                "/messages",
                self._post_message,
                "POST",
                about="Hand in a message; it is recorded when this is answered",
                takes=_NewMessage,
                members=True,
            ),
            route(
                "/messages",
                self._get_messages,
                "GET",
                about="The record of a conversation",
                asks=_OF_THE_RECORD,
                members=True,
            ),
            route(
                "/off-the-record/end",
                self._end_off_the_record,
                "POST",
                about="Leave a conversation off the record: its words are taken out",
                takes=_Session,
                members=True,
            ),
            Route("/api/v1/jobs/{id}/events", Endpoint(self._events), methods=["GET"]),
            route(
                "/jobs",
                self._get_jobs,
                "GET",
                about="Jobs, the newest first",
                asks={
                    **dict.fromkeys(("state", "lane", "session", "person", "before"), str),
                    "limit": int,
                },
                members=True,
            ),
            route(
                "/jobs/{id}/attempts",
                self._get_attempts,
                "GET",
                about="Each attempt at a job, the discarded ones too",
            ),
            route("/jobs/{id}/cancel", self._cancel, "POST", about="Stop a job", members=True),
            route("/jobs/{id}/retry", self._retry, "POST", about="Try a dead job again"),
            route(
                "/jobs/{id}/answer",
                self._answer,
                "POST",
                about="Answer what a waiting job asks",
                takes=_Answer,
            ),
            route(
                "/why/{id}",
                self._why,
                "GET",
                about="The whole story of a message or job",
                members=True,
            ),
        ]

    async def _body(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._max_body)

    async def _get_status(self, request: Request) -> Response:
        return Json(await self._status.whole())

    # --- messages ------------------------------------------------------------------------

    async def _post_message(self, request: Request) -> Response:
        body = decode(await self._body(request), _NewMessage)
        session = _session_of(body)
        if not body.text.strip() and not body.files:
            raise BadRequest("The message is empty.", param="text")
        if body.mark not in ("", "light", "heavy"):
            raise BadRequest("mark must be light, heavy or empty.", param="mark")
        person = asker(request)
        files = await self._handed.given(body.files, person)
        accepted = await self._flow.accept(
            Inbound(
                files=files,
                channel=self._channel(body, person),
                external_id=identity(body.external_id, person),
                text=body.text,
                session=session,
                mark=body.mark,
                lane=body.lane,
                needs=_list(body.needs, is_label, "needs", "a label"),
                prefer=_list(body.prefer, is_node_name, "prefer", "the name of a node"),
                avoid=_list(body.avoid, is_node_name, "avoid", "the name of a node"),
                person=person,
                replaces=body.replaces,
            )
        )
        return Json(receipt(accepted, session), status_code=202)

    def _channel(self, body: _NewMessage, person: str) -> str:
        channel = named(body.channel, 64, "channel", "cli")
        if person != OWNER and channel in self._flow.channels:
            # What is answered there is pushed to the owner's own devices.
            raise Forbidden(why=f"the channel {channel} is the owner's")
        return channel

    async def _get_messages(self, request: Request) -> Response:
        query, person = request.query_params, asker(request)
        session = inside(person, query.get("session", "main"))
        after = number(query.get("after"), "after", -1)
        limit = max(1, min(500, number(query.get("limit"), "limit", 50)))
        if after >= 0:
            page = await self._store.view_messages(session, after, limit)
        else:
            before = max(0, number(query.get("before"), "before", 0))
            most = number(query.get("most"), "most", -1)
            page = await self._store.view_older(session, before, limit, most)
        if query.get("read"):  # the owner sees them now: what waited to be fetched is delivered
            shown = [message["id"] for message in page["messages"] if message["role"] != "owner"]
            await self._store.fetched_messages(shown)
        if person != OWNER:
            told = [{**one, "session": outside(one["session"])} for one in page["messages"]]
            page = {**page, "messages": told}
        return Json(page)

    async def _end_off_the_record(self, request: Request) -> Response:
        session = decode(await self._body(request), _Session).session
        off = self._flow.off_record
        known = off is not None and await off.end(inside(asker(request), session))
        return Json({"session": session, "ended": known})

    # --- jobs ----------------------------------------------------------------------------

    async def _get_jobs(self, request: Request) -> Response:
        query, person = request.query_params, asker(request)
        people, session = self._keys.people, query.get("session", "")
        whose = person if person != OWNER else query.get("person", "")
        page = await self._store.view_jobs(
            state=query.get("state", ""),
            lane=query.get("lane", ""),
            session=inside(person, session) if session else "",
            person=people.named(whose).id if whose else "",
            before=query.get("before", ""),
            limit=max(1, min(500, number(query.get("limit"), "limit", 20))),
        )
        return Json({**page, "jobs": [people.told(job, person) for job in page["jobs"]]})

    async def _story(self, request: Request) -> View:
        """What is asked for by the id in the path. Raises ``NotFound`` for what is not of who
        asks, as if it were not there."""
        ident, person = request.path_params["id"], asker(request)
        try:
            story = await self._store.view_why(ident)
        except BadRequest:  # names what it may be: others' too
            if person == OWNER:
                raise
            story = None
        if person != OWNER and (story is None or person_of(story["job"]["session"]) != person):
            raise NotFound(what=f"job or message {ident[:80]!r}")
        assert story is not None
        return story

    async def _why(self, request: Request) -> Response:
        story, person = await self._story(request), asker(request)
        for part in ("job", "message", "reply"):
            if story[part] is not None:
                story[part] = self._keys.people.told(story[part], person)
        job = story["job"]
        queued = job["state"] == "queued"
        demand = (job["needs"], job["prefer"], job["avoid"])
        story["waits_for_node"] = self._placement.waits(demand) if queued else ""
        return Json(story)

    async def _get_attempts(self, request: Request) -> Response:
        return Json(await self._store.view_attempts(request.path_params["id"]))

    async def _job_id(self, request: Request) -> str:
        return str((await self._story(request))["job"]["id"])

    async def _cancel(self, request: Request) -> Response:
        ended = await self._flow.cancel(await self._job_id(request))
        asked = ended.job.cancel_req and ended.state == "running"
        return Json({"job_id": ended.job.id, "state": ended.state, "asked": asked})

    async def _retry(self, request: Request) -> Response:
        job = await self._flow.revive(await self._job_id(request))
        return Json({"job_id": job.id, "state": job.state})

    async def _answer(self, request: Request) -> Response:
        answer = decode(await self._body(request), _Answer).answer
        if answer not in _ANSWERS:
            raise BadRequest(f"answer must be one of {', '.join(_ANSWERS)}.", param="answer")
        job = await self._flow.answer(await self._job_id(request), answer)
        return Json({"job_id": job.id, "state": job.state})

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        note(scope, self._keys.asker(scope))
        request = Request(scope, receive)
        job_id = await self._job_id(request)
        place = Place.parse(request.headers.get("last-event-id"))
        await stream(receive, send, self._followed(job_id, place))

    async def _followed(self, job_id: str, place: Place) -> AsyncIterator[bytes]:
        try:
            async for seen in self._talk.follow(job_id, place):
                if seen is None:
                    yield comment("still working")
                elif isinstance(seen, Seen):
                    yield sse({"text": seen.text}, event=seen.type, ident=str(seen.place))
                else:
                    yield sse(asdict(seen), event="end")
                    await self._talk.read(seen)
        except Stopping:  # the stream ends well, and its client comes back with its last id
            yield b"retry: 500\n" + comment("is being stopped; connect again")


def identity(given: str, person: str) -> str:
    """By which a message is known again. What one person's client makes up is not another's."""
    own = given or f"auto:{uuid7()}"
    return own if person == OWNER else f"{person}:{own}"


def receipt(accepted: Accepted, session: str) -> dict[str, Any]:
    """What is told to who handed in a message."""
    to, _, rule = accepted.route.partition(": ")
    return {
        "message_id": accepted.message_id,
        "job_id": accepted.job_id,
        "duplicate": accepted.duplicate,
        "route": {"to": to, "rule": rule},
        "session": session,
    }


def _session_of(body: _NewMessage) -> str:
    """The conversation that is meant. One off the record is a conversation of its own, so that no
    half of another goes with it."""
    if not body.off_the_record:
        return named(body.session, 200, "session", "main")
    if body.session in ("", "main"):
        return f"{OFF_THE_RECORD}{uuid7()[-12:]}"
    if not is_off_the_record(body.session):
        raise BadRequest(
            "A conversation off the record is one of its own: leave session out to begin one, or"
            f" name one that you began so ({OFF_THE_RECORD}...).",
            param="session",
        )
    return named(body.session, 200, "session", "main")


def _list(values: list[str], fits: Callable[[str], bool], param: str, what: str) -> tuple[str, ...]:
    if len(values) > 10:
        raise BadRequest(f"{param} has more than 10 entries.", param=param)
    for value in values:
        if not fits(value):
            raise BadRequest(f"{value[:80]!r} in {param} is not {what}.", param=param)
    return tuple(sorted({*values}))
