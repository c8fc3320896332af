"""What an agent may do, as data that travels: rules, and questions about single calls.

What they mean is said in :mod:`stead.permit`; here is only what gateway, store and node hand to
each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ORIGINS = ("owner", "foreign", "private")
"""What a run has read: nothing but the owner's words, foreign text, something private."""

ONCE, JOB, ALWAYS, NO = "once", "job", "always", "no"
"""What the owner may say to a question about a call."""

_ARG = re.compile(r"([A-Za-z_][\w.-]*)\s*(~?)=\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PermitRule:
    """One rule. Every condition given must hold; an empty one says nothing."""

    name: str
    say: str
    """``allow``, ``ask`` or ``deny``."""
    tools: tuple[str, ...] = ()
    """Names, with ``*`` for any part of one."""
    args: tuple[str, ...] = ()
    """``NAME=PATTERN`` of a parsed argument, or ``NAME~=REGEX``; see :func:`arg_pattern`."""
    commands: tuple[str, ...] = ()
    """Patterns of a shell command, word by word: ``git log *``."""
    paths: tuple[str, ...] = ()
    """Files or folders with all below, read or written."""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    """``example.com``, ``*.example.com`` for those below it, ``*`` for any."""
    credentials: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    """Out of :data:`ORIGINS`."""
    why: str = ""
    """Told to whom it concerns."""
    scope: str = ""
    """Of a grant: the digest of the calls that the owner has allowed for ever. Such a rule has no
    other condition."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to the owner about one exact call."""

    seq: int
    """Of the step in its job."""
    tool: str
    preview: str
    """In plain words, what exactly will happen; of a question (``kind``), its words."""
    args: str
    """JSON text of the parsed arguments, secrets masked."""
    digest: str
    """Of tool, version, arguments, what they touch and the place in the job: an answer holds for
    this very call and no other."""
    why: str
    """Which rule asks."""
    foreign: bool = False
    """The run has read foreign text, which may be what asks for this."""
    offers: tuple[str, ...] = (ONCE, JOB, ALWAYS, NO)
    """What may be answered; of a question the choices, none: any words."""
    job_scope: str = ""
    """Digest of the calls that ``job`` allows for the rest of this job."""
    always_scope: str = ""
    """Digest of the calls that ``always`` allows."""
    always: str = ""
    """These calls in words."""
    kind: str = "call"
    """``call``: may this be done? ``question``: the agent asks, and the answer is its result."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What was said to an :class:`Approval`, as it travels with the job."""

    seq: int
    digest: str
    word: str
    """``once``, ``job``, ``always``, ``no``, ``expired``, or ``answer`` (of a question)."""
    text: str = ""
    """Why not; of a question, the answer."""
    scope: str = ""
    """With ``job``: what else it allows in this job."""


def arg_pattern(text: str) -> tuple[str, bool, str]:
    """``path=docs/*`` -> (``path``, False, ``docs/*``); with ``~=`` the second is True: a regular
    expression that the whole value must match. ``a.b`` is the field ``b`` of the argument ``a``.

    Raises ``ValueError`` in words.
    """
    found = _ARG.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not NAME=PATTERN (or NAME~=REGULAR EXPRESSION)")
    name, regex, pattern = found.groups()
    if regex:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return name, bool(regex), pattern
