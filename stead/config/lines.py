"""On which line of a TOML text each key stands; tomllib does not tell."""

from __future__ import annotations

import re


def lines_of(text: str) -> dict[str, int]:
    """For each table and key of a valid TOML text the line it stands on, by its path."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table, closing, depth = "", "", 0
    for number, line in enumerate(text.split("\n"), 1):
        start = not closing and not depth
        bare, closing = _without_strings(line, closing)
        if start and (head := re.match(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]", bare)):
            table = _indexed(head[2], counts, new=head[1] == "[[")
            lines[table] = number
            lines.setdefault(re.sub(r"\[\d+\]$", "", table), number)
            continue
        if start and (key := re.match(r"\s*([A-Za-z0-9_.\-\s]+?)\s*=", bare)):
            name = re.sub(r"\s*\.\s*", ".", key[1])
            lines[f"{table}.{name}" if table else name] = number
            bare = bare[key.end() :]
        depth += sum(bare.count(c) for c in "[{") - sum(bare.count(c) for c in "]}")
    return lines


def _indexed(name: str, counts: dict[str, int], *, new: bool) -> str:
    """A table's name with the index of each array it lies in: ``backend[0].models[1]``."""
    path = ""
    parts = re.split(r"\s*\.\s*", name)
    for place, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        if new and place == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path


def _without_strings(line: str, closing: str) -> tuple[str, str]:
    """``line`` without strings and comment; ``closing`` ends a string begun on a line above."""
    out = []
    at = 0
    while at < len(line):
        if closing:
            if line[at] == "\\" and closing[0] == '"':
                at += 2
            elif line.startswith(closing, at):
                at, closing = at + len(closing), ""
            else:
                at += 1
        elif line[at] == "#":
            break
        elif line[at] in "\"'":
            closing = line[at] * 3 if line.startswith(line[at] * 3, at) else line[at]
            at += len(closing)
        else:
            out.append(line[at])
            at += 1
    return "".join(out), closing if len(closing) == 3 else ""
