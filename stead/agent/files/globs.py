"""Patterns for paths: ``*.py`` by name, ``src/**/*.py`` by path, ``*.{jpg,png}``."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=64)
def pattern(glob: str) -> re.Pattern[str]:
    """Matches a whole path relative to the folder; without a slash, the name at any depth."""
    made, at, braces = [], 0, 0
    while at < len(glob):
        letter = glob[at]
        if glob.startswith("**/", at):
            made.append("(?:.*/)?")
            at += 3
            continue
        if glob.startswith("**", at):
            made.append(".*")
            at += 2
            continue
        if letter == "{" and "}" in glob[at:]:
            braces += 1
            made.append("(?:")
        elif letter == "}" and braces:
            braces -= 1
            made.append(")")
        elif letter == "," and braces:
            made.append("|")
        else:
            made.append({"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter)))
        at += 1
    whole = "".join(made) + ")" * braces
    above = "" if "/" in glob.strip("/") else "(?:.*/)?"
    return re.compile(f"{above}{whole.removeprefix('/')}", re.DOTALL)
