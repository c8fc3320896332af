"""What the tools of a process work with: walls, and the toolbox made of all that.

Each part is made here once, for the node and for the gateway's own light worker alike.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from stead.agent.files.book import Limits, set_limits
from stead.agent.named import Database, Peripheral
from stead.agent.tools import TOOLS
from stead.agent.tools.base import Context, Toolbox
from stead.agent.tools.changing import UNDO
from stead.agent.tools.more_tools import with_more
from stead.app.ways import SECRETS, egress_of, known_to, web_of
from stead.config import Loaded
from stead.core import logs
from stead.sandbox.secrets import SecretStore


def tools_of(loaded: Loaded) -> Toolbox:
    """All tools, working in the workspace of this home, in sandboxes."""
    from stead.sandbox.walls import walls_here  # late: the gateway does without

    egress, chosen = egress_of(loaded), loaded.settings.sandbox
    run = loaded.home.resolve() / "run"
    walls = walls_here(run, egress, kind=chosen.kind, image=chosen.image)
    closing = (egress.aclose,)
    return Toolbox(with_more(TOOLS), replace(_context(loaded), walls=walls, closing=closing))


def known_tools(loaded: Loaded) -> Toolbox:
    """All tools where there are no sandboxes: what they are called and take. Those without effects
    work."""
    return Toolbox(with_more(TOOLS), _context(loaded))


def _context(loaded: Loaded) -> Context:
    home = loaded.home.resolve()  # from here on no granted path may hold a link
    known = known_to(loaded)
    logs.hide(known.hide)
    # permits: the node's own rules.
    return Context(
        workspace=(home / "workspace").resolve(),
        keep=home / "keep",
        databases=databases_of(loaded),
        peripherals=peripherals_of(loaded),
        hide=known.hide,
        web=web_of(loaded),
    )


def databases_of(loaded: Loaded) -> dict[str, Database]:
    """The databases by name; how to connect is read from its file at each call."""
    store = SecretStore(loaded.home / SECRETS)
    return {
        one.name: Database(
            one.name,
            partial(store.get, one.secret or one.name),
            loaded.path(one.ca_file) if one.ca_file else None,
            one.foreign,
        )
        for one in loaded.settings.database
    }


def peripherals_of(loaded: Loaded) -> dict[str, Peripheral]:
    """The machines by name."""

    def file(given: str, name: str) -> Path:
        return loaded.path(given) if given else loaded.home / SECRETS / name

    return {
        one.name: Peripheral(
            name=one.name,
            host=one.host,
            user=one.user,
            key=file(one.key_file, f"ssh-{one.name}.key"),
            known_hosts=file(one.known_hosts, f"ssh-{one.name}.known_hosts"),
            port=one.port,
            foreign=one.foreign,
        )
        for one in loaded.settings.peripheral
    }


def limit_undo(home: Path, loaded: Loaded) -> None:
    """Tell the tools, which cannot read the settings, how much of changed files is kept."""
    kept = loaded.settings.undo
    set_limits(home / "keep" / UNDO, Limits(kept.keep_days, kept.max_mb, kept.max_file_mb))
