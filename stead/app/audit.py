"""The audit as the configuration has it: the book, the bodies that are kept, the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from starlette.routing import Route
from starlette.types import Scope

from stead import __version__
from stead.app.policy import budgets_of, rules_of
from stead.app.reload import Reload
from stead.config import Settings
from stead.core.errors import Forbidden
from stead.core.storage import View
from stead.gateway.auth import Keys
from stead.gateway.calls_routes import Calls
from stead.gateway.meter import Meter
from stead.gateway.metrics import Budget, Metrics, Upstream
from stead.gateway.status import Status
from stead.inference.audit.bodies import Bodies, Keep, KeepRule, Terms
from stead.inference.audit.book import StoreBook, instance_of
from stead.inference.audit.redact import Redactor
from stead.inference.routing.routes import Routes
from stead.ledger.budgets import Budgets
from stead.store.sqlite import SqliteStore

#: Where bodies lie in the home directory.
FOLDER = "audit"
#: What a key of a program must be for, to read the metrics.
METRICS = "metrics"

#: Well-known values of ``gen_ai.provider.name``, by what the address of a backend ends with.
_PROVIDERS = {
    "api.anthropic.com": "anthropic", "api.openai.com": "openai", "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek", "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai", "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai", "api.moonshot.ai": "moonshot_ai",
    "api.perplexity.ai": "perplexity", "api.x.ai": "x_ai", "openai.azure.com": "azure.ai.openai",
}  # fmt: skip


@dataclass(slots=True)
class Audit:
    """What is written down, kept and counted of requests."""

    book: StoreBook
    bodies: Bodies
    meter: Meter
    redactor: Redactor | None
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    def troubles(self) -> list[str]:
        """What `status` has to say of it."""
        told = []
        if self.redactor is not None and self.redactor.trouble:
            told.append(f"bodies of calls are not kept: {self.redactor.trouble}")
        if self.book.lost:
            told.append(f"{self.book.lost} model calls could not be written down")
        return told

    async def aclose(self) -> None:
        """Write what waits to be written."""
        await self.book.aclose()
        await self.bodies.aclose()
        self.use(None)
        while self._ending:
            await asyncio.gather(*self._ending)

    def use(self, redactor: Redactor | None) -> None:
        """Another one from now on; the process of the one before ends."""
        before, self.redactor = self.redactor, redactor
        if before is not None:
            task = asyncio.create_task(before.aclose())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def audit_of(home: Path, settings: Settings, store: SqliteStore, budgets: Budgets) -> Audit:
    """Raises ``ConfigError`` when a list of words cannot be read."""
    meter, redactor = Meter(), _redactor(home, settings)
    bodies = Bodies(home / FOLDER, _terms(settings), redactor)
    book = StoreBook(store, budgets, meter, bodies)
    meter.catch_up = book.catch_up
    return Audit(book, bodies, meter, redactor)


def taker(home: Path, audit: Audit, keys: Keys) -> Callable[[Settings], Callable[[], None]]:
    """How a running gateway takes over budgets, and what is kept of calls."""

    def prepare(settings: Settings) -> Callable[[], None]:
        budgets, terms = budgets_of(settings.budget, keys.scope), _terms(settings)
        redactor = _redactor(home, settings)

        def take() -> None:
            audit.book.budgets = budgets
            audit.bodies.use(terms, redactor)
            audit.use(redactor)

        return take

    return prepare


def _terms(settings: Settings) -> Terms:
    kept = settings.audit
    return Terms(
        keep=Keep(kept.keep),
        rules=tuple(KeepRule(Keep(rule.keep), rule.key, rule.lane) for rule in kept.rule),
        most_bytes=int(kept.max_kb * 1000),
        total_bytes=int(kept.max_mb * 1_000_000),
        days=kept.days,
    )


def _redactor(home: Path, settings: Settings) -> Redactor | None:
    """It looks for what [audit] says, and for the owner's own words of the rules of the house."""
    if not settings.audit.redact:
        return None
    rules = rules_of(home, settings.rule)
    words = tuple(dict.fromkeys(word for rule in rules for word in rule.words))
    patterns = tuple(dict.fromkeys(one for rule in rules for one in rule.patterns))
    return Redactor(("secrets", *settings.audit.finds), words, patterns)


class Standing:
    """How things stand with every part, when the metrics are read."""

    def __init__(
        self,
        store: SqliteStore,
        status: Status,
        book: StoreBook,
        routes: Routes,
        keys: Keys,
    ) -> None:
        self.store = store
        self._status = status
        self._book = book
        self._routes = routes
        self._keys = keys

    async def nodes(self) -> list[View]:
        return await self._status.nodes()

    def writes(self) -> tuple[int, int]:
        return self.store.writes

    def under_way(self) -> int:
        return self._book.under_way

    def upstreams(self) -> Iterable[Upstream]:
        for backend in self._routes.setup.backends:
            place = self._routes.health.place(backend.place)
            yield Upstream(backend.name, instance_of(backend), place.well, place.load)

    async def money(self) -> View:
        """Every budget (micro-dollars; ``share``: of it that is spent), the models that are not
        asked since nobody knows what they cost, and those that count at a stated price."""
        spent = await self.store.view_spent()
        stand = self._book.budgets.standings(spent, self._keys.names())
        models = [
            (backend, model) for backend in self._routes.setup.backends for model in backend.models
        ]
        return {
            "budgets": [
                {
                    "scope": one.scope, "what": one.what, "period": "month" if one.month else "day",
                    "spent_micro": one.spent_micro, "limit_micro": one.limit_micro,
                    "share": one.share, "stop": one.stop, "renews_at": one.renews_at,
                    "words": one.words,
                }
                for one in stand
            ],
            "unpriced": [
                {"model": model.called, "backend": backend.name}
                for backend, model in models
                if model.unpriced
            ],
            "stated": [
                {"model": model.called, "backend": backend.name}
                for backend, model in models
                if model.price is not None and model.price.stated
            ],
        }  # fmt: skip

    async def budgets(self) -> Iterable[Budget]:
        spent = await self.store.view_spent()
        found = []
        for one in self._book.budgets.standings(spent, self._keys.names()):
            period = "month" if one.month else "day"
            found.append(Budget(one.scope, period, one.limit_micro, one.spent_micro))
        return found


def routes(home: Path, reload: Reload, audit: Audit, standing: Standing, keys: Keys) -> list[Route]:
    """``/api/v1/calls`` and ``/metrics``."""
    metrics = Metrics(
        audit.meter, standing, _may_read(keys),
        open_here=lambda: reload.settings.metrics.open_here, version=__version__,
        provider=lambda backend: _provider(reload.settings, backend),
    )  # fmt: skip
    calls = Calls(standing.store, keys, home / FOLDER, standing.money)
    return [*calls.routes(), *metrics.routes()]


def _may_read(keys: Keys) -> Callable[[Scope], None]:
    """The owner, and programs whose key is for ``metrics``."""

    def check(scope: Scope) -> None:
        who = keys.asks(scope)
        if who.name == "owner" and not who.key_id:
            return
        own = keys.scope(who.key_id) if who.key_id else None
        if own is None or METRICS not in own.endpoints:
            raise Forbidden(
                why="it cannot read the metrics; `stead key create NAME --endpoints metrics`"
                " makes one that can"
            )

    return check


def _provider(settings: Settings, backend: str) -> str:
    """Its well-known name; that of the backend where it has none."""
    url = next((one.url for one in settings.backend if one.name == backend), "")
    return next((name for host, name in _PROVIDERS.items() if host in url), backend)
