"""Arguments that nearly fit a tool's schema, made to fit: once, and only where there is one way.

Models wrap arguments, write them as text within text, leave out a bracket, or call a field by a
near name. What is repaired here has one meaning; anything else goes back to the model as an error
with the schema. Rules and previews see the repaired arguments, which are those that run.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import msgspec

_WRAPPERS = ("arguments", "args", "parameters", "params", "input", "kwargs")
_FENCE = re.compile(r"\A\s*```[\w-]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_LONGEST = 200_000
_NOTHING = object()


def repaired(arguments: str, name: str, schema: dict[str, Any]) -> Any:
    """Another reading of ``arguments`` for this schema, as JSON text; None: there is none.

    ``schema``: flat, of an object, as ``Tool.schema`` gives it.
    """
    if len(arguments) > _LONGEST:
        return None
    value = _parsed(arguments)
    if value is _NOTHING:
        return None
    fields: dict[str, Any] = schema.get("properties", {})
    value = _unwrapped(value, name, fields)
    if not isinstance(value, dict):
        needed = schema.get("required") or list(fields)
        if len(needed) != 1 or not isinstance(value, str | int | float | list):
            return None
        if isinstance(value, list) and "array" not in _types(fields[needed[0]]):
            return None
        value = {needed[0]: value}
    made = _renamed(value, fields)
    made = {
        key: _fitting(item, fields[key]) if key in fields else item for key, item in made.items()
    }
    required = schema.get("required", ())
    made = {
        key: item
        for key, item in made.items()
        if item is not None or key in required or (key in fields and "null" in _types(fields[key]))
    }
    text = json.dumps(made, ensure_ascii=False)
    return None if text == arguments else text


def _parsed(text: str) -> Any:
    """JSON, or what is meant to be."""
    fenced = _FENCE.match(text)
    plain = fenced[1] if fenced else text.strip()
    for candidate in (plain, re.sub(r",\s*([}\]])", r"\1", plain), _closed(plain)):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    try:
        value = ast.literal_eval(plain)  # literals only: {'a': True, 'b': None}
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return _NOTHING
    try:
        return json.loads(json.dumps(value))
    except (ValueError, TypeError, RecursionError):
        return _NOTHING


def _closed(text: str) -> str:
    """With the brackets that are missing at the end; not within a text, which was cut off."""
    stack: list[str] = []
    inside = escaped = False
    for one in text:
        if inside:
            if escaped:
                escaped = False
            elif one == "\\":
                escaped = True
            elif one == '"':
                inside = False
        elif one == '"':
            inside = True
        elif one in "{[":
            stack.append("}" if one == "{" else "]")
        elif one in "}]" and stack:
            stack.pop()
    return text if inside else text + "".join(reversed(stack))


def _unwrapped(value: Any, name: str, fields: dict[str, Any]) -> Any:
    for _ in range(3):
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            inner = _parsed(value)
            if inner is _NOTHING:
                return value
            value = inner
        elif isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            value = value[0]
        elif isinstance(value, dict) and len(value) == 1:
            (key,) = value
            if key in fields or (key.lower() not in _WRAPPERS and key != name):
                return value
            value = value[key]
        elif (
            isinstance(value, dict)
            and len(value) == 2
            and not {*value} & {*fields}
            and name in (value.get("name"), value.get("tool"))
        ):
            value = next((value[key] for key in _WRAPPERS if key in value), value)
        else:
            return value
    return value


def _renamed(value: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Fields by a near name get their own, if that is free and only one is near."""
    import difflib  # late: only arguments that do not fit need it

    plain = {_plain(key): key for key in fields}
    made: dict[str, Any] = {}
    for key, item in value.items():
        target = key
        if key not in fields:
            free = [one for one in fields if one not in value]
            same = plain.get(_plain(key))
            near = difflib.get_close_matches(key, free, n=2, cutoff=0.8)
            if same in free and same is not None:
                target = same
            elif len(near) == 1:
                target = near[0]
        if target not in made:
            made[target] = item
    return made


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _fitting(item: Any, schema: dict[str, Any]) -> Any:
    """A value as the type that its field has."""
    types = _types(schema)
    if isinstance(item, str) and "string" not in types:
        text = item.strip()
        if types & {"object", "array"} and text[:1] in ("{", "["):
            inner = _parsed(text)
            if inner is not _NOTHING:
                return inner
        if "array" in types:
            return [item]
        if "boolean" in types and text.lower() in ("yes", "no", "true", "false", "on", "off"):
            return text.lower() in ("yes", "true", "on")
        if types & {"integer", "number"}:
            return _number(text, item)
    if isinstance(item, int | float) and not isinstance(item, bool) and types == {"string"}:
        return msgspec.json.encode(item).decode()
    if isinstance(item, float) and "integer" in types and item.is_integer():
        return int(item)
    return item


def _number(text: str, otherwise: Any) -> Any:
    try:
        value = float(text)
    except ValueError:
        return otherwise
    return int(value) if value.is_integer() else value


def _types(schema: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for one in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        kind = one.get("type")
        found |= {kind} if isinstance(kind, str) else {*kind} if isinstance(kind, list) else set()
        if "enum" in one or "const" in one:
            found.add("string")
    return found
