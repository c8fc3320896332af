"""The settings for the owner's API: what holds and from where, and changes that are checked before
anything is written."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from stead.app.memory_files import history
from stead.app.reload import Reload
from stead.app.remembered import restored
from stead.config import (
    ConfigStale,
    Draft,
    Setting,
    checked_text,
    describe,
    drafted,
    file_text,
    hidden_value,
    hide,
    is_live,
    leaves,
    value_of,
    write_draft,
)
from stead.core.errors import BadRequest, ConfigError
from stead.core.files import write_atomic

_FILE = "stead.toml"
_BEFORE = "stead.toml.before"
_HIDDEN = "(hidden)"


class HouseSettings:
    """The settings of a gateway that runs. For the thread of its loop."""

    def __init__(self, home: Path, reload: Reload) -> None:
        self._home = home
        self._reload = reload

    def all(self) -> dict[str, Any]:
        """Every setting: ``value`` (what holds), ``wanted`` where another holds from the next start
        on, ``origin``, and what there is to be said of it. Secrets are hidden."""
        loaded = self._reload.loaded
        told = {one.path: one for one in describe()}
        wanted = dict(leaves(msgspec.to_builtins(self._reload.wanted)))
        holds = dict(leaves(msgspec.to_builtins(loaded.settings)))
        rows = []
        for path in dict.fromkeys([*holds, *wanted]):
            about = told.get(re.sub(r"\[\d+\]", "[]", path))
            if about is None:  # tables of which there is none
                continue
            value, later = holds.get(path), wanted.get(path)
            row = {
                "path": path, "value": hidden_value(path, value), "origin": loaded.origin(path),
                "live": is_live(path), **_about(about),
            }  # fmt: skip
            if later != value or (path in wanted) != (path in holds):
                row["wanted"] = hidden_value(path, later) if path in wanted else None
                row["waits"] = True
            rows.append(row)
        return {"settings": rows, "tables": _tables(told.values()), **self._file_state()}

    def _file_state(self) -> dict[str, Any]:
        try:
            base, trouble = file_text(self._home).base, ""
        except ConfigError as error:
            base, trouble = "", error.message
        return {"file": str(self._home / _FILE), "base": base, "trouble": trouble}

    def text(self) -> dict[str, Any]:
        """stead.toml itself. A line with a secret shows that it is hidden, and keeps it."""
        held = file_text(self._home)
        shown = hide(held.old)
        return {"text": shown, "base": held.base, "hidden": shown != held.old}

    async def set(
        self, values: Mapping[str, Any], base: str | None, dry_run: bool
    ) -> dict[str, Any]:
        """Set values by their paths; None takes one out. ``base``: of the version looked at."""
        draft = drafted(self._home, {path: _value(path, one) for path, one in values.items()})
        return await self._write(draft, base, dry_run, ", ".join(values))

    async def replace(self, text: str, base: str | None, dry_run: bool) -> dict[str, Any]:
        """Another stead.toml altogether; lines left as :meth:`text` gave them keep what they hid.
        Raises ``BadRequest`` for a hidden value in a line that was changed."""
        held = file_text(self._home)
        draft = checked_text(held, _with_secrets(held.old, text))
        return await self._write(draft, base, dry_run, "the file")

    async def _write(
        self, draft: Draft, base: str | None, dry_run: bool, what: str
    ) -> dict[str, Any]:
        if base is not None and draft.base != base:
            raise ConfigStale(path=self._home / _FILE)
        found = self._reload.check(draft.new)
        over = {
            path: self._reload.loaded.origin(path)
            for path in (*found.live, *found.restart)
            if self._reload.loaded.origin(path).startswith(("environment", "option"))
        }
        said: dict[str, Any] = {
            "diff": _diff(draft), "same": draft.old == draft.new, "live": [*found.live],
            "restart": [*found.restart], "overruled": over, "base": draft.base,
            "written": False, "kept": "", "change": "",
        }  # fmt: skip
        if dry_run or draft.old == draft.new:
            return said
        kept = await asyncio.to_thread(_keep, self._home, draft)
        said["base"] = write_draft(self._home, draft)
        try:
            self._reload.apply()
        except ConfigError:  # checked a moment ago: what it depends on has just changed
            write_draft(self._home, Draft(draft.new, draft.old, said["base"]))
            raise
        if kept == "history":
            words = f"settings: {what}"
            said["change"] = await asyncio.to_thread(_commit, self._home, words)
        return {**said, "written": True, "kept": kept}


def _about(one: Setting) -> dict[str, Any]:
    return {"kind": one.kind, "help": one.help, "bounds": one.bounds, "default": one.default}


def _tables(known: Iterable[Setting]) -> list[dict[str, Any]]:
    """Tables of which there can be several, and what can be said in one."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in known:
        head, _, name = one.path.rpartition(".")
        if head.endswith("[]") and head.count("[]") == 1:
            about = {"name": name, "required": one.required, **_about(one)}
            found.setdefault(head[:-2], []).append(about)
    return [{"name": name, "fields": fields} for name, fields in found.items()]


def _value(path: str, given: Any) -> Any:
    """What a program or a form gave, as the setting has it. Raises ``BadRequest``."""
    if isinstance(given, str):
        if _HIDDEN in given:
            raise BadRequest(f"{path}: {_HIDDEN} stands for a secret; give it whole.", param=path)
        return value_of(path, given)
    if given is None or isinstance(given, bool | int | float):
        return given
    if isinstance(given, list) and all(isinstance(one, str | int | float) for one in given):
        if any(isinstance(one, str) and _HIDDEN in one for one in given):
            raise BadRequest(f"{path}: {_HIDDEN} stands for a secret; give it whole.", param=path)
        return given
    raise BadRequest(f"{path} takes a text, a number, true or false, or a list.", param=path)


def _with_secrets(old: str, given: str) -> str:
    """``given`` with what :func:`hide` took out of lines that are as they were shown."""
    shown = hide(old)
    before, hidden = _keeping(old), _keeping(shown)
    text = restored(shown, given)
    if shown == old:
        return text
    if len(before) != len(hidden):
        if _HIDDEN in text:
            raise BadRequest(f"A secret goes over several lines; change {_FILE} itself.")
        return text
    out: list[str] = []
    matcher = difflib.SequenceMatcher(None, hidden, _keeping(text), autojunk=False)
    told = _keeping(text)
    for verb, low, high, from_, to in matcher.get_opcodes():
        if verb == "equal":
            out += before[low:high]
            continue
        for number, line in enumerate(told[from_:to], from_ + 1):
            if _HIDDEN in line:
                why = f"line {number} holds a value that is hidden here"
                raise BadRequest(f"{why}; change it in {_FILE} itself, or give it whole.")
            out.append(line)
    return "".join(out)


def _keeping(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+\Z", text)


def _diff(draft: Draft) -> str:
    lines = difflib.unified_diff(
        draft.old.splitlines(keepends=True), draft.new.splitlines(keepends=True),
        f"a/{_FILE}", f"b/{_FILE}",
    )  # fmt: skip
    whole = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
    return hide(whole, draft.old, draft.new)


def _keep(home: Path, draft: Draft) -> str:
    """Keep the file as it was: in the home's history, or where there is none beside it; where."""
    try:
        if not history.available():
            history.settle(home)
            return "history"
    except history.NoHistory:
        pass  # the disk is full, say: the copy beside it may go where git cannot
    if draft.base:
        write_atomic(home / _BEFORE, draft.old.encode())
    return _BEFORE


def _commit(home: Path, message: str) -> str:
    try:
        return history.commit(home, message, [_FILE])
    except history.NoHistory:
        return ""
