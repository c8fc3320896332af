"""What changed between two configurations, and what of it holds without a restart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from stead.config.description import describe
from stead.config.settings import Settings

#: Settings that a running gateway takes over; all others hold from the next start on.
#: A whole table by its name, or one setting by its path.
LIVE = (
    "approvals", "audit", "backend", "budget", "files", "judge", "lane", "limits", "log.level",
    "metrics", "permit", "route", "rule", "services", "model.main", "model.light", "model.wait_s",
    "memory.review_at", "memory.review_auto", "memory.review_tokens", "memory.review_usd",
    "memory.decay_days",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths of settings, such as ``backend[0].url``."""

    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    """Those that hold from the next start on."""


def is_live(path: str) -> bool:
    """Whether a running gateway takes over what is changed at ``path``."""
    plain = re.sub(r"\[\d*\]", "", path)
    return any(plain == one or plain.startswith(f"{one}.") for one in LIVE)


def changes(old: Settings, new: Settings) -> Changes:
    """What is not the same in both."""
    before = dict(leaves(msgspec.to_builtins(old)))
    after = dict(leaves(msgspec.to_builtins(new)))
    paths = [
        path
        for path in dict.fromkeys([*before, *after])
        if path not in before or path not in after or before[path] != after[path]
    ]
    return Changes(
        tuple(path for path in paths if is_live(path)),
        tuple(path for path in paths if not is_live(path)),
    )


def merged(old: Settings, new: Settings) -> Settings:
    """``new`` as far as it holds without a restart, else ``old``."""
    taken = msgspec.to_builtins(new)
    kept = msgspec.to_builtins(old)
    for name in {path.partition(".")[0] for path in LIVE}:
        if name in LIVE:
            kept[name] = taken[name]
            continue
        for path in LIVE:
            table, _, key = path.partition(".")
            if table == name:
                kept[table][key] = taken[table][key]
    return msgspec.convert(kept, Settings)


def leaves(value: object, at: str = "") -> Iterator[tuple[str, object]]:
    """Every value below ``value`` by its path (``backend[0].models[1].name``)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from leaves(item, f"{at}[{index}]")
    else:
        yield at, value


def unknown_in_live() -> list[str]:
    """Entries of :data:`LIVE` that are no settings; for the tests of those who add one."""
    known = {re.sub(r"\[\]", "", setting.path) for setting in describe()}
    return [
        one for one in LIVE if one not in known and not any(k.startswith(f"{one}.") for k in known)
    ]
