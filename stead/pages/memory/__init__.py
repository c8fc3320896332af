"""The room *Memory*: find what is remembered, correct it, and have it forgotten."""

from __future__ import annotations

from stead.pages.memory import contacts, files, forget, graph, index, review, search
from stead.pages.rooms import House, Room


def room(house: House) -> Room:
    """A module for each part of it."""
    parts = (search, files, review, graph, contacts, forget, index)
    return Room("memory", "Memory", [route for part in parts for route in part.routes(house)])
