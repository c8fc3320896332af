"""How a request comes to no good end."""

from __future__ import annotations


class HttpFailed(Exception):
    """A request came to no good end."""


class ConnectFailed(HttpFailed):
    """No connection was made; nothing of the request was sent."""


class Broken(HttpFailed):
    """The connection broke, or what came was not HTTP, after the request was (partly) sent."""


class Unanswered(Broken):
    """The connection closed before a byte of the answer came."""


class TimedOut(Broken):
    """The server was silent for too long, after the request was (partly) sent."""
