"""Where models are: a table of backends, and the local model beside it.

The table comes from the composition root. The local model is found through the
state file that its process writes, so it may come, go and change at any time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stead.core.errors import BackendFailed
from stead.core.nouns import Usage
from stead.core.states import Failure
from stead.inference import modelstate
from stead.inference.houses import in_house
from stead.inference.modelstate import ModelState
from stead.ledger.price import Price

LOCAL = "local"
#: Other names for the local model, wherever a model is named.
_ANY_LOCAL = frozenset({"auto", LOCAL})
#: How long a state that was read is believed, in seconds.
_FRESH_S = 0.2
#: How long a key that was read from its file is believed, in seconds.
_KEY_FRESH_S = 1.0

#: What a backend speaks if its ``apis`` do not say, by its kind: paths below ``/v1/``.
SPOKEN: Mapping[str, frozenset[str]] = {
    "openai": frozenset(
        {
            "chat/completions",
            "completions",
            "embeddings",
            "audio/speech",
            "audio/transcriptions",
            "rerank",
        }
    ),
    "anthropic": frozenset({"messages", "messages/count_tokens"}),
}
#: Servers with the OpenAI API that are known to have ``responses`` too.
_WITH_RESPONSES = ("://api.openai.com/", ".openai.azure.com/")


@dataclass(frozen=True, slots=True)
class BackendModel:
    """A model at a backend; the fields are those of the configuration's ``[[backend.models]]``."""

    name: str
    alias: str = ""
    tools: str = "native"
    prompt: str = "full"
    context: int = 128_000
    usd_per_mtok_in: float = 0.0
    usd_per_mtok_cached: float = -1.0
    """-1: as ``usd_per_mtok_in``."""
    usd_per_mtok_out: float = 0.0
    price: Price | None = None
    """In place of these three."""
    unpriced: bool = False
    """It is in the cloud, and nobody knows what it costs: it may not be asked."""
    vision: str = "auto"
    """Whether it sees images: ``yes``, ``no``, or ``auto``: not known, so let it try."""
    where: str = "auto"
    """``house`` or ``cloud``, where it runs elsewhere than its server; ``auto``: as its server."""
    free: bool = False
    """It costs nothing though it is in the cloud."""
    apis: frozenset[str] = frozenset()
    """What it can be asked for, as paths below ``/v1/``; empty: all that its backend speaks."""
    costs: Price = field(init=False, default=Price(), compare=False)
    paid: bool = field(init=False, default=False, compare=False)

    @property
    def called(self) -> str:
        """Its name at our door."""
        return self.alias or self.name

    def __post_init__(self) -> None:
        put = object.__setattr__  # as frozen dataclasses do it themselves
        costs = self.price or Price.of_tokens(
            self.usd_per_mtok_in, self.usd_per_mtok_out, self.usd_per_mtok_cached
        )
        put(self, "costs", costs)
        put(self, "paid", costs.paid)

    def cost_micro(self, usage: Usage, *, seconds: float = 0.0, chars: int = 0) -> int:
        """What a call costs in micro-dollars, rounded up."""
        if not self.paid:
            return 0
        return self.costs.cost_micro(usage, seconds=seconds, chars=chars)

    def most_micro(self, usage: Usage, *, seconds: float = 0.0, chars: int = 0) -> int:
        """The most that it costs if the usage is no more than that."""
        if not self.paid:
            return 0
        return self.costs.most_micro(
            usage.prompt_tokens, usage.completion_tokens, seconds=seconds, chars=chars
        )


