"""Where models are: a table of backends, and the local model beside it.

The table comes from the composition root. The local model is found through the
state file that its process writes, so it may come, go and change at any time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stead.core.errors import BackendFailed, ModelNotReady, UnknownModel
from stead.core.nouns import ModelProfile, Usage
from stead.core.states import Failure
from stead.inference import modelstate
from stead.inference.modelstate import ModelState

LOCAL = "local"
#: Other names for the local model, wherever a model is named.
_ANY_LOCAL = frozenset({"auto", LOCAL})
#: How long a state that was read is believed, in seconds.
_FRESH_S = 0.2
_MILLION = 1_000_000


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

    @property
    def called(self) -> str:
        """Its name at our door."""
        return self.alias or self.name

    @property
    def paid(self) -> bool:
        return self.usd_per_mtok_in > 0 or self.usd_per_mtok_cached > 0 or self.usd_per_mtok_out > 0

    def cost_micro(self, usage: Usage) -> int:
        """The price of a call in micro-dollars, rounded up.

        A dollar for a million tokens is a micro-dollar for one. Prices are
        taken to a millionth of that, so that no rounding adds up.
        """
        if not self.paid:
            return 0
        cached_price = self.usd_per_mtok_cached
        if cached_price < 0:
            cached_price = self.usd_per_mtok_in
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        parts = (
            (usage.prompt_tokens - cached) * round(self.usd_per_mtok_in * _MILLION),
            cached * round(cached_price * _MILLION),
            usage.completion_tokens * round(self.usd_per_mtok_out * _MILLION),
        )
        return -(-sum(parts) // _MILLION)


@dataclass(frozen=True, slots=True)
class Backend:
    """A server with the OpenAI API. ``url`` ends before ``/chat/completions``.

    ``key`` is text, or is called for each request, so that a key that was
    changed in its file holds at once.
    """

    name: str
    url: str
    key: str | Callable[[], str] = ""
    models: tuple[BackendModel, ...] = ()
    timeout_s: float = 300.0
    """Longest silence while it answers."""

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


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``backend`` is None for the local model."""

    model: BackendModel
    backend: Backend | None
    reason: str
    """Why there, in words."""

    @property
    def backend_name(self) -> str:
        return self.backend.name if self.backend else LOCAL


class LocalModel:
    """The model process of this home, as its state file tells of it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = modelstate.path(home)
        self._stamp: tuple[int, int, int] | None = None
        self._read_at = -1.0
        self._state = ModelState("stopped")
        self._names: set[str] = set()

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

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def backend(self, state: ModelState) -> Backend:
        """Its server as a backend; the state must be ``ready``."""
        key_file = state.key_file

        def key() -> str:
            return Path(key_file).read_text(encoding="ascii") if key_file else ""

        return Backend(LOCAL, state.url, key, timeout_s=600.0)


class Backends:
    """All models that can be asked, and which of them plays which role.

    ``roles``: role to model name; ``auto`` and ``local`` mean the local model.
    ``home``: where the local model's state lies, None if there is to be none.
    """

    def __init__(
        self,
        table: Sequence[Backend] = (),
        *,
        roles: Mapping[str, str] | None = None,
        home: Path | None = None,
    ) -> None:
        self.table = tuple(table)
        self.roles = {"main": "auto", "light": "auto"} | dict(roles or {})
        self.local = LocalModel(home) if home is not None else None
        self._by_name: dict[str, tuple[Backend, BackendModel]] = {}
        for backend in self.table:
            for model in backend.models:
                place = (backend, model)
                self._by_name.setdefault(f"{backend.name}/{model.called}", place)
                self._by_name.setdefault(model.called, place)
                if model.alias:
                    self._by_name.setdefault(f"{backend.name}/{model.name}", place)
                    self._by_name.setdefault(model.name, place)

    def find(self, wanted: str) -> Target:
        """The target of a role or a model's name. Raises ``UnknownModel``, ``ModelNotReady``."""
        name = self.roles.get(wanted, wanted)
        reason = f"role {wanted} is {name}" if wanted in self.roles else f"{name} was asked for"
        place = self._by_name.get(name)
        if place is not None:
            return Target(place[1], place[0], reason)
        if self.local is not None and self.local.has(name):
            return self._local(name, reason)
        if name in _ANY_LOCAL:
            return self._instead(name, reason)
        known = [*self.names(), *sorted(self.roles)]
        raise UnknownModel(model=name, known=", ".join(known) or "none", param="model")

    def profile(self, role_or_name: str) -> ModelProfile:
        """How to talk to the model that plays a role or has a name."""
        target = self.find(role_or_name)
        model = target.model
        name = LOCAL if target.backend is None and not model.name else model.called
        return ModelProfile(name, model.tools, model.prompt, model.context)

    def names(self) -> list[str]:
        """The names of all models, those of the table first."""
        names = list(dict.fromkeys(m.called for backend in self.table for m in backend.models))
        if self.local is not None:
            state = self.local.state()
            if state.phase != "off":
                names.append(state.model or LOCAL)
        return names

    def entries(self) -> list[dict[str, object]]:
        """The models as ``/v1/models`` lists them."""
        owners = {
            m.called: backend.name for backend in reversed(self.table) for m in backend.models
        }
        return [
            {"id": name, "object": "model", "created": 0, "owned_by": owners.get(name, LOCAL)}
            for name in self.names()
        ]

    def _local(self, name: str, reason: str) -> Target:
        assert self.local is not None
        state = self.local.state()
        if state.phase == "off":
            return self._instead(name, reason)
        model = BackendModel(
            state.model, tools=state.tools, prompt=state.prompt, context=state.context
        )
        return Target(model, None, f"{reason}: the local model")

    def _instead(self, name: str, reason: str) -> Target:
        """There is no local model; ``auto`` may mean another."""
        first = next(((b, m) for b in self.table for m in b.models), None)
        if name == LOCAL or first is None:
            raise ModelNotReady(
                "No model is set up: the local model is off"
                + ("" if first else " and no backend is configured")
                + '. Set local = "auto" under [model] in stead.toml'
                + (", or name another model." if first else ", or add a [[backend]] there.")
            )
        backend, model = first
        return Target(model, backend, f"{reason}: there is no local model, so the first backend's")
