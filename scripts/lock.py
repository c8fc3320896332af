"""Remake the lock files: names, versions and SHA-256 hashes, nothing else.

``make lock`` calls it with the path of uv. Each file holds for Python 3.11 to
3.13 on Linux and macOS. A file with an address in it is refused.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "requirements"

#: Lock file, what goes in, and the lock that must agree with it. run comes first.
LOCKS: list[tuple[str, list[str], str]] = [
    ("run.lock", ["pyproject.toml"], ""),
    ("local.lock", ["requirements/local.in"], "run.lock"),
    ("dev.lock", ["--extra", "dev", "pyproject.toml"], "run.lock"),
    ("services.lock", ["requirements/services.in"], "dev.lock"),
    ("build.lock", ["requirements/build.in"], "run.lock"),
]
_LINE = re.compile(r"^([a-zA-Z0-9._-]+==\S+( ; .+)?( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?)$")


def compile_lock(uv: str, sources: list[str], constraint: str) -> str:
    """The text of one lock file."""
    command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links", *sources]
    if constraint:
        command += ["--constraint", str(OUT / constraint)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def main() -> int:
    """Exit code 0 when every lock file was written."""
    uv = sys.argv[1] if len(sys.argv) > 1 else "uv"
    for name, sources, constraint in LOCKS:
        try:
            text = compile_lock(uv, sources, constraint)
        except FileNotFoundError:
            print(f"{uv} was not found; install uv, or say: make lock UV=/path/to/uv")
            return 1
        except subprocess.CalledProcessError as error:
            print(f"{name}: uv could not resolve it:\n{error.stderr}")
            return 1
        odd = [line for line in text.splitlines() if line and not _LINE.match(line)]
        if odd:
            print(f"{name}: refused, these lines are more than name, version and hash: {odd[:3]}")
            return 1
        (OUT / name).write_text(text, encoding="utf-8")
        print(f"requirements/{name}: {text.count('==')} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
