"""What the rooms ask of a storage about conversations (sessions) and what was said in them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

View = dict[str, Any]


class SessionStore(Protocol):
    """Conversations: their list, their state, a look for words.

    A conversation's ``state`` is ``running`` while a job of it is queued or runs, ``ended`` when
    the owner said so, else ``idle``. ``waiting`` counts its jobs that wait for the owner's word.
    Each is shown with ``id``, ``title`` (its name, or how it begins), ``name``, ``state``,
    ``waiting``, ``turns``, ``last_at`` and ``ended_at`` (ms).
    """

    async def view_sessions(
        self, *, person: str = "owner", before: str = "", like: str = "", hidden: bool = False,
        limit: int = 50,
    ) -> View:  # fmt: skip
        """``sessions`` of a person, where something was said last first; whether there are
        ``more``; and ``next``, which as ``before`` gives those. ``like``: words of the title.
        Raises ``BadRequest``."""
        ...

    async def view_session(self, session: str, *, most_jobs: int = 50) -> View:
        """One of them, with its ``jobs`` that are not over, in their order: ``id``, ``state``,
        ``epoch``, ``message_id``, ``waiting_for``, ``cancel_req`` and the open question in
        ``approval`` (None: there is none). Raises ``NotFound``."""
        ...

    async def name_session(self, session: str, name: str) -> None:
        """Raises ``NotFound``, as those that follow."""
        ...

    async def end_session(self, session: str) -> None:
        """It is over, until somebody says something in it."""
        ...

    async def hide_session(self, session: str) -> None:
        """Take it out of the list, until somebody says something in it. The record keeps it."""
        ...

    async def last_message(self) -> int:
        """The ``seq`` of the message that was recorded last, of all; 0: there is none."""
        ...

    async def view_news(self, after: int, watched: Collection[str], limit: int) -> View:
        """What was recorded in these conversations after a ``seq``, of all of them in order
        (``messages``, at most ``limit``; whether there are ``more``), up to which ``seq`` that is
        all (``upto``), and each as in :meth:`view_session`, by id (``sessions``; those in which
        nothing was ever said are not in it)."""
        ...

    async def view_older(self, session: str, before: int, limit: int, most: int = -1) -> View:
        """The ``messages`` of a conversation before a ``seq`` (0: the newest), in their order, and
        whether there are ``more`` before them. ``most``: texts are cut to so many characters, and
        each has its ``length``."""
        ...

    async def view_message(self, ident: str, *, at: int = 0, most: int = -1) -> View:
        """One message: of its text ``most`` characters from ``at`` on, and its ``length``. Raises
        ``NotFound``."""
        ...

    async def view_search(
        self, words: str, *, person: str = "owner", session: str = "", before: int = 0,
        limit: int = 20,
    ) -> View:  # fmt: skip
        """``hits``: what was said with all these words in it (those in double quotes one after
        the other), the newest first, with ``snippet`` and where the words stand in it (``marks``);
        ``next``: with it as ``before`` the search goes on (0: all was looked at).

        One look is bounded, so there may be few hits, or none, and yet a ``next``. Off the record
        nothing is found. Raises ``BadRequest``.
        """
        ...

    async def jobs_instead(self, session: str, message_id: str) -> list[str]:
        """The jobs that are not over of the turns whose place a message took, in their order."""
        ...
