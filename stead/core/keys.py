"""Keys: how they look, and how they lie on disk (0600, one line)."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path
from typing import Literal

from stead.core.errors import HomeUnusable
from stead.core.files import sync_folder

Kind = Literal["owner", "node", "job", "runtime", "program"]

#: What a key starts with tells what it opens; logs mask whatever starts so.
PREFIX: dict[Kind, str] = {
    "owner": "so_", "node": "sn_", "job": "sj_", "runtime": "sr_", "program": "sp_",
}  # fmt: skip


def new_key(kind: Kind) -> str:
    """A fresh key with 256 random bits."""
    bits = os.urandom(32)  # what `secrets` does, without the 10 ms of its import
    return PREFIX[kind] + base64.urlsafe_b64encode(bits).rstrip(b"=").decode()


def new_secret() -> str:
    """A fresh webhook secret (Standard Webhooks: ``whsec_`` and base64 of 32 bytes)."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def read_key(path: Path) -> str:
    """The key in ``path``. Raises ``HomeUnusable`` when there is none."""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise HomeUnusable(f"The key file {path} cannot be read: {why}") from error
    if not key or any(c.isspace() for c in key):
        raise HomeUnusable(f"The key file {path} holds no key (one line is expected)")
    return key


def write_new_key(path: Path, key: str) -> None:
    """Write ``key`` to a file that must not exist yet, readable by its owner only.

    It appears whole or not at all: another process that looks for it at the same
    moment never reads an empty one.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError as error:
        raise HomeUnusable(f"{path} exists already; it was left as it is") from error
    except OSError as error:
        raise HomeUnusable(f"The key file {path} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.resolve().parent)


def ensure_key(path: Path, kind: Kind | Literal["webhook"]) -> str:
    """The key in ``path``, made now if there is none. Two that race get the same one."""
    if not path.exists():
        try:
            write_new_key(path, new_secret() if kind == "webhook" else new_key(kind))
        except HomeUnusable:
            if not path.exists():
                raise
    return read_key(path)
