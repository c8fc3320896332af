"""Checking the configuration: unknown keys, wrong types, values that cannot be.

Every fault names the path of its key (``node.slots``, ``backend[0].url``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stead.config.address import is_url, parse_listen
from stead.config.description import describe, section_in
from stead.config.egress import check_credentials, check_egress, check_search
from stead.config.hands import check_browser, check_hands
from stead.config.house import check_audit, check_budget, check_rules
from stead.config.lanes import check_models
from stead.config.page import check_page
from stead.config.permits import check_permits
from stead.config.section import Section
from stead.config.settings import (
    ChannelSection,
    QueueLimit,
    RouteSection,
    Settings,
)
from stead.core.errors import ConfigError
from stead.core.limits import is_key
from stead.core.placement import is_label, is_node_name

#: The largest number that any setting may be.
_MOST = 1_000_000_000_000

#: Channels that are always there.
_CHANNELS = frozenset({"cli", "api", "web"})
#: The light services.
_SERVICES = ("embed", "transcription", "speech", "ocr", "vad")


def checked(raw: dict[str, Any], lines: Mapping[str, int]) -> Settings:
    """The settings in ``raw``. Raises ``ConfigError`` with every fault that was found."""
    faults = list(_unknown(raw, Settings, ""))
    settings = None
    if not faults:
        try:
            settings = msgspec.convert(raw, Settings)
        except msgspec.ValidationError as error:
            faults = [_fault(error)]
        else:
            faults = list(_crosschecks(settings))
    if faults:
        path = faults[0][0]
        raise ConfigError(why="; ".join(_placed(*fault, lines) for fault in faults), param=path)
    assert settings is not None
    return settings


def _placed(path: str, text: str, lines: Mapping[str, int]) -> str:
    line = lines.get(path) or lines.get(re.sub(r"\[\d+\]$", "", path))
    return f"{path} (line {line}): {text}" if line else f"{path}: {text}"


def _fault(error: msgspec.ValidationError) -> tuple[str, str]:
    text, _, place = str(error).rpartition(" - at `$.")
    path = place.rstrip("`") if text else ""
    text = text or str(error)
    if missing := re.match(r"Object missing required field `(.+?)`", text):
        return f"{path}.{missing[1]}" if path else missing[1], "is missing"
    words = {"`object`": "a table", "`array`": "a list", "`str`": "text", "`int`": "a whole number"}
    words |= {"`float`": "a number", "`bool`": "true or false", "`null`": "nothing"}
    for type_, word in words.items():
        text = text.replace(type_, word)
    if odd := re.match(r"Invalid enum value (.+)", text):
        kinds = {setting.path: setting.kind for setting in describe()}
        kind = kinds.get(re.sub(r"\[\d+\]", "[]", path), "another value")
        return path, f"expected {kind}, got {odd[1]}"
    return path, text[:1].lower() + text[1:]


def _unknown(raw: Mapping[str, Any], cls: type[Section], at: str) -> Iterator[tuple[str, str]]:
    """Keys that no setting has, each with the nearest that there is."""
    known = {setting.name: setting.type for setting in msgspec.structs.fields(cls)}
    for key, value in raw.items():
        path = f"{at}.{key}" if at else key
        if key not in known:
            near = _nearest(key, path, at, known)
            yield path, "there is no such setting" + (f"; did you mean {near}?" if near else "")
            continue
        inner = section_in(known[key])
        if inner is None:
            continue
        if isinstance(value, dict):
            yield from _unknown(value, inner, path)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _unknown(item, inner, f"{path}[{index}]")


def _nearest(key: str, path: str, at: str, known: Mapping[str, object]) -> str:
    import difflib  # late: only for the message of an error

    if found := difflib.get_close_matches(key, known, n=1):
        return f"{at}.{found[0]}" if at else found[0]
    everywhere = [setting.path for setting in describe()]
    same = [other for other in everywhere if other.rpartition(".")[2] == key]
    return (same or difflib.get_close_matches(path, everywhere, n=1) or [""])[0]


def _crosschecks(settings: Settings) -> Iterator[tuple[str, str]]:
    """What the types alone cannot say."""
    yield from _too_large(msgspec.to_builtins(settings), "")
    try:
        parse_listen(settings.listen)
    except ValueError as error:
        yield "listen", f"{settings.listen!r} is not an address: {error}"
    node, queue = settings.node, settings.queue
    if node.chat_slots >= node.slots:
        yield (
            "node.chat_slots",
            f"{node.chat_slots} must be smaller than node.slots ({node.slots}), "
            "or background work would never run",
        )
    if node.gateway and not is_url(node.gateway):
        yield "node.gateway", f"{node.gateway!r} is not a URL (http://... or https://...)"
    yield from _bad_labels(node.labels, "node.labels")
    if settings.nodes.main:
        yield from _bad_names([settings.nodes.main], "nodes.main")
    if settings.nodes.failover_s < node.away_after_s:
        yield (
            "nodes.failover_s",
            f"must not be smaller than node.away_after_s ({node.away_after_s})",
        )
    if queue.backoff_max_s < queue.backoff_s:
        yield "queue.backoff_max_s", f"must not be smaller than queue.backoff_s ({queue.backoff_s})"
    yield from _check_limits(queue.limit)
    if not re.fullmatch(r"(([01]?\d|2[0-3]):[0-5]\d)?", settings.memory.review_at):
        at = settings.memory.review_at
        yield "memory.review_at", f"{at!r} is no time of day, such as 03:30 (empty: never)"
    yield from check_page(settings.page)
    yield from check_budget(settings.budget)
    yield from check_rules(settings.rule)
    yield from check_audit(settings.audit)
    yield from check_permits(settings.permit)
    yield from check_egress(settings.egress)
    yield from check_credentials(settings.credential)
    yield from check_search(settings.search, settings.credential)
    yield from check_hands(settings.database, settings.peripheral)
    yield from check_browser(settings.browser)
    yield from check_models(settings)
    yield from _check_routes(settings.route)
    yield from _check_channels(settings.channel)
    for index, name in enumerate(settings.services.off):
        if name not in _SERVICES:
            yield (
                f"services.off[{index}]",
                f"{name!r} is not a service; there are: {', '.join(_SERVICES)}",
            )


def _too_large(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Numbers that no clock, no sum of money in micro-dollars and no JSON can hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _too_large(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _too_large(inner, f"{path}[{index}]")
    elif isinstance(value, int | float) and value > _MOST:
        yield path, f"{value:g} is too large: at most {_MOST:,}"


def _bad_labels(labels: list[str], path: str) -> Iterator[tuple[str, str]]:
    for label in labels:
        if not is_label(label):
            yield path, f"{label!r} is not a label (letters, digits, and _ . : - within)"


def _check_limits(limits: list[QueueLimit]) -> Iterator[tuple[str, str]]:
    for index, limit in enumerate(limits):
        at = f"queue.limit[{index}]"
        if not is_key(limit.key):
            yield f"{at}.key", f"{limit.key!r} is not a key (such as kind:mail or channel:api)"
        if not limit.at_once and not limit.starts:
            yield f"{at}.at_once", "says nothing; give at_once, or starts and per_s, or both"
        if [one.key for one in limits].index(limit.key) < index:
            yield f"{at}.key", f"{limit.key!r} has a limit above already; put them in one table"


def _bad_names(names: list[str], path: str) -> Iterator[tuple[str, str]]:
    for name in names:
        if not is_node_name(name):
            yield path, f"{name!r} is not the name of a node (letters, digits, dots, dashes)"


def _check_routes(routes: list[RouteSection]) -> Iterator[tuple[str, str]]:
    names: set[str] = set()
    allowed = {"mark": ("", "light", "heavy"), "lane": ("", "chat", "background")}
    for index, route in enumerate(routes):
        at = f"route[{index}]"
        if route.name in names:
            yield f"{at}.name", f"there are two rules named {route.name!r}"
        names.add(route.name)
        for key in ("match", "unless"):
            try:
                re.compile(getattr(route, key))
            except re.error as error:
                yield f"{at}.{key}", f"is not a regular expression: {error}"
        for key, words in allowed.items():
            if getattr(route, key) not in words:
                yield f"{at}.{key}", f"{getattr(route, key)!r} is not one of {', '.join(words[1:])}"
        if route.needs and route.to == "light":
            yield f"{at}.needs", "is for nodes; a light answer is given in the gateway"
        yield from _bad_labels(route.needs, f"{at}.needs")
        yield from _bad_names(route.prefer, f"{at}.prefer")
        yield from _bad_names(route.avoid, f"{at}.avoid")
        for name in sorted({*route.prefer} & {*route.avoid}):
            yield f"{at}.avoid", f"{name!r} cannot be both preferred and avoided"
        if (route.prefer or route.avoid) and route.to == "light":
            yield f"{at}.prefer", "is for nodes; a light answer is given in the gateway"


def _check_channels(channels: list[ChannelSection]) -> Iterator[tuple[str, str]]:
    names: set[str] = set()
    for index, channel in enumerate(channels):
        at = f"channel[{index}]"
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", channel.name):
            yield (
                f"{at}.name",
                f"{channel.name!r} is not a name (small letters, digits, and _ - within)",
            )
        if channel.name in _CHANNELS:
            yield f"{at}.name", f"{channel.name!r} is a channel of stead's own"
        if channel.name in names:
            yield f"{at}.name", f"there are two channels named {channel.name!r}"
        names.add(channel.name)
        if channel.url and not is_url(channel.url):
            yield f"{at}.url", f"{channel.url!r} is not a URL (http://... or https://...)"
