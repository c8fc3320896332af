"""The kinds of jobs a worker can run. A new kind is one function and one line in ``KINDS``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from stead.agent.loop import Result, Task, Toolbox, run
from stead.agent.permits import Asker
from stead.agent.tools.base import Look
from stead.agent.tools.more_tools import with_more
from stead.blobs.copies import place_of
from stead.core.errors import BadRequest
from stead.core.permits import Answered, PermitRule
from stead.core.ports import Emit, Journal, ModelClient
from stead.core.recall import MemoryAsk, MemoryReply
from stead.core.states import Lane
from stead.core.wire import ClaimedJob
from stead.node.attachments import Bringer, Brought, Fetch
from stead.permit.judge import Permits


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job with all that its handler needs."""

    job: ClaimedJob
    model_for: Callable[[ClaimedJob], ModelClient]
    toolbox: Toolbox
    journal: Journal
    emit: Emit
    own: tuple[PermitRule, ...] = ()
    """Rules of the node itself, which can only make it stricter."""
    look: Look | None = None
    """Asks the gateway what is remembered."""
    fetch: Fetch | None = None
    """Asks the gateway for files."""


Handler = Callable[[Work], Awaitable[Result]]


async def chat(work: Work) -> Result:
    """The agent. Payload: text, files, instructions, role, overrides, answers, channel, foreign,
    answered."""
    job = work.job
    workspace = work.toolbox.context.workspace
    bringer = Bringer(job, work.fetch, workspace, job.profile, work.emit)
    brought = await bringer.bring(_text(job, "text"))
    try:
        return await _answer(work, brought)
    finally:
        bringer.end(brought)


async def _answer(work: Work, brought: Brought) -> Result:
    job = work.job
    foreign = bool(job.payload.get("foreign"))
    task = Task(
        id=job.id,
        session=job.session or "",
        text=brought.text,
        files=brought.files,
        files_said=brought.words,
        pictures=brought.pictures,
        instructions=_instructions(job),
        history=job.history,
        profile=job.profile,
        limits=job.limits,
        started_ago_ms=job.age_ms,
        overrides=job.payload.get("overrides") or {},
        answers=job.payload.get("answers") or {},
        asker=Asker(
            permits=Permits((*job.permits, *_own_files(job, brought)), work.own),
            session=job.session or "",
            person=job.person,
            channel=_text(job, "channel"),
            lane=job.lane,
            foreign=foreign,
            answered=_answered(job),
        ),
        channels=tuple(job.channels),
        from_outside=_text(job, "channel") if foreign else "",
        recall=job.recall,
        memory=None if work.look is None else _looking(work.look, job),
    )
    role = _text(job, "role") or "main"
    model = work.model_for(job)
    tools = work.toolbox if job.lane == Lane.CHAT else work.toolbox.in_background()
    if job.tools is not None:
        reading = [_READ] * bool(brought.words)
        tools = tools.only((*job.tools, *reading), with_more)
    return await run(task, model, tools, work.journal, work.emit, role)


async def noop(work: Work) -> Result:
    """Ends at once with its own text: for benchmarks and checks of the whole way."""
    return Result(outcome="done", text=_text(work.job, "text"))


KINDS: Mapping[str, Handler] = {
    "chat": chat,
    "noop": noop,
}


#: Before all else that is said for a turn of somebody besides the owner.
NOT_THE_OWNER = (
    "You are talking with {called}, whom the owner of this house lets talk with you. {called} is"
    " not the owner: answer what is asked, and say so where something is the owner's to allow."
)


#: By which somebody besides the owner reads the files of his or her own conversation.
_READ = "read_file"


def _own_files(job: ClaimedJob, brought: Brought) -> list[PermitRule]:
    """What lets somebody besides the owner have what they handed in themselves read."""
    if job.tools is None or not brought.words:
        return []
    files = {*brought.files, *(file for turn in job.history for file in turn.files)}
    places = tuple(sorted(place_of(file) for file in files if file.id in brought.words))
    return [PermitRule("own files", "allow", (_READ,), reads=places, persons=(job.person,))]


def _instructions(job: ClaimedJob) -> str:
    given = _text(job, "instructions")
    if not job.called:
        return given
    return "\n\n".join(filter(None, (NOT_THE_OWNER.format(called=job.called), given)))


def _looking(look: Look, job: ClaimedJob) -> Look:
    """A look into memory by this attempt and no other."""

    async def looking(ask: MemoryAsk) -> MemoryReply:
        return await look(replace(ask, job_id=job.id, epoch=job.epoch))

    return looking


def _answered(job: ClaimedJob) -> tuple[Answered, ...]:
    """What the owner said to questions of this job."""
    try:
        return tuple(msgspec.convert(job.payload.get("answered") or [], list[Answered]))
    except msgspec.ValidationError as error:
        raise BadRequest(why=f"payload.answered of job {job.id}: {error}") from error


def _text(job: ClaimedJob, name: str) -> str:
    value: Any = job.payload.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(why=f"payload.{name} of job {job.id} is not text")
    return value
