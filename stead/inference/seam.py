"""What the parts of the model door hand to each other: a request, what policy says of it, a way.

A request is read once, into :class:`Asked`. Policy answers with a :class:`Verdict`, routing with
a :class:`Plan`; the call itself ends in one :class:`Ended`, which ledger and audit are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from stead.core.errors import SteadError
from stead.core.nouns import Usage
from stead.inference.backends import Backend, BackendModel


class Api(StrEnum):
    """The shapes in which the door can be asked; the value is the path below ``/v1/``."""

    CHAT = "chat/completions"
    RESPONSES = "responses"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    SPEECH = "audio/speech"
    TRANSCRIPTIONS = "audio/transcriptions"
    OCR = "ocr"
    RERANK = "rerank"
    ACTIVITY = "audio/activity"
    """Stead's own: where in a recording somebody speaks."""
    MESSAGES = "messages"
    """Anthropic's."""
    COUNT_TOKENS = "messages/count_tokens"


@dataclass(frozen=True, slots=True)
class Who:
    """Whose request it is."""

    name: str
    """``owner``, ``job``, the name of a program's key, or of a person."""
    key_id: str = ""
    """Of a program's key, or ``person:ID`` for a person besides the owner and their jobs; empty for
    the owner and for his jobs."""
    job_id: str | None = None
    lane: str = "chat"
    """``chat`` or ``background``: whose share of the money it is."""


@dataclass(slots=True)
class Asked:
    """A request as far as the door has to understand it. ``body`` holds all of it, as it came."""

    api: Api
    body: bytes
    content_type: str
    model: str
    """As the client named it: a model, a lane, or empty where the API lets it be left out."""
    stream: bool = False
    most_tokens: int | None = None
    """How long the answer may be, all choices together; None if that was not said."""
    tools: bool = False
    """Whether tools are offered to the model."""
    images: bool = False
    chars: int = 0
    """About how long its text is, in characters."""
    session: str = ""
    """The same for all turns of a conversation (a hash of its beginning); empty: not one."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """Those that mean something to a backend besides its key; lower-case names."""
    tells_usage: bool = False
    """Whether the client itself asked to be told the usage in the stream."""
    query: str = ""
    """Of the URL it was sent to, without the question mark."""


@dataclass(slots=True)
class Verdict:
    """What policy says of a request that it does not refuse. (A refusal is raised.)

    Never changed once it is made; frozen it would cost more to make, and rates make one a request.
    """

    local_only: bool = False
    """It may not leave the house."""
    models: frozenset[str] | None = None
    """Only these lanes and models; None: any."""
    body: bytes | None = None
    """In place of the request's own, where something was blacked out."""
    keep_body: bool = True
    """Whether its text may be kept for the audit."""
    reasons: tuple[str, ...] = ()
    """What decided, in words, for ``stead calls``."""
    look: bool = False
    """Its content must be looked at before it goes anywhere: see :meth:`Policy.look`."""
    local_lanes: frozenset[str] = frozenset()
    """If it is judged into one of these lanes, it may not leave the house."""
    barred_lanes: frozenset[str] = frozenset()
    """It may not be judged into one of these lanes: ``Forbidden``."""
    held: object | None = None
    """What policy counts of it (calls at once, tokens a minute), for :meth:`Policy.ended`."""


@dataclass(frozen=True, slots=True)
class Way:
    """A model at one instance of a backend."""

    model: BackendModel
    backend: Backend | None
    """None: the local model, which is found when the call is made."""
    api: Api
    """What the backend is asked for: another shape than the client's means translating."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a request goes: to the first way that answers."""

    ways: tuple[Way, ...]
    lane: str
    """The lane that was named or judged; empty where a model was named."""
    reason: str
    """Why there, in words."""
    shadow: Way | None = None
    """Asked as well; its answer is only recorded."""
    costs: bool = field(init=False)
    """Whether some way may have to be paid for, so that money is set aside before."""

    def __post_init__(self) -> None:
        costs = any(way.model.paid or way.model.unpriced for way in self.ways)
        object.__setattr__(self, "costs", costs)


@dataclass(slots=True)
class Ended:
    """How one request ended, once."""

    usage: Usage
    status: int
    estimated: bool
    """The backend told no usage, so it is a guess."""
    first_ms: float
    total_ms: float
    outcome: str
    """``ok``, ``left`` (the client went), or the code of the error."""
    way: Way | None
    tried: Sequence[str] = ()
    """What went wrong at the ways before, in words."""
    error: str = ""
    """What the client was told, where it was an error."""
    waited_ms: float = 0.0
    """Of the time until the first byte: until it was sent to the backend that answered."""
    bytes_out: int = 0
    """How much of a body the client was sent."""


