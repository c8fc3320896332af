"""What the owner sees and changes of memory over the API, put together.

What does the work is loaded at its first use: most gateways are seldom asked.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from starlette.routing import Route

from stead.app.reload import Reload
from stead.gateway.auth import Keys
from stead.gateway.config_routes import Config
from stead.gateway.known_routes import KnownRoutes
from stead.gateway.remembered_routes import RememberedRoutes


class _Remembered:
    """:mod:`stead.app.remembered` of one home."""

    def __init__(self, home: Path, reload: Reload) -> None:
        self._home = home
        self._reload = reload
        self._do: ModuleType = importlib.import_module("stead.app.remembered")

    def listed(self, **asked: Any) -> Any:
        return self._do.listed(self._home, self._reload.settings, **asked)

    def draft(self, path: str, text: str, base: str) -> Any:
        return self._do.draft(self._home, self._reload.settings, path, text, base)

    def save(self, path: str, text: str, base: str, sure: bool) -> Any:
        return self._do.save(self._home, self._reload.settings, path, text, base, sure)

    def __getattr__(self, name: str) -> Any:
        """The others need the home alone."""
        return partial(getattr(self._do, name), self._home)


class _Known:
    """:mod:`stead.app.known` of one home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._do = importlib.import_module("stead.app.known")

    def last_contact(self, who: str) -> Any:
        return self._do.last_contact_of(self._home, who)

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self._do, name), self._home)


def routes(home: Path, reload: Reload, keys: Keys, most: int) -> list[Route]:
    """Files, history, graph, contacts; and the settings."""
    files = _once(lambda: _Remembered(home, reload))
    known = _once(lambda: _Known(home))

    def settings() -> Any:
        module = importlib.import_module("stead.app.house_settings")
        return module.HouseSettings(home, reload)

    config = Config(keys, lambda: reload.apply().live, reload.view, _once(settings), max_body=most)
    return [
        *RememberedRoutes(files, keys, max_body=most).routes(),
        *KnownRoutes(known, keys, max_body=most).routes(),
        *config.routes(),
    ]


def _once(make: Callable[[], Any]) -> Callable[[], Any]:
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get
