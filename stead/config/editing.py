"""Changing stead.toml: one value, comments kept, checked before it replaces the old file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stead.config.checks import checked
from stead.config.description import describe, starter
from stead.config.loading import parse
from stead.core.errors import ConfigError, HomeUnusable, SteadError
from stead.core.files import write_atomic
from stead.core.home import prepare

Value = str | int | float | bool | list[str] | list[float]


class ConfigStale(SteadError):
    """{path} has been changed since it was read, by another program or by hand. Nothing was
    written; look at it again, and make the change there."""

    status = 409
    kind = "conflict_error"
    code = "config_stale"


def prepare_home(home: Path) -> list[str]:
    """Make the home directory fit for use, with a commented stead.toml at the first start.

    Returns what was put right, in words. Raises ``HomeUnusable``.
    """
    notes = prepare(home)
    file = home / "stead.toml"
    if not file.exists():
        _write(file, starter())
    return notes


@dataclass(frozen=True, slots=True)
class Draft:
    """stead.toml as it is, and as it would be."""

    old: str
    new: str
    base: str
    """Tells the version ``old`` from others; empty where there is no file yet."""


def edit(home: Path, path: str, value: Value) -> None:
    """Set ``path`` (``node.slots``, ``backend[0].url``) in ``home``/stead.toml.

    The result is checked as a whole first; a faulty one raises ``ConfigError`` and
    the file stays as it was. A path one past the end of an array adds a table.
    """
    write_draft(home, drafted(home, {path: value}))


def file_text(home: Path) -> Draft:
    """stead.toml as it is; where there is none, what would be written at the first start."""
    file = home / "stead.toml"
    try:
        data = file.read_bytes()
        text = data.decode("utf-8")
    except FileNotFoundError:
        return Draft(starter(), starter(), "")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    return Draft(text, text, hashlib.sha256(data).hexdigest())


def drafted(home: Path, changes: Mapping[str, Value | None]) -> Draft:
    """stead.toml with these values, and without those that are None: comments stay, all of it is
    checked. Raises ``ConfigError``."""
    import tomlkit  # late: 25 ms that only a change of the file needs
    import tomlkit.exceptions

    held = file_text(home)
    try:
        document = tomlkit.parse(held.old)
    except tomlkit.exceptions.ParseError as error:
        raise ConfigError(why=f"it is not TOML. {error}") from error
    for path, value in changes.items():
        try:
            _put(document, path, value)
        except (tomlkit.exceptions.TOMLKitError, ValueError, TypeError) as error:
            raise ConfigError(f"{path} cannot be set: {error}", param=path) from error
    return checked_text(held, document.as_string())


def checked_text(held: Draft, text: str) -> Draft:
    """``text`` in the place of what the file holds, if it is sound. Raises ``ConfigError``."""
    raw, lines = parse(text.removeprefix("\ufeff"))
    checked(raw, lines)
    return replace(held, new=text)


def write_draft(home: Path, draft: Draft) -> str:
    """Put it in the place of the file, in one go; what tells it from other versions. Raises
    ``ConfigStale`` if the file is not what the draft was made from."""
    if file_text(home).base != draft.base:
        raise ConfigStale(path=home / "stead.toml")
    _write(home / "stead.toml", draft.new)
    return hashlib.sha256(draft.new.encode()).hexdigest()


def value_of(path: str, words: str) -> Value:
    """``words`` of the command line as the type that the setting at ``path`` has."""
    kinds = {setting.path: setting.kind for setting in describe()}
    kind = kinds.get(re.sub(r"\[\d+\]", "[]", path), "text")
    if kind == "true or false":
        lower = words.lower()
        return lower in ("true", "yes", "on", "1") if lower in _BOOLS else words
    if kind == "whole number" and re.fullmatch(r"[+-]?[\d_]+", words):
        return int(words)
    if kind in ("number", "whole number"):
        try:
            return float(words)
        except ValueError:
            return words  # the check says what was expected
    if kind == "list of numbers":
        try:
            return [float(word) for word in words.split(",") if word.strip()]
        except ValueError:
            return words  # the check says what was expected
    if kind.startswith("list"):
        return [word.strip() for word in words.split(",") if word.strip()]
    return words


_BOOLS = frozenset({"true", "yes", "on", "1", "false", "no", "off", "0"})


def _put(document: Any, path: str, value: Value | None) -> None:
    import tomlkit  # late: see drafted()

    parts = re.findall(r"([^.\[\]]+)(?:\[(\d+)\])?", path)
    if not re.fullmatch(r"[^.\[\]]+(\[\d+\])?(\.[^.\[\]]+(\[\d+\])?)*", path) or (
        parts[-1][1] and value is not None
    ):
        raise ConfigError(f"{path!r} is not the path of a setting, such as node.slots", param=path)
    place = document
    for name, index in parts[:-1]:
        if name not in place:
            if value is None:
                return  # what is not there is the default already
            place[name] = tomlkit.aot() if index else tomlkit.table()
        place = place[name]
        if index:
            if not isinstance(place, list) or int(index) > len(place):
                raise ConfigError(f"{path}: there is no {name}[{index}] yet", param=path)
            if int(index) == len(place):
                place.append(tomlkit.table())
            place = place[int(index)]
        if not isinstance(place, dict):
            raise ConfigError(f"{path}: {name} is not a table", param=path)
    name, index = parts[-1]
    _set(place, name, index, value, path)


def _set(place: Any, name: str, index: str, value: Value | None, path: str) -> None:
    """The last step; without a value it is taken out, of a list of tables also one of them."""
    if value is not None:
        place[name] = value
    elif index:
        tables = place.get(name)
        if not isinstance(tables, list) or int(index) >= len(tables):
            raise ConfigError(f"{path}: there is no {name}[{index}]", param=path)
        del tables[int(index)]
        if not tables:
            del place[name]
    elif name in place:
        del place[name]


def _write(file: Path, text: str) -> None:
    try:
        write_atomic(file, text.encode())
    except OSError as error:
        raise HomeUnusable(f"{file} cannot be written: {error.strerror}") from error
