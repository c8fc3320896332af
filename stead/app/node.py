"""The node process: settings become the node's options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from stead import __version__
from stead.agent.tools.base import Toolbox
from stead.app.hands import limit_undo, tools_of
from stead.config import Loaded, local_url, permit_rule
from stead.core import logs
from stead.node.main import NodeOptions, run_node


def run(home: Path, loaded: Loaded, tools: Callable[[Path], Toolbox] | None = None) -> int:
    """Run a node till it is told to stop; returns its exit code.

    ``tools`` makes other tools than the ordinary ones, out of the path of the workspace."""
    settings = loaded.settings
    node = settings.node
    logs.setup(
        home / "logs", "node", settings.log.level, settings.log.max_mb, settings.log.keep,
        to_stderr=sys.stderr.isatty(),
    )  # fmt: skip
    options = NodeOptions(
        gateway=node.gateway or local_url(settings.listen),
        key_file=loaded.node_key_file,
        labels=tuple(node.labels),
        slots=node.slots,
        chat_slots=node.chat_slots,
        version=__version__,
        refused_s=node.refused_s,
        # The file of the gateway's own machine is the owner's: its rules come with the jobs.
        permits=tuple(permit_rule(one) for one in settings.permit) if node.gateway else (),
    )
    limit_undo(home, loaded)
    return run_node(home, options, tools or (lambda _: tools_of(loaded)))
