"""`stead memory`: what is remembered.

To add a command: write one file, add one line to COMMANDS.
"""

from __future__ import annotations

import click

from stead.cli.lazy import LazyGroup

#: Name, where it is, one line of help. Shown in this order.
COMMANDS: dict[str, tuple[str, str]] = {
    "search": ("stead.cli.memory_search:search", "Find what is remembered."),
    "show": ("stead.cli.memory_files:show", "Show a remembered file; list them."),
    "edit": ("stead.cli.memory_files:edit", "Edit a remembered file."),
    "history": ("stead.cli.memory_files:history", "List the changes: by stead, and by hand."),
    "undo": ("stead.cli.memory_files:undo", "Take back a change."),
    "stats": ("stead.cli.memory_index:stats", "Say how much is remembered, and how the index is."),
    "forget": ("stead.cli.forget:forget", "Forget a message, person, topic, span or text."),
    "away": ("stead.cli.memory_away:away", "Take a copy along; bring home what was said there."),
    "reindex": ("stead.cli.memory_index:reindex", "Make the index anew from the files."),
    "graph": (
        "stead.cli.memory_graph:graph",
        "Show and change what is known of people, places and things.",
    ),
    "review": ("stead.cli.memory_review:review", "The nightly review: what it did and proposes."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def memory() -> None:
    """Search, show and change what stead remembers.

    What is remembered lies in files that you can read and edit: memory/ and knowledge/ in the home
    directory. The index over them is made anew whenever it is missing.
    """
