"""The light services, as the settings want them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stead.config import Settings, path_at
from stead.inference.backends import Backend, BackendModel
from stead.inference.plane.light import SERVICE
from stead.services.kinds import BASE, KINDS, Options
from stead.services.supervisor import Services


def make(home: Path, settings: Settings) -> Services:
    """All of them; none runs before it is asked for."""
    return Services(options(home, settings))


def taker(home: Path, services: Services) -> Callable[[Settings], Callable[[], None]]:
    """How a running gateway takes over new settings; a running service has them at its next
    start."""

    def prepare(settings: Settings) -> Callable[[], None]:
        fresh = options(home, settings)
        return lambda: services.configure(fresh)

    return prepare


def options(home: Path, settings: Settings) -> Options:
    """The settings under ``[services]``."""
    given = settings.services
    return Options(
        home=home,
        off=tuple(given.off),
        idle_s=given.idle_s,
        start_s=given.start_s,
        request_s=given.request_s,
        memory_mb=given.memory_mb,
        threads=given.threads,
        # What the gateway let in is let in here too.
        max_body=int(settings.gateway.max_body_mb * 1_000_000),
        ocr=given.ocr,
        whisper=_whisper(home, given.whisper),
        voice=given.voice,
    )


def _whisper(home: Path, given: str) -> str:
    return given if given in ("", BASE) else str(path_at(home, given))


def backends(settings: Settings) -> dict[str, Backend]:
    """The services by their lanes. Where one answers, and whether it can, is found when it is
    asked."""
    table: dict[str, Backend] = {}
    for kind in KINDS:
        apis = frozenset(kind.apis)
        model = BackendModel(kind.means[0].model, tools="none", apis=apis)
        backend = Backend(
            kind.name,
            "",
            models=(model,),
            # Its own limit ends a request; this one is for a service that says nothing at all.
            timeout_s=settings.services.request_s + 30.0,
            kind=SERVICE,
            apis=apis,
            probe=False,
        )
        table |= dict.fromkeys(kind.lanes, backend)
    return table
