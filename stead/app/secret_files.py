"""What `stead secret` shows: which secrets there are, where they lie, and who may have them put in.
Never a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stead.config import Loaded
from stead.sandbox.mask import LEAST, SHORT
from stead.sandbox.secrets import SecretStore, SecretUnreadable

FOLDER = "secrets"


@dataclass(frozen=True, slots=True)
class SecretTold:
    """A value, or a credential that wants one."""

    name: str
    where: str
    """Path of its file, the systemd credential or the command."""
    there: bool
    trouble: str
    """Why it cannot be used; empty: it can, as far as can be said without asking for it."""
    credentials: tuple[str, ...]
    """Those that use it, as ``NAME (tools) for hosts``."""


def store_of(home: Path) -> SecretStore:
    """The files that hold values."""
    return SecretStore(home / FOLDER)


def told(loaded: Loaded) -> list[SecretTold]:
    """All that are kept, and all that credentials ask for, by name."""
    store = store_of(loaded.home)
    users: dict[str, list[str]] = {name: [] for name in store.names()}
    elsewhere = []
    for one in loaded.settings.credential:
        use = f"{one.name} ({', '.join(one.tools)}) for {', '.join(one.hosts)}"
        if one.systemd:
            elsewhere.append(_of_systemd(loaded, one.name, one.systemd, use))
        elif one.command:
            command = f"command {' '.join(one.command)}"
            elsewhere.append(SecretTold(one.name, command, True, "", (use,)))
        else:
            users.setdefault(one.secret or one.name, []).append(use)
    return [*(_of_file(store, name, uses) for name, uses in sorted(users.items())), *elsewhere]


def _of_file(store: SecretStore, name: str, uses: list[str]) -> SecretTold:
    path, trouble = store.path(name), ""
    try:
        store.get(name)
    except SecretUnreadable as error:
        trouble = str(error.details["why"])
    return SecretTold(name, str(path), path.exists(), trouble, tuple(uses))


def _of_systemd(loaded: Loaded, name: str, unit: str, use: str) -> SecretTold:
    folder = loaded.systemd_credentials
    # A command at the terminal is not the unit: what it cannot see may well be there.
    there = folder is not None and (folder / unit).exists()
    return SecretTold(name, f"systemd credential {unit}", there, "", (use,))


def remark(value: str) -> str:
    """What the owner should know of a value he sets; empty: nothing."""
    if len(value) < LEAST:
        return f"It has fewer than {LEAST} characters: it cannot be hidden in what tools say."
    if len(value) < SHORT:
        return f"It has fewer than {SHORT} characters: it is hidden only where it stands alone."
    return ""
