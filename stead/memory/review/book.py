"""What the review keeps of itself, in ``keep/review/``: small JSON files, each written whole.

========================  =============================================================
``nights/2026-11-21.json``  a slot: ``ran``, ``late``, ``skipped``, ``missed`` (or
                          ``running``), why, what it cost and what it did
``days/2026-11-20.json``  how far a day has been read, and what is to be taken of it
``proposals/ID.json``     what waits for the owner
``answered/ID.json``      what has his word, or came to nothing
``batch.json``            what is being written; done again after a crash
========================  =============================================================
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

from stead.core.errors import BadRequest, NotFound
from stead.core.files import sync_folder, write_atomic
from stead.memory.review.nouns import Op, Operation
from stead.memory.review.said import flat
from stead.memory.review.slots import FOLDER

log = logging.getLogger(__name__)

_ASKED, _ANSWERED = "proposals", "answered"
_SAFE = re.compile(r"[\w.-]{1,60}")
OPEN = "open"


class Book:
    """The files of one home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    # --- slots and days ------------------------------------------------------------------

    def night(self, slot: str) -> dict[str, Any]:
        return self._read(f"nights/{slot}.json")

    def save_night(self, slot: str, data: dict[str, Any]) -> None:
        self._write(f"nights/{slot}.json", data)

    def nights(self, most: int = 30) -> list[dict[str, Any]]:
        """The slots, the newest first."""
        names = sorted(self._names("nights"), reverse=True)[:most]
        return [{"slot": name, **self.night(name)} for name in names]

    def day(self, day: str) -> dict[str, Any]:
        return self._read(f"days/{day}.json")

    def save_day(self, day: str, data: dict[str, Any]) -> None:
        self._write(f"days/{day}.json", data)

    # --- proposals -----------------------------------------------------------------------

    def proposal(self, ident: str) -> dict[str, Any]:
        """By its id or the beginning of it. Raises ``NotFound``, ``BadRequest``."""
        ident = ident.lower()
        names = {*self._names(_ASKED), *self._names(_ANSWERED)}
        found = {name for name in names if ident and name.startswith(ident)}
        if len(found) > 1 and ident not in found:
            raise BadRequest(f"{ident!r} is the beginning of {len(found)} proposals; say more.")
        name = ident if ident in found else next(iter(found), "")
        data = self._proposal(name) if name else {}
        if not data:
            raise NotFound(what=f"proposal {ident!r}")
        return data

    def proposals(self, state: str = OPEN, most: int = 500) -> list[dict[str, Any]]:
        """Those of a state (empty: all), the oldest first."""
        names = set(self._names(_ASKED))
        if state != OPEN:
            names |= set(self._names(_ANSWERED))
        found = [self._proposal(name) for name in names]
        kept = [one for one in found if one and (not state or one.get("state") == state)]
        return sorted(kept, key=lambda one: (one.get("at", 0), one.get("id", "")))[-most:]

    def has_proposal(self, ident: str) -> bool:
        return bool(self._proposal(ident))

    def save_proposal(self, data: dict[str, Any]) -> None:
        """Those that wait and those that are over lie apart, so that the first are few."""
        name = f"{data['id']}.json"
        if data["state"] == OPEN:
            self._write(f"{_ASKED}/{name}", data)
            return
        self._write(f"{_ANSWERED}/{name}", data)
        (self._folder / _ASKED / name).unlink(missing_ok=True)

    def _proposal(self, name: str) -> dict[str, Any]:
        # A crash may leave it in both places: what was answered is answered.
        return self._read(f"{_ANSWERED}/{name}.json") or self._read(f"{_ASKED}/{name}.json")

    # --- what is being written -----------------------------------------------------------

    def batch(self) -> dict[str, Any]:
        return self._read("batch.json")

    def save_batch(self, data: dict[str, Any]) -> None:
        self._write("batch.json", data)

    def drop_batch(self) -> None:
        (self._folder / "batch.json").unlink(missing_ok=True)
        sync_folder(self._folder)

    # --- files ---------------------------------------------------------------------------

    def _names(self, kind: str) -> list[str]:
        folder = self._folder / kind
        if not folder.is_dir():
            return []
        return [path.stem for path in folder.iterdir() if path.suffix == ".json"]

    def _read(self, name: str) -> dict[str, Any]:
        """Empty where there is none, or where it is none of ours: what it said is then worked out
        anew, which does nothing twice."""
        if not all(_SAFE.fullmatch(part) for part in name.split("/")):
            return {}
        path = self._folder / name
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            log.warning("%s is not what the review wrote; it is passed over", path)
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, data: dict[str, Any]) -> None:
        if not all(_SAFE.fullmatch(part) for part in name.split("/")):
            raise BadRequest(why=f"{name!r} is no name")
        path = self._folder / name
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(path.parent.parent)
        text = json.dumps(data, ensure_ascii=False, indent=1)
        write_atomic(path, text.encode("utf-8", "surrogateescape"))


def ident_of(one: Operation) -> str:
    """The id of a proposal: the same for the same change, so that what was said no to is not asked
    again, and what was written before a crash is not written twice."""
    text = "" if one.op is Op.ARCHIVE else one.text  # why, which is another each night
    said = (one.op.value, one.topic, text, one.old, one.other, one.relation)
    words = "\0".join(flat(part).casefold() for part in said)
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:12]
