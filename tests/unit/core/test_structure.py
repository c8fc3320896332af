"""The checks of the code's own structure catch what they are there for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from scripts import check_sizes  # noqa: E402


def hidden(source: str) -> list[int]:
    return list(check_sizes.hidden_imports(ast.parse(source), source.splitlines()))


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import a\n", []),
        ("def f():\n    import a\n", [2]),
        ("def f():\n    import a  # late: heavy\n", []),
        ("def f():\n    # late: heavy\n    import a\n    import b\n", []),
        ("def f():\n    import a  # late: heavy\n    x = 1\n    import b\n", [4]),
        ("class C:\n    def f(self):\n        from a import b\n", [3]),
        ("def f():\n    related = 1\n    import a\n", [3]),
    ],
)
def test_hidden_imports(source: str, lines: list[int]) -> None:
    """An import inside a function is found unless a comment says why it is late."""
    assert hidden(source) == lines


def test_sizes(tmp_path: Path) -> None:
    """Long files and long functions are found, and named as the exceptions list names them."""
    (tmp_path / "stead").mkdir()
    body = "".join(f"    x{i} = {i}\n" for i in range(70))
    text = f"class C:\n    def f(self):\n{body.replace('    x', '        x')}" + "\n" * 440
    (tmp_path / "stead" / "a.py").write_text(text)
    large, wrong = check_sizes.check(tmp_path)
    assert set(large) == {"stead/a.py", "stead/a.py::C.f"}
    assert wrong == []


@pytest.mark.parametrize(
    ("room", "line", "found"),
    [
        ("core", "import msgspec", "standard library only"),
        ("core", "import json", ""),
        ("queue", "from stead.store import x", "queue may import: core"),
        ("queue", "from stead.core import x", ""),
        ("attic", "import json", "not in the table"),
    ],
)
def test_rooms(tmp_path: Path, room: str, line: str, found: str) -> None:
    """An import that the table of rooms does not allow fails, with its line."""
    for name in {"core", "store", room}:
        (tmp_path / "stead" / name).mkdir(parents=True)
        (tmp_path / "stead" / name / "__init__.py").write_text("x = 1\n")
    (tmp_path / "stead" / "__init__.py").write_text("")
    (tmp_path / "stead" / room / "a.py").write_text(f"\n{line}\n")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(tool), "--no-logo", "--no-cache"], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (found or "2 kept, 0 broken") in " ".join(done.stdout.split()), done.stdout + done.stderr
    assert done.returncode == (1 if found else 0)
