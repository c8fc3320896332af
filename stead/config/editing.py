"""Changing stead.toml: one value, comments kept, checked before it replaces the old file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from stead.config.checks import checked
from stead.config.description import describe, starter
from stead.config.loading import parse
from stead.core.errors import ConfigError, HomeUnusable
from stead.core.files import write_atomic
from stead.core.home import prepare

Value = str | int | float | bool | list[str] | list[float]


def prepare_home(home: Path) -> list[str]:
    """Make the home directory fit for use, with a commented stead.toml at the first start.

    Returns what was put right, in words. Raises ``HomeUnusable``.
    """
    notes = prepare(home)
    file = home / "stead.toml"
    if not file.exists():
        _write(file, starter())
    return notes


def edit(home: Path, path: str, value: Value) -> None:
    """Set ``path`` (``node.slots``, ``backend[0].url``) in ``home``/stead.toml.

    The result is checked as a whole first; a faulty one raises ``ConfigError`` and
    the file stays as it was. A path one past the end of an array adds a table.
    """
    import tomlkit  # late: 25 ms that only a change of the file needs
    import tomlkit.exceptions

    file = home / "stead.toml"
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else starter()
        document = tomlkit.parse(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    except tomlkit.exceptions.ParseError as error:
        raise ConfigError(why=f"it is not TOML. {error}") from error
    _put(document, path, value)
    result = document.as_string()
    raw, lines = parse(result)
    checked(raw, lines)
    _write(file, result)


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


def _put(document: Any, path: str, value: Value) -> None:
    import tomlkit  # late: see edit()

    parts = re.findall(r"([^.\[\]]+)(?:\[(\d+)\])?", path)
    if not re.fullmatch(r"[^.\[\]]+(\[\d+\])?(\.[^.\[\]]+(\[\d+\])?)*", path) or parts[-1][1]:
        raise ConfigError(f"{path!r} is not the path of a setting, such as node.slots", param=path)
    place = document
    for name, index in parts[:-1]:
        if name not in place:
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
    place[parts[-1][0]] = value


def _write(file: Path, text: str) -> None:
    try:
        write_atomic(file, text.encode())
    except OSError as error:
        raise HomeUnusable(f"{file} cannot be written: {error.strerror}") from error