@dataclass(frozen=True, slots=True)
class Backend:
    """One instance of a backend: a server with the OpenAI or the Anthropic API.

    ``url`` ends before ``/chat/completions`` or ``/messages``; that of a light service is empty,
    since it is found when the call is made. ``key`` is text, or is called for each request, so
    that a key that was changed in its file soon holds.
    """

    name: str
    """Of the backend; its instances share it."""
    url: str
    key: str | Callable[[], str] = ""
    models: tuple[BackendModel, ...] = ()
    timeout_s: float = 300.0
    """Longest silence while it answers."""
    kind: str = "openai"
    """``openai``, ``anthropic``, or ``service``: one of stead's own light services."""
    apis: frozenset[str] = frozenset()
    """What it speaks, as paths below ``/v1/``; made from its kind if empty."""
    where: str = "auto"
    """``house`` or ``cloud``; ``auto``: by its address."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every request, besides the key."""
    key_style: str = "auto"
    """How the key is shown: ``bearer``, ``x-api-key`` or ``none``; ``auto``: by its kind."""
    probe: bool = True
    """Whether it may be looked at when no traffic tells of it."""
    place: str = field(init=False, default="", compare=False)
    """Which instance of which backend: what its state is kept under."""
    house: bool = field(init=False, default=True, compare=False)
    """Whether what is sent there stays in the house."""

    def __post_init__(self) -> None:
        put = object.__setattr__  # as frozen dataclasses do it themselves
        put(self, "place", f"{self.name} {self.url}")
        auto = self.kind == "service" or in_house(self.url)
        put(self, "house", auto if self.where == "auto" else self.where == "house")
        if not self.apis:
            spoken = SPOKEN.get(self.kind, frozenset())
            if any(known in f"{self.url}/" for known in _WITH_RESPONSES):
                spoken |= {"responses"}
            put(self, "apis", spoken)

    def keeps(self, model: BackendModel) -> bool:
        """Whether a request for that model stays in the house.

        Ollama at home passes some models on to its own cloud; their names say so.
        """
        if model.where != "auto":
            return model.where == "house"
        return self.house and not model.name.endswith(("-cloud", ":cloud"))

    def auth(self) -> dict[str, str]:
        """The headers of a request that are this backend's own, names in lower case.

        Raises ``BackendFailed`` (class auth) if its key cannot be read.
        """
        headers = {name.lower(): value for name, value in self.headers}
        style = self.key_style
        if style == "none" or not (key := self.read_key()):
            return headers
        if style == "auto":
            style = "x-api-key" if self.kind == "anthropic" else "bearer"
        if style == "x-api-key":
            headers["x-api-key"] = key
        else:
            headers["authorization"] = f"Bearer {key}"
        return headers

    def read_key(self) -> str:
        """The key, without white space around it. Raises ``BackendFailed`` (class auth)."""
        if isinstance(self.key, str):
            return self.key.strip()
        try:
            return self.key().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", "") or "it is no text"
            failed = BackendFailed(
                f"The key of the model server {self.name} cannot be read: {why}. "
                f"See key_file of that backend in stead.toml."
            )
            failed.failure = Failure.AUTH
            failed.code = "backend_key"
            raise failed from error


class FileKey:
    """A key in a file, read again when what was read is more than a second old."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -_KEY_FRESH_S
        self._key = ""

    def __call__(self) -> str:
        now = time.monotonic()
        if now - self._read_at >= _KEY_FRESH_S:
            self._key = self._path.read_text("utf-8")
            self._read_at = now
        return self._key


class LocalModel:
    """The model process of this home, as its state file tells of it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = modelstate.path(home)
        self._stamp: tuple[int, int, int] | None = None
        self._read_at = -1.0
        self._state = ModelState("stopped")
        self._names: set[str] = set()
        self._backend: tuple[ModelState, Backend] | None = None

    def state(self) -> ModelState:
        """The present state, at most a fifth of a second old."""
        now = time.monotonic()
        stamp = self._look()
        if stamp != self._stamp or now - self._read_at > _FRESH_S:
            self._stamp = stamp
            self._read_at = now
            self._state = modelstate.read(self._home)
            if self._state.model:
                self._names.add(self._state.model)
        return self._state

    def forget(self) -> None:
        """Read anew at the next look."""
        self._read_at = -1.0

    def has(self, name: str) -> bool:
        """Whether that is what the local model is or was called while this process runs.

        A name that is no longer the model's still means it: a job that began
        with the one is finished by the other.
        """
        return name in _ANY_LOCAL or name == self.state().model or name in self._names

    def names(self) -> frozenset[str]:
        """What it is or was called while this process runs."""
        return frozenset(self._names)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def backend(self, state: ModelState) -> Backend:
        """Its server as a backend; the state must be ``ready``."""
        if self._backend is None or self._backend[0] is not state:
            key = FileKey(Path(state.key_file)) if state.key_file else ""
            made = Backend(LOCAL, state.url, key, timeout_s=600.0, where="house", probe=False)
            self._backend = (state, made)
        return self._backend[1]
