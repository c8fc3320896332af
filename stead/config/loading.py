"""Reading the configuration: stead.toml, then the environment, then options.

The only reader of the environment. After loading, the configuration is frozen.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from stead.config.address import (
    LISTEN_VARIABLE,
    OWNER_KEY,
    Address,
    address_of,
    check_listen,
    path_at,
)
from stead.config.checks import checked
from stead.config.lines import lines_of
from stead.config.settings import Settings
from stead.core.errors import ConfigError

DEFAULT = "default"
_ENVIRONMENT = {"listen": LISTEN_VARIABLE, "offline": "STEAD_OFFLINE"}
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration as it holds for this process, and where each value came from."""

    home: Path
    settings: Settings
    origins: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    """Of the command line: they go before the file, also when that is read again."""

    def again(self) -> Loaded:
        """The configuration as it is by now. Raises ``ConfigError``."""
        return load(self.home, options=self.options)

    def with_text(self, text: str) -> Loaded:
        """The configuration as it would be with that as stead.toml. Raises ``ConfigError``."""
        return load(self.home, options=self.options, text=text)

    def origin(self, path: str) -> str:
        """Where the value at ``path`` (``node.slots``, ``backend[0].url``) came from:
        ``default``, ``stead.toml line 12``, ``environment STEAD_LISTEN``, ``option --listen``."""
        return self.origins.get(path) or self.origins.get(re.sub(r"\[\d+\]$", "", path), DEFAULT)

    def path(self, text: str) -> Path:
        """A path given in stead.toml."""
        return path_at(self.home, text)

    @property
    def owner_key_file(self) -> Path:
        return self.path(self.settings.gateway.key_file or OWNER_KEY)

    @property
    def systemd_credentials(self) -> Path | None:
        """The folder in which systemd hands over credentials (systemd.exec(5)), if it does."""
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        return Path(given) if given else None

    @property
    def node_key_file(self) -> Path:
        return self.path(self.settings.node.key_file or "secrets/node.key")

    @property
    def address(self) -> Address:
        """Where the gateway is reached from this machine, and the owner's key."""
        said = self.settings
        return address_of(
            self.home,
            listen=said.listen,
            key_file=said.gateway.key_file,
            gateway=said.node.gateway,
        )

    @property
    def gateway_url(self) -> str:
        """Where the gateway is reached from this machine, without a slash at the end."""
        return self.address.url


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that shall not know the settings of this one: ours without
    whatever is stead's, and ``more``."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("STEAD_")}
    return {**own, **more}


def load(
    home: Path, *, options: Mapping[str, object] | None = None, text: str | None = None
) -> Loaded:
    """Read ``home``/stead.toml (or what it may become: ``text``), the environment and ``options``
    (of the command line), in this order, the later over the earlier. Raises ``ConfigError``;
    touches nothing."""
    if text is None:
        text = _read(home / "stead.toml")
    raw, lines = parse(text.removeprefix("\ufeff"))  # some editors begin a file with a mark
    origins = {path: f"stead.toml line {_line(path, lines)}" for path in _given(raw)}
    settings = checked(raw, lines)
    over: dict[str, object] = {}
    for key, name in _ENVIRONMENT.items():
        given = os.environ.get(name)
        if given:
            over[key] = _from_environment(key, name, given)
            origins[key] = f"environment {name}"
    for key, value in (options or {}).items():
        over[key] = value
        origins[key] = f"option --{key}"
    if over:
        settings = msgspec.structs.replace(settings, **over)
        check_listen(settings.listen, origins.get("listen", "listen"))
    return Loaded(home, settings, origins, options or {})


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{file} cannot be read: {why}") from error


def _given(raw: object, at: str = "") -> Iterator[str]:
    """The path of every value that a file gives (tables themselves are none)."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield from _given(value, f"{at}.{key}" if at else key)
        return
    yield at
    if isinstance(raw, list):
        for index, item in enumerate(raw):
            if isinstance(item, dict):
                yield from _given(item, f"{at}[{index}]")


def _line(path: str, lines: Mapping[str, int]) -> int:
    """The line of ``path``, or of the inline table that it stands in."""
    while path and path not in lines:
        path = re.sub(r"(\[\d+\]|\.?[^.\[\]]+)$", "", path)
    return lines.get(path, 0)


def _from_environment(key: str, name: str, given: str) -> object:
    if key != "offline":
        return given
    word = given.strip().lower()
    if word not in _YES and word not in _NO:
        raise ConfigError(f"{name} is {given!r}; say 1 or 0", param=name)
    return word in _YES


def parse(text: str) -> tuple[dict[str, Any], dict[str, int]]:
    """A TOML text as a dict, and the line of each key. Raises ``ConfigError``."""
    try:
        return tomllib.loads(text), lines_of(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of 5,000 digits, a table in tables in...
        raise ConfigError(why=f"it is not TOML. {error}") from error
