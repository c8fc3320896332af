"""What the shell is offered at the Tab key where a name of the house is wanted.

Each asks the gateway once, and has a moment for it: where it is away, nothing is offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from stead.cli.api import Api
from stead.config import find, home_dir
from stead.core.errors import SteadError

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _names(path: str, pick: Callable[[Any], list[str]], **filters: object) -> Completer:
    def complete(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
        home = ctx.find_root().params.get("home")
        try:
            at = Path(home).expanduser().absolute() if home else home_dir()
            found = pick(Api(find(at), most_s=_MOST_S).get(path, **filters))
        except (SteadError, OSError, LookupError, TypeError):
            return []
        return [one for one in found if one.startswith(begun) and _PLAIN.fullmatch(one)]

    return complete


_MOST_S = 0.5
#: The shell takes what it is offered as it is: a name that somebody else has made must be no more
#: than a name there.
_PLAIN = re.compile(r"[\w][\w.:@+,/-]{0,200}", re.ASCII)

sessions = _names("/api/v1/sessions", lambda d: [str(s["id"]) for s in d["sessions"]], limit=100)
models = _names("/v1/models", lambda d: [str(one["id"]) for one in d["data"]])
nodes = _names("/api/v1/nodes", lambda d: [str(one["name"]) for one in d["nodes"]])
jobs = _names("/api/v1/jobs", lambda d: [str(j["id"])[-8:] for j in d["jobs"]], limit=50)
approvals = _names("/api/v1/approvals", lambda d: [str(a["id"])[-8:] for a in d["approvals"]])
