"""Where a job may go: what it needs of a node, which nodes it would rather have or never has."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

#: The label of the worker inside the gateway. It takes what asks for this label, and nothing else.
GATEWAY = "@gateway"


class Ready(NamedTuple):
    """What is to be known of a job that has become ready, to wake a worker that can take it."""

    needs: str
    lane: str
    prefer: str = ""
    avoid: str = ""


def names(text: str) -> tuple[str, ...]:
    """The names in a comma-joined text."""
    return tuple(text.split(",")) if text else ()


def may_take(
    needs: str,
    prefer: str,
    avoid: str,
    *,
    name: str,
    labels: Collection[str],
    there: Collection[str],
) -> bool:
    """Whether the node ``name``, which carries ``labels``, may have a job now.

    ``there`` are the names of the nodes that others have to leave room for: a job that prefers
    some nodes goes to another only while none of those is in it.
    """
    if (GATEWAY in labels) is not (needs == GATEWAY):
        return False
    if any(label not in labels for label in names(needs)) or name in names(avoid):
        return False
    preferred = names(prefer)
    return not preferred or name in preferred or not any(one in there for one in preferred)


def is_label(text: str) -> bool:
    """Whether it can be a label that the owner gives a node; those with @ are stead's own."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:\-]{0,62}", text) is not None


def is_node_name(text: str) -> bool:
    """Whether it can be the name of a node."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text) is not None
