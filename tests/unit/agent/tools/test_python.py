"""Python code in a sandbox."""

from __future__ import annotations

from pathlib import Path

from stead.agent.tools.base import Context
from stead.agent.tools.python import PythonArgs, preview, touches
from tests.unit.agent.tools.hands import with_hands


def python(place: Path, code: str, **args: object) -> str:
    """What code that comes to its end gives."""
    return with_hands(place, lambda hands: hands.text("python", code=code, **args))


def test_the_last_value_is_shown(tmp_path: Path) -> None:
    """What was printed comes first, then the value of the last expression; None is not shown."""
    said = python(tmp_path, "x = 6\nprint('so')\nx * 7")
    assert said == "so\n42\n[exit code 0]"
    assert python(tmp_path, "None") == "[no output; exit code 0]"


def test_a_traceback_begins_in_the_code(tmp_path: Path) -> None:
    """The model sees its own line, and nothing of what runs it; syntax errors too."""
    said = python(tmp_path, "def f(a):\n    return 1 / a\n\nf(0)")
    assert "return 1 / a" in said and "ZeroDivisionError" in said and "exit code 1" in said
    assert "python_run" not in said
    assert "SyntaxError" in python(tmp_path, "def (")
    assert python(tmp_path, "import sys; sys.exit(5)").endswith("[no output; exit code 5]")


def test_data_files_and_modules_of_the_workspace(tmp_path: Path) -> None:
    """Code reads and writes files where it runs, imports what lies there, tells what it wrote."""
    place = tmp_path / "workspace" / "sums"
    place.mkdir(parents=True)
    (place / "data.csv").write_text("a,1\nb,41\n")
    (place / "tell.py").write_text("def total(rows): return sum(int(n) for _, n in rows)\n")
    code = (
        "import csv, tell, os\n"
        "rows = list(csv.reader(open('data.csv')))\n"
        "os.makedirs('out/deep', exist_ok=True)\n"
        "open('out/deep/total.txt', 'w').write(str(tell.total(rows)))\n"
        "open('data.csv', 'a').write('c,0\\n')\n"
        "tell.total(rows)"
    )
    said = python(tmp_path, code, folder="sums")
    assert said.startswith("42\n")
    assert "'out/deep/total.txt'" in said and "'data.csv'" in said and "tell.py" not in said
    assert (place / "out" / "deep" / "total.txt").read_text() == "42"


def test_it_stays_in_its_sandbox(tmp_path: Path) -> None:
    """No network, no files beside the workspace, nothing of the worker's environment or input."""
    (tmp_path / "secret").write_text("s")
    code = (
        "import os, socket\n"
        "def tries(f):\n"
        "    try: return f()\n"
        "    except OSError as e: return type(e).__name__\n"
        f"print(tries(lambda: open({str(tmp_path / 'secret')!r}).read()))\n"
        "print(tries(lambda: socket.create_connection(('1.1.1.1', 53), 5)))\n"
        "print([k for k in os.environ if 'KEY' in k or 'TOKEN' in k])\n"
        "try: input()\n"
        "except EOFError: print('nothing to read')\n"
    )
    said = python(tmp_path, code)
    assert said.split("\n")[:4] == ["FileNotFoundError", "OSError", "[]", "nothing to read"]


def test_a_large_value_is_cut(tmp_path: Path) -> None:
    """A value of megabytes does not drown the rest."""
    said = python(tmp_path, "'x' * 5_000_000")
    assert "characters more]" in said and len(said) <= 8000


def test_plots_become_files(tmp_path: Path) -> None:
    """Figures that are left open are saved; a module that acts like matplotlib is enough."""
    place = tmp_path / "workspace" / "matplotlib"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("")
    (place / "pyplot.py").write_text(
        "class Figure:\n"
        "    def savefig(self, path, dpi): open(path, 'wb').write(b'png')\n"
        "def get_fignums(): return [1, 2]\n"
        "def figure(number): return Figure()\n"
    )
    said = python(tmp_path, "import matplotlib.pyplot")
    assert "'plots/plot-1.png', 'plots/plot-2.png'" in said
    assert (tmp_path / "workspace" / "plots" / "plot-2.png").read_bytes() == b"png"


def test_what_the_owner_is_shown() -> None:
    """The code itself; rules know that it is code."""
    args, context = PythonArgs("print(1)"), Context(Path("/w"))
    assert "print(1)" in preview(args, context) and "no network" in preview(args, context)
    assert touches(args, context).code
