"""The rooms of the page, in the order of the navigation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.routing import BaseRoute

from stead.pages.inside import Api
from stead.pages.render import Renderer
from stead.pages.visitor import Visitor, visitor_of

#: A module each, with ``def room(house: House) -> Room``. Their order is that of the navigation.
ROOMS: tuple[str, ...] = (
    "chat",
    "jobs",
    "approvals",
    "memory",
    "costs",
    "health",
    "nodes",
    "people",
    "files",
    "signin.room",
    "notices",
    "settings",
    "live",
)


@dataclass(frozen=True, slots=True)
class Room:
    """A part of the page."""

    name: str
    """Of its templates' folder, its icon (``#NAME`` in icons.svg) and its path: ``/NAME``."""
    title: str
    routes: Sequence[BaseRoute]
    path: str = ""
    """Where it begins, if not at ``/NAME``."""
    members: bool = False
    """Whether people besides the owner may see it."""
    shown: bool = True
    """Whether it stands in the navigation."""

    @property
    def start(self) -> str:
        return self.path or f"/{self.name}"


@dataclass(frozen=True, slots=True)
class House:
    """What rooms are handed."""

    asked: Callable[[Visitor], Api]
    """The API on behalf of a visitor."""
    render: Renderer

    def api(self, request: Request) -> Api:
        """The API on behalf of who makes this request."""
        return self.asked(visitor_of(request))


def make(house: House) -> list[Room]:
    """Every room."""
    return [importlib.import_module(f"stead.pages.{name}").room(house) for name in ROOMS]


def letters(rooms: Sequence[Room]) -> dict[str, str]:
    """The key after ``g`` that leads to each room, by where the room begins."""
    found: dict[str, str] = {}
    for room in rooms:
        for letter in room.title.lower():
            if letter.isascii() and letter.isalpha() and letter not in found.values():
                found[room.start] = letter
                break
    return found
