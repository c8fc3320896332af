"""What rules say of, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from stead.core.permits import Approval

__all__ = ["Approval", "Facts", "Ruling", "Touches", "Word"]


class Word(StrEnum):
    """What a rule, or the owner, says of a call. The stricter one of two counts."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Touches:
    """What one call would touch, told by its tool from the parsed arguments, before it runs."""

    reads: tuple[Path, ...] = ()
    """Files and folders, absolute."""
    writes: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    """Names of hosts, in lower case; ``*``: any."""
    credentials: tuple[str, ...] = ()
    private: bool = False
    """What it gives back may be private to the owner (his files, his databases, his machines)."""
    foreign: bool = False
    """What it gives back is, or may be, text that others wrote (pages, mail, downloads)."""
    sends: bool = False
    """It may carry something out of the house, or to a person other than the owner."""
    owner_only: bool = False
    """What it does outside reaches nobody but the owner."""
    commands: tuple[str, ...] = ()
    """Command lines that a shell will read, as they are."""
    code: bool = False
    """It runs a program that the model wrote, or command lines."""
    word: Word = Word.ALLOW
    """What holds for this very call where no rule says anything: the stricter one of this and the
    tool's own ``permission``. So a query may be allowed, and one that writes asked for."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that rules may ask about one call."""

    tool: str
    args: dict[str, Any]
    """Parsed and checked against the tool's schema, with its defaults."""
    touches: Touches = Touches()
    effects: str = "none"
    default: Word = Word.ALLOW
    """What holds where no rule says anything, by the tool's own declaration."""
    version: str = ""
    """Fingerprint of the tool."""
    workspace: Path | None = None
    """The owner's workspace; what lies elsewhere must be named by who allows it."""
    session: str = ""
    person: str = "owner"
    channel: str = ""
    lane: str = "chat"
    has_private: bool = False
    """This run has read something private before."""
    heard_private: bool = False
    """Its conversation holds answers of runs that had; it decides only what may be sent out."""
    heard_foreign: bool = False
    has_foreign: bool = False
    """This run has read foreign text before, or was asked for by a stranger."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What holds for a call, and why."""

    word: Word
    why: str
    """In words, with the name or place of the rule that decided."""
