"""The light services, as the settings want them."""

from __future__ import annotations

from pathlib import Path

from stead.config import Settings, path_at
from stead.services.kinds import Options
from stead.services.supervisor import Services


def make(home: Path, settings: Settings) -> Services:
    """All of them; none runs before it is asked for."""
    return Services(options(home, settings))


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
        whisper=str(path_at(home, given.whisper)) if given.whisper else "",
        voice=given.voice,
    )
