"""Hold the shape of the code: short files, short functions, no hidden imports.

- A file has at most 500 lines and a function at most 70, in stead/, tests/, bench/.
- ``import`` inside a function of stead/ needs a comment with the word "late" on
  its line, or on the line above the group of imports it belongs to.

Exceptions stand in size_exceptions.txt beside this file, one a line (``path`` or
``path::function``). The list may only shrink: one that is no longer needed fails.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILE = 500
MAX_FUNCTION = 70
FOLDERS = ("stead", "tests", "bench")
EXCEPTIONS = Path(__file__).with_name("size_exceptions.txt")


def functions(
    node: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function below ``node`` with its dotted name."""
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}.{child.name}" if prefix else child.name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, child
        yield from functions(child, name)


def hidden_imports(tree: ast.AST, lines: list[str]) -> Iterator[int]:
    """Lines of imports inside functions that no comment excuses as late."""
    inside: set[int] = set()
    for _, function in functions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                inside.add(node.lineno)
    excused: set[int] = set()
    for number in sorted(inside):
        near = lines[max(0, number - 2) : number]
        if number - 1 in excused or any("late" in line.partition("#")[2] for line in near):
            excused.add(number)
        else:
            yield number


def check(root: Path) -> tuple[dict[str, str], list[str]]:
    """What is too large (by its name in the exceptions list), and what is wrong anyway."""
    large: dict[str, str] = {}
    wrong: list[str] = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            text = path.read_text(encoding="utf-8")
            lines = text.splitlines()
            tree = ast.parse(text, name)
            if len(lines) > MAX_FILE:
                large[name] = f"{name}: {len(lines)} lines, at most {MAX_FILE}"
            for dotted, function in functions(tree):
                size = (function.end_lineno or function.lineno) - function.lineno + 1
                if size > MAX_FUNCTION:
                    large[f"{name}::{dotted}"] = (
                        f"{name}:{function.lineno}: {dotted} has {size} lines, "
                        f"at most {MAX_FUNCTION}"
                    )
            if folder == "stead":
                wrong += [
                    f"{name}:{number}: import inside a function; move it to the top, "
                    'or say in a comment why it is loaded "late"'
                    for number in hidden_imports(tree, lines)
                ]
    return large, wrong


def main() -> int:
    """Exit code 0 when all is within bounds."""
    root = Path(__file__).resolve().parent.parent
    large, wrong = check(root)
    allowed = {
        line.strip()
        for line in EXCEPTIONS.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    }
    wrong += [text for key, text in large.items() if key not in allowed]
    wrong += [
        f"{EXCEPTIONS.name}: {key} is no longer needed; take it out"
        for key in sorted(allowed - large.keys())
    ]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
