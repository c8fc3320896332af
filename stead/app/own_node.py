"""The node on the gateway's own machine."""

from __future__ import annotations

import socket
from pathlib import Path

from stead.config import Settings
from stead.core.keys import ensure_key
from stead.core.storage import NodeStore
from stead.gateway.auth import hash_key


async def own_node(home: Path, settings: Settings, store: NodeStore) -> None:
    """It has its key from a file here, so it needs no invitation."""
    if settings.node.gateway:
        return
    hashed = hash_key(ensure_key(home / "secrets" / "node.key", "node"))
    # One that was revoked or retired stays so, until it is invited anew.
    if await store.node_by_key(hashed, revoked=True) is None:
        name = settings.node.name or socket.gethostname() or "node"
        known = {node.name for node in await store.nodes() if not node.revoked}
        if name in known:  # a new key for the same machine replaces the old one
            await store.revoke_node(name)
        await store.add_node(name, hashed)
