"""Web push, made from its settings."""

from __future__ import annotations

from stead.config import Settings
from stead.flow.flow import Flow
from stead.push.pusher import Pusher, Terms
from stead.store.sqlite import SqliteStore


def pusher_of(settings: Settings, store: SqliteStore, secret: bytes, flow: Flow) -> Pusher:
    """``secret``: of this house, as long as its database lives. The key pair comes of it."""
    wanted = settings.push
    terms = Terms(tuple(wanted.services), wanted.contact, wanted.words, settings.offline)
    made = Pusher(store, secret.hex(), terms)
    flow.on_reply(made.nudge)
    return made
