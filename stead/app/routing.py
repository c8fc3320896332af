"""Settings become what routing understands: backends with their instances, lanes, judging rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from stead.app import services
from stead.app.prices import Pricer
from stead.config import BackendSection, Settings, path_at
from stead.inference.backends import Backend, BackendModel, FileKey, LocalModel
from stead.inference.routing.routes import Routes
from stead.inference.routing.rules import Judge, Lane, Setup
from stead.inference.routing.table import left_out
from stead.services.supervisor import Services


def routes(home: Path, settings: Settings, light: Services) -> Routes:
    """The routing of a gateway, with the local model of its home and its light services."""
    local = LocalModel(home) if settings.model.local != "off" else None
    return Routes(setup(home, settings), local, gives=light.gives)


def taker(home: Path, routes: Routes) -> Callable[[Settings], Callable[[], None]]:
    """How a running gateway takes over backends, lanes and rules."""
    return lambda settings: routes.prepare(setup(home, settings))


def roles(settings: Settings) -> dict[str, str]:
    """Which model or lane ``main`` and ``light`` are where no lane is called so."""
    return {"main": settings.model.main, "light": settings.model.light}


def doubts(home: Path, settings: Settings) -> Iterator[str]:
    """What is valid and will hardly be meant, in words."""
    for lane, left in left_out(Routes(setup(home, settings)).table).items():
        yield f"lane {lane} never reaches {'; '.join(left)}."
    lanes = {lane.name for lane in settings.lane}
    for role, given in roles(settings).items():
        if role in lanes and given != "auto":
            yield f"model.{role}, {given!r}, means nothing beside the lane {role}."
    for backend in settings.backend:
        for url in (backend.url, *backend.urls):
            if backend.kind == "openai" and not urlsplit(url).path.strip("/"):
                yield f"backend {backend.name}: {url} has no path; most servers want /v1 there."


def setup(home: Path, settings: Settings) -> Setup:
    """All that routing is made of, the light services by their lanes too."""
    return Setup(
        backends=tuple(table(home, settings)),
        lanes=tuple(
            Lane(
                lane.name, tuple(lane.models), tuple(lane.weights), lane.paid, lane.cloud,
                lane.shadow, lane.shadow_share,
            )
            for lane in settings.lane
        ),
        judges=tuple(
            Judge(
                rule.name, rule.lane, tuple(rule.models), frozenset(rule.apis), rule.tools,
                rule.images, rule.min_chars, rule.max_chars, frozenset(rule.language),
                frozenset(rule.keys), rule.share,
            )
            for rule in settings.judge
        ),
        roles=roles(settings),
        services=services.backends(settings),
        probe_s={
            backend.name: 0.0 if settings.offline else backend.probe_s
            for backend in settings.backend
        },
    )  # fmt: skip


def table(home: Path, settings: Settings) -> Iterator[Backend]:
    """One :class:`Backend` for each instance of each backend."""
    pricer = Pricer(home, settings.budget)
    for backend in settings.backend:
        key = FileKey(path_at(home, backend.key_file)) if backend.key_file else ""
        models = _models(backend, pricer)
        for url in (backend.url, *backend.urls):
            yield Backend(
                name=backend.name, url=_base(backend, url), key=key, models=models,
                timeout_s=backend.timeout_s, kind=backend.kind, apis=frozenset(backend.apis),
                where=backend.where, headers=_headers(backend), key_style=backend.key_style,
                probe=backend.probe_s > 0,
            )  # fmt: skip


def _models(backend: BackendSection, pricer: Pricer) -> tuple[BackendModel, ...]:
    return tuple(
        BackendModel(
            name=model.name, alias=model.alias, tools=model.tools, prompt=model.prompt,
            context=model.context, price=priced.price, unpriced=priced.unpriced,
            vision=model.vision, where=model.where,
            free=model.free or (priced.price is None and not priced.unpriced),
            apis=frozenset(model.apis),
        )
        for model in backend.models
        for priced in (pricer.of(backend, model),)
    )  # fmt: skip


def _headers(backend: BackendSection) -> tuple[tuple[str, str], ...]:
    pairs = (header.partition(":") for header in backend.headers)
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def _base(backend: BackendSection, url: str) -> str:
    """Anthropic's own clients leave the ``/v1`` out of their base URL, so it may be left out."""
    url = url.rstrip("/")
    bare = backend.kind == "anthropic" and url.count("/") == 2
    return f"{url}/v1" if bare else url
