"""Checks of what says where model calls go: backends, lanes and the rules that judge requests."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

from stead.config.address import is_url
from stead.config.settings import BackendSection, JudgeSection, LaneSection, Settings
from stead.core.languages import LANGUAGES

#: What can be asked for at the model door: paths below ``/v1/``.
APIS = (
    "chat/completions", "responses", "completions", "embeddings", "audio/speech",
    "audio/transcriptions", "audio/activity", "ocr", "rerank", "messages", "messages/count_tokens",
)  # fmt: skip
#: Lanes that are there without being set up.
BUILT_IN = frozenset(
    {
        "main", "light", "cron", "subagent", "review", "vision",
        "embed", "speech", "transcription", "ocr", "rerank", "vad",
    }
)  # fmt: skip
#: The local model, whatever it is called.
_LOCAL = frozenset({"auto", "local"})
#: Names that mean something else where a model is asked for.
_RESERVED = frozenset({"main", "light", "auto", "stead", "local"})
_LANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)")
_MOST_LANES = 200
_NOT_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type"})

Fault = tuple[str, str]


def check_models(settings: Settings) -> Iterator[Fault]:
    """Every fault of ``[[backend]]``, ``[[lane]]`` and ``[[judge]]``, with its path."""
    yield from _backends(settings.backend)
    models = model_names(settings)
    lanes = {lane.name for lane in settings.lane} | BUILT_IN
    yield from _lanes(settings.lane, models, lanes)
    if len(settings.lane) > _MOST_LANES:
        yield "lane", f"there are {len(settings.lane)}; at most {_MOST_LANES} can be"
        return
    yield from _loops(settings)
    yield from _judges(settings.judge, models | lanes)


def model_names(settings: Settings) -> frozenset[str]:
    """All names by which a model can be meant, but for those that only the catalogue knows."""
    names = set(_LOCAL)
    local = settings.model.local
    if local not in ("auto", "off"):
        names |= {local, local.removeprefix("ollama:")}
        if local.endswith(".gguf"):
            names.add(PurePath(local).stem)
    for backend in settings.backend:
        for model in backend.models:
            for name in {model.name, model.alias or model.name}:
                names |= {name, f"{backend.name}/{name}"}
    return frozenset(names)


def _backends(backends: list[BackendSection]) -> Iterator[Fault]:
    names: dict[str, int] = {}
    aliases: dict[str, str] = {}
    for index, backend in enumerate(backends):
        at = f"backend[{index}]"
        if backend.name in names:
            yield (
                f"{at}.name",
                f"{backend.name!r} is the name of backend[{names[backend.name]}] too",
            )
        elif backend.name in _LOCAL:
            yield f"{at}.name", f"{backend.name!r} is the local model; give it another name"
        names.setdefault(backend.name, index)
        yield from _server(backend, at)
        for place, model in enumerate(backend.models):
            path = f"{at}.models[{place}]"
            alias = model.alias or model.name
            key = f"{path}.alias" if model.alias else f"{path}.name"
            if alias in _RESERVED:
                yield key, f"{alias!r} has a meaning of its own here; give it another alias"
            elif alias in aliases:
                yield key, f"{alias!r} is {aliases[alias]} too; give one of them another alias"
            aliases.setdefault(alias, path)
            yield from _apis(model.apis, f"{path}.apis")


def _server(backend: BackendSection, at: str) -> Iterator[Fault]:
    """Where a backend is, and how it is talked to."""
    urls = [(f"{at}.url", backend.url)]
    urls += [(f"{at}.urls[{place}]", url) for place, url in enumerate(backend.urls)]
    seen: set[str] = set()
    for path, url in urls:
        if not is_url(url):
            yield path, f"{url!r} is not a URL (http://... or https://...)"
        elif url.rstrip("/") in seen:
            yield path, f"{url!r} is there already; each instance stands there once"
        seen.add(url.rstrip("/"))
    yield from _apis(backend.apis, f"{at}.apis")
    for place, header in enumerate(backend.headers):
        match = _HEADER.fullmatch(header)
        if match is None:
            yield f"{at}.headers[{place}]", 'is not a header, such as "X-Title: stead"'
        elif match[1].lower() in _NOT_OURS:
            yield f"{at}.headers[{place}]", f"{match[1]} is set by stead itself"


def _apis(apis: Iterable[str], path: str) -> Iterator[Fault]:
    for api in apis:
        if api not in APIS:
            yield path, f"{api!r} is not one of {', '.join(APIS)}"


def _lanes(
    lanes: list[LaneSection], models: frozenset[str], named: frozenset[str] | set[str]
) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, lane in enumerate(lanes):
        at = f"lane[{index}]"
        if not _LANE.fullmatch(lane.name):
            yield f"{at}.name", f"{lane.name!r} is not a name (letters, digits, and . _ : @ -)"
        elif lane.name in ("auto", "local", "stead"):
            yield f"{at}.name", f"{lane.name!r} has a meaning of its own here"
        if lane.name in seen:
            yield f"{at}.name", f"there are two lanes named {lane.name!r}"
        seen.add(lane.name)
        if not lane.models:
            yield f"{at}.models", "is empty: name at least one model"
        for place, name in enumerate(lane.models):
            if name not in models and name not in named:
                yield f"{at}.models[{place}]", _missing(name, models)
            elif name in lane.models[:place]:
                yield f"{at}.models[{place}]", f"{name!r} stands there twice"
        if lane.shadow and lane.shadow not in models:
            yield f"{at}.shadow", _missing(lane.shadow, models)
        if lane.weights and len(lane.weights) != len(lane.models):
            yield (
                f"{at}.weights",
                f"there are {len(lane.weights)} for {len(lane.models)} models; give one for each",
            )
        elif lane.weights and not (
            all(weight >= 0 and math.isfinite(weight) for weight in lane.weights)
            and any(lane.weights)
        ):
            yield f"{at}.weights", "must be numbers of at least 0, and one of them more"


def _missing(name: str, models: frozenset[str]) -> str:
    import difflib  # late: only for the message of an error

    near = difflib.get_close_matches(name, sorted(models), n=1)
    if near:
        return f"there is no model or lane {name!r}; did you mean {near[0]!r}?"
    return f"there is no model or lane {name!r} (the local model is called auto)"


def _loops(settings: Settings) -> Iterator[Fault]:
    """Lanes that come back to themselves. Without a lane ``main``, ``model.main`` is that lane."""
    edges: dict[str, tuple[str, list[tuple[str, str]]]] = {
        role: (f"model.{role}", [(f"model.{role}", target)])
        for role, target in (("main", settings.model.main), ("light", settings.model.light))
    }
    for index, lane in enumerate(settings.lane):
        at = f"lane[{index}].models"
        steps = [(f"{at}[{place}]", name) for place, name in enumerate(lane.models)]
        edges[lane.name] = (at, steps)
    for name in ("cron", "subagent", "review", "vision"):
        edges.setdefault(name, ("", [("", "main")]))
    done: set[str] = set()
    for start in list(edges):
        yield from _walk(start, edges, [], done)


def _walk(
    name: str,
    edges: Mapping[str, tuple[str, list[tuple[str, str]]]],
    trail: list[str],
    done: set[str],
) -> Iterator[Fault]:
    if name in done or name not in edges:
        return
    for path, target in edges[name][1]:
        if target in (*trail, name):
            round_ = [*trail, name, target]
            yield (
                path or edges["main"][0],
                f"goes round in a circle: {' -> '.join(round_[round_.index(target) :])}"
                " (a model is meant by BACKEND/MODEL)",
            )
        elif target not in _LOCAL:
            yield from _walk(target, edges, [*trail, name], done)
    done.add(name)


def _judges(rules: list[JudgeSection], known: frozenset[str] | set[str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        at = f"judge[{index}]"
        if rule.name in seen:
            yield f"{at}.name", f"there are two rules named {rule.name!r}"
        seen.add(rule.name)
        if rule.lane not in known:
            yield f"{at}.lane", _missing(rule.lane, frozenset(known))
        if not rule.models:
            yield f"{at}.models", "is empty; say auto, or leave it away"
        yield from _apis(rule.apis, f"{at}.apis")
        if rule.max_chars and rule.max_chars < rule.min_chars:
            yield f"{at}.max_chars", f"must not be smaller than min_chars ({rule.min_chars})"
        for code in rule.language:
            if code not in LANGUAGES:
                yield f"{at}.language", f"{code!r} is not one of {', '.join(sorted(LANGUAGES))}"