@dataclass(slots=True)
class Record:
    """All there is to say of one request. It grows on the way; the book gets it at the end."""

    id: str
    at_ms: int
    """When it came, in milliseconds since 1970."""
    who: Who
    api: Api
    asked: Asked | None = None
    """None: it could not be read."""
    verdict: Verdict | None = None
    plan: Plan | None = None
    reserved_micro: int = 0
    ended: Ended | None = None
    """Set when the book gets it."""
    answer: list[bytes] | None = None
    """The pieces of its answer as the client got them; None where nobody keeps them."""
    answer_type: str = ""
    """The content type of that."""
    shadow_of: str = ""
    """The id of the request that was also sent here."""


class Book(Protocol):
    """Where money and calls are written down (ledger and audit)."""

    @property
    def keeps(self) -> bool:
        """Whether it wants answers too, for the requests whose verdict lets bodies be kept."""
        ...

    def begin(self, record: Record) -> None:
        """A request has come. One that takes a while gets its row at once, so that even what a
        crash cuts off has one. Never waits, never fails."""
        ...

    async def reserve(self, record: Record, most_micro: int) -> None:
        """Set aside so much for a paid call: durable when it returns. Raises ``OverBudget``.

        At most once a request, and not at all for a free one.
        """
        ...

    def end(self, record: Record) -> None:
        """Book what it used and write its row. Never waits, never fails: rows go in batches."""
        ...


class Translator(Protocol):
    """One call between a client's shape and another one of a backend. It has a memory of its own.

    Raises ``BadRequest`` for a request that the other shape has no words for, ``ValueError`` for
    an answer that is none.
    """

    def request(self, body: bytes, model: str) -> bytes:
        """The request for the backend, which calls the model so. A stream must tell its usage."""
        ...

    def whole(self, body: bytes) -> bytes:
        """An unstreamed answer (status 200) for the client."""
        ...

    def feed(self, piece: bytes) -> bytes:
        """A piece of the backend's event stream, cut anywhere; what follows for the client."""
        ...

    def end(self) -> bytes:
        """The backend's stream is over in good order: the rest for the client.

        Raises ``ValueError`` if the answer is not whole.
        """
        ...

    def broken(self, error: SteadError) -> bytes:
        """The end for the client of a stream that broke off."""
        ...


class Policy(Protocol):
    """Who may ask for what, and what may leave the house."""

    def check(self, who: Who, asked: Asked) -> Verdict:
        """Raises a :class:`~stead.core.errors.SteadError` to refuse. Never waits.

        What has a ``look`` is to be looked at next, and what has something ``held`` must be
        ended, however the request ends.
        """
        ...

    async def look(self, who: Who, asked: Asked, verdict: Verdict) -> Verdict:
        """Read what it says, in another process; the verdict that holds then.

        Raises a :class:`~stead.core.errors.SteadError` to refuse; the caller ends it all the same.
        """
        ...

    def ended(self, verdict: Verdict, tokens: int) -> None:
        """A request that was checked is over and used so many tokens. At most once counts."""
        ...

    def sees(self, who: Who, name: str) -> bool:
        """Whether a model or lane of that name is shown to who asks."""
        ...


class Routing(Protocol):
    """Where requests go."""

    def plan(self, who: Who, asked: Asked, verdict: Verdict) -> Plan:
        """Raises ``UnknownModel``, or another error if there is no way that is allowed."""
        ...

    def began(self, way: Way) -> None:
        """A call was sent there."""
        ...

    def ended(self, way: Way, *, status: int, retry_after_s: float = 0.0) -> None:
        """That call ended; 0 is no answer at all."""
        ...


class Located(Protocol):
    """Where a light service answers now; good for one request."""

    @property
    def url(self) -> str:
        """Base of an OpenAI-shaped API, such as ``http://127.0.0.1:4711/v1``."""
        ...

    @property
    def key(self) -> str: ...

    @property
    def model(self) -> str:
        """What its model is called."""
        ...


class LightServices(Protocol):
    """Stead's own small models: embeddings, speech, transcription, OCR, reranking."""

    async def backend(self, name: str, tell: Callable[[str], None] | None = None) -> Located:
        """Where the service answers for a lane (``embed``, ``rerank``, ``speech``,
        ``transcription``, ``ocr``, ``vad``); started first, which may take seconds, where it
        does not run. ``tell`` gets words of progress.

        Raises ``ServiceUnavailable`` (503), with the command that installs what is missing.
        """
        ...
