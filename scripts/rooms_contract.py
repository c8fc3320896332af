"""An import-linter contract: the table of rooms, one line a room, ``room: may import``.

One table instead of a forbidden contract for each room: what is not listed is
not allowed, a room that is not in the table fails, and a room that does not
exist yet may already have its line.
"""

from __future__ import annotations

import sys
from typing import Any

from importlinter import Contract, ContractCheck, fields, output


class RoomsContract(Contract):
    """``rooms``: the table; ``stdlib_only``: rooms that import nothing from outside."""

    rooms = fields.ListField(subfield=fields.StringField())
    stdlib_only = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Look at every import once; nothing indirect is judged, each room answers for its own."""
        root = self.session_options["root_packages"][0]
        table = _table(self.rooms)
        strict = set(self.stdlib_only or ())
        found: list[str] = []
        for importer in sorted(graph.modules):
            room = _room(importer, root)
            if not room:
                continue
            if room not in table:
                found.append(f"{importer}: the room {room!r} is not in the table")
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                why = _verdict(room, imported, root, table, strict)
                if why:
                    lines = [
                        str(detail["line_number"])
                        for detail in graph.get_import_details(importer=importer, imported=imported)
                    ]
                    found.append(f"{importer} -> {imported} (line {', '.join(lines)}): {why}")
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["found"]:
            output.print_error(line, bold=False)


def _table(lines: list[str]) -> dict[str, set[str]]:
    table = {}
    for line in lines:
        room, _, allowed = line.partition(":")
        table[room.strip()] = {name.strip() for name in allowed.split(",") if name.strip()}
    return table


def _room(module: str, root: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == root and len(parts) > 1 else ""


def _verdict(
    room: str, imported: str, root: str, table: dict[str, set[str]], strict: set[str]
) -> str:
    if imported == root or imported.startswith(root + "."):
        target = _room(imported, root)
        if not target or target == room or target in table[room]:
            return ""
        return f"{room} may import: {', '.join(sorted(table[room])) or 'nothing'}"
    if room in strict and imported.split(".")[0] not in sys.stdlib_module_names:
        return f"{room} imports the standard library only"
    return ""
