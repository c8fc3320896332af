"""What settings there are, in words: for the starter file, the documentation and the commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from stead.config.section import Section
from stead.config.settings import Settings

_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``path`` has ``[]`` for an array of tables: ``backend[].models[].name``."""

    path: str
    kind: str
    help: str
    bounds: str
    default: object
    required: bool


def describe(cls: type[Section] = Settings, at: str = "") -> Iterator[Setting]:
    """Every setting below ``cls`` in the order of declaration, plain keys before tables."""
    tables: list[tuple[str, type[Section]]] = []
    for item in msgspec.structs.fields(cls):
        path = f"{at}.{item.name}" if at else item.name
        inner = section_in(item.type)
        if inner is not None:
            tables.append((f"{path}[]" if _plain(item.type) is not inner else path, inner))
            continue
        meta = _meta(item.type)
        default = item.default
        if item.default_factory is not msgspec.NODEFAULT:
            default = item.default_factory()
        yield Setting(
            path=path,
            kind=_kind(_plain(item.type)),
            help=(meta.description or "") if meta else "",
            bounds=_bounds(meta),
            default=None if default is msgspec.NODEFAULT else default,
            required=item.required,
        )
    for path, inner in tables:
        yield from describe(inner, path)


def as_toml(value: object) -> str:
    """A scalar or a list of scalars as TOML writes it (JSON strings are TOML strings)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    return str(value)


def starter() -> str:
    """The stead.toml written at the first start: every setting, all of them commented out."""
    lines = [
        "# Settings of stead. Each is optional and stands here with its default; to change one,",
        "# take away the # before it and before the [table] it stands in.",
        "# A change holds within seconds where it can; `stead config apply` says what did not.",
    ]
    table = ""
    for setting in describe():
        head, _, name = setting.path.rpartition(".")
        if head != table:
            table = head
            title = head.replace("[]", "")
            lines += ["", f"#[[{title}]]" if head.endswith("[]") else f"#[{title}]"]
        elif not head:
            lines.append("")
        words = [setting.help, f"[{setting.bounds}]" if setting.bounds else ""]
        if not setting.help:
            words = [setting.kind]
        lines.append("# " + " ".join(word for word in words if word))
        lines.append(f"#{name} = {as_toml(_example(setting))}")
    return "\n".join(lines) + "\n"


def _example(setting: Setting) -> object:
    if not setting.required:
        return setting.default
    if setting.kind.startswith("one of"):
        return setting.kind.removeprefix("one of ").split(", ")[0]
    return "http://127.0.0.1:11434/v1" if setting.path.endswith("url") else "..."


def section_in(type_: Any) -> type[Section] | None:
    """The table that a setting of this type holds, or holds a list of."""
    type_ = _plain(type_)
    if get_origin(type_) is list:
        type_ = get_args(type_)[0]
    return type_ if isinstance(type_, type) and issubclass(type_, Section) else None


def _plain(type_: Any) -> Any:
    return get_args(type_)[0] if get_origin(type_) is Annotated else type_


def _meta(type_: Any) -> msgspec.Meta | None:
    return get_args(type_)[1] if get_origin(type_) is Annotated else None


def _kind(type_: Any) -> str:
    if get_origin(type_) is Literal:
        return "one of " + ", ".join(str(word) for word in get_args(type_))
    if get_origin(type_) is list:
        return "list of " + _kinds_plural(get_args(type_)[0])
    return _KINDS[type_]


def _kinds_plural(type_: Any) -> str:
    return "texts" if type_ is str else _KINDS[type_] + "s"


def _bounds(meta: msgspec.Meta | None) -> str:
    if meta is None:
        return ""
    words = []
    if meta.gt is not None:
        words.append(f"more than {meta.gt:g}")
    if meta.ge is not None:
        words.append(f"at least {meta.ge:g}")
    if meta.le is not None:
        words.append(f"at most {meta.le:g}")
    return ", ".join(words)
