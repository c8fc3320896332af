"""The channels of stead.toml, made from their settings. A new kind is one line in ``_KINDS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stead.channels.webhook import Webhook
from stead.config import ChannelSection, Settings
from stead.core.keys import ensure_key, read_key
from stead.core.ports import Channel, WayIn
from stead.flow.sender import Manner


@dataclass
class Channels:
    """The ways in and out, by name."""

    ways_in: dict[str, WayIn] = field(default_factory=dict)
    pushed: list[Channel] = field(default_factory=list)
    manners: dict[str, Manner] = field(default_factory=dict)

    async def aclose(self) -> None:
        for channel in self.pushed:
            await channel.aclose()


def make(home: Path, settings: Settings) -> Channels:
    """Every channel; a secret that is not there yet is made. Raises ``HomeUnusable``."""
    made = Channels()
    for section in settings.channel:
        _KINDS[section.kind](made, section, home, settings)
    return made


def _webhook(made: Channels, section: ChannelSection, home: Path, settings: Settings) -> None:
    if section.secret_file:
        secret = read_key(home / Path(section.secret_file).expanduser())
    else:
        secret = ensure_key(home / "secrets" / f"{section.name}.whsec", "webhook")
    channel = Webhook(
        section.name,
        section.url,
        secret,
        dedupes=section.dedupes,
        session=section.session,
        timeout_s=section.timeout_s,
        offline=settings.offline,
        foreign=section.origin == "foreign",
    )
    made.ways_in[section.name] = channel
    if section.url:
        made.pushed.append(channel)
        made.manners[section.name] = Manner(
            section.ambiguous, section.tries, section.at_once, section.kind
        )


_KINDS: dict[str, Callable[[Channels, ChannelSection, Path, Settings], None]] = {
    "webhook": _webhook,
}
