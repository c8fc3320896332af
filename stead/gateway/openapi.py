"""The OpenAPI 3.1 document of the gateway, made of its routes (https://spec.openapis.org/oas/v3.1.1).

The owner's API tells what it takes where its routes are made. The model door passes on what it does
not know, so of its bodies only that is told which it looks at itself; all of them are described by
those whose shapes they are (OpenAI, Anthropic, Cohere for reranking).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.routing import BaseRoute, Route

from stead.inference.seam import Api

View = dict[str, Any]

_TEXT: View = {"type": "string"}
_NAME: View = {"type": "string", "minLength": 1}
_FLAG: View = {"type": ["boolean", "null"]}
_COUNT: View = {"type": ["integer", "null"]}
_LIST: View = {"type": "array", "minItems": 1}
_MODEL: View = {**_NAME, "description": "A lane, or a model; see GET /v1/models"}
_MESSAGES: View = {
    **_LIST,
    "items": {
        "type": "object",
        "required": ["role"],
        "properties": {"role": _TEXT, "content": {}},
    },
}
_FILE: View = {"type": "string", "contentMediaType": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Told:
    """What a route says of itself."""

    about: str
    takes: type | None = None
    """Of its body."""
    asks: Mapping[str, type] = field(default_factory=dict)
    """Of its query, by name."""


class DescribedRoute(Route):
    """A route that can say what it is."""

    def __init__(self, path: str, endpoint: Any, *, methods: list[str], told: Told) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.told = told


def _object(*required: str, **properties: View) -> View:
    return {"type": "object", "required": list(required), "properties": properties}


#: What the door looks at in a request of each shape, and what it is for.
_DOORS: dict[Api, tuple[str, View]] = {
    Api.CHAT: (
        'Ask a model, or with "stead" the agent',
        _object(
            "model", "messages", model=_MODEL, messages=_MESSAGES, stream=_FLAG,
            stream_options={"type": ["object", "null"]}, max_tokens=_COUNT,
            max_completion_tokens=_COUNT, tools={"type": ["array", "null"]},
        ),
    ),
    Api.RESPONSES: (
        "Ask a model, in the shape of OpenAI's responses",
        _object(
            "model", "input", model=_MODEL, input={"type": ["string", "array"]}, stream=_FLAG,
            instructions={"type": ["string", "null"]}, max_output_tokens=_COUNT,
        ),
    ),
    Api.COMPLETIONS: (
        "Have a text completed",
        _object(
            "model", "prompt", model=_MODEL, prompt={"type": ["string", "array"]}, stream=_FLAG,
            max_tokens=_COUNT,
        ),
    ),
    Api.EMBEDDINGS: (
        "Vectors of texts",
        _object("input", model=_TEXT, input={"type": ["string", "array"]}),
    ),
    Api.SPEECH: (
        "A text read aloud; the answer is audio",
        _object("input", model=_TEXT, input=_NAME, voice={"type": ["string", "object"]}),
    ),
    Api.TRANSCRIPTIONS: ("What is said in a recording", _object("file", model=_TEXT, file=_FILE)),
    Api.OCR: ("The text in a picture or PDF (docs/inference.md)", _object("file", file=_FILE)),
    Api.RERANK: (
        "Texts in the order in which they answer a question",
        _object("query", "documents", model=_TEXT, query=_NAME, documents=_LIST),
    ),
    Api.MESSAGES: (
        "Ask a model, in Anthropic's shape",
        _object(
            "model", "messages", "max_tokens", model=_MODEL, messages=_MESSAGES, stream=_FLAG,
            max_tokens={"type": "integer", "minimum": 1},
        ),
    ),
    Api.COUNT_TOKENS: (
        "How many tokens a request of Anthropic's shape has",
        _object("model", "messages", model=_MODEL, messages=_MESSAGES),
    ),
}  # fmt: skip
_FORMS = frozenset({"audio/transcriptions", "ocr", "audio/activity"})
_OPEN = {
    "/": "Whether anybody is there",
    "/healthz": "Whether the gateway runs",
    "/readyz": "Whether it can do its work, and if not, why",
    "/metrics": "Counts for Prometheus (docs/metrics.md)",
    "/openapi.json": "This document",
    "/v1/models": "The models, the lanes, and the agent",
    "/v1/models/{name}": "One of them",
    "/api/v1/events": "Each change of jobs, questions, nodes... (server-sent events)",
    "/api/v1/jobs/{id}/events": "What a job does, as it does it (server-sent events)",
    "/api/v1/sessions/{id}/events": "What happens in a conversation (server-sent events)",
    "/channel/{name}": "A message for a channel of yours (docs/channels.md)",
}
_PARAM = re.compile(r"\{(\w+)(?::\w+)?\}")
_REF = "#/components/schemas/{name}"
_ERROR = {
    "description": "What is wrong, and what to do",
    "content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}},
}
_ERROR_SHAPE = _object(
    "error",
    error=_object(
        "message", message=_TEXT, type=_TEXT, code={"type": ["string", "null"]},
        param={"type": ["string", "null"]},
    ),
)  # fmt: skip


def document(routes: Iterable[BaseRoute], version: str) -> View:
    """The document of these routes, and of the model door."""
    described = [route for route in routes if isinstance(route, Route)]
    types = {
        route.told.takes
        for route in described
        if isinstance(route, DescribedRoute) and route.told.takes is not None
    }
    ordered = sorted(types, key=lambda one: one.__name__)
    refs, schemas = msgspec.json.schema_components(ordered, ref_template=_REF)
    bodies = dict(zip(ordered, refs, strict=True))
    paths: dict[str, View] = {}
    for route in described:
        path = _PARAM.sub(r"{\1}", route.path)
        if path.startswith("/node/"):
            continue  # stead's own nodes speak there; its shapes change with them
        for method in sorted((route.methods or set()) - {"HEAD"}):
            paths.setdefault(path, {})[method.lower()] = _operation(route, path, bodies)
    for api in Api:
        paths[f"/v1/{api.value}"] = {"post": _door(api)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "stead",
            "version": version,
            "description": "The gateway of a stead: the owner's API and the model door.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas, "Error": _ERROR_SHAPE},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, path: str, bodies: Mapping[type, View]) -> View:
    told = route.told if isinstance(route, DescribedRoute) else Told(_OPEN.get(path, ""))
    out: View = {"summary": told.about, "responses": _answers("application/json")}
    if not path.startswith(("/api/", "/v1/", "/metrics")):
        out["security"] = []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT}
        for name in _PARAM.findall(route.path)
    ]
    for name, kind in told.asks.items():
        schema = {"type": "integer"} if kind is int else _TEXT
        parameters.append({"name": name, "in": "query", "required": False, "schema": schema})
    if parameters:
        out["parameters"] = parameters
    if told.takes is not None:
        out["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": bodies[told.takes]}},
        }
    return out


def _door(api: Api) -> View:
    about, schema = _DOORS.get(api, (f"The light service for {api.value}", _object()))
    kind = "multipart/form-data" if api.value in _FORMS else "application/json"
    answer = "audio/*" if api is Api.SPEECH else "application/json"
    return {
        "summary": about,
        "requestBody": {"required": True, "content": {kind: {"schema": schema}}},
        "responses": _answers(answer),
    }


def _answers(kind: str) -> View:
    return {
        "2XX": {"description": "It was done", "content": {kind: {}}},
        "4XX": _ERROR,
        "5XX": _ERROR,
    }
