"""What an installation weighs: a fresh environment with `pip install .`, no extras.

The sum of the sizes of all files that were added, without pip and what it brings itself.
Needs the package index (or a filled cache of pip).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from bench.figures import Figure, Place, Skipped

AIM_MB = 80.0
_ROOT = Path(__file__).resolve().parents[2]
_MB = 1e6


def run(place: Place) -> list[Figure]:
    """With compiled bytecode, as pip leaves it; without it beside."""
    env = place.scratch / "env"
    _must([sys.executable, "-m", "venv", str(env)], "make an environment")
    before = _files(env)
    source = _copy(place.scratch / "source")  # a build writes into its source
    python = env / "bin" / "python"
    _must([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "."],
          "install stead", source)  # fmt: skip
    added = {path: size for path, size in _files(env).items() if path not in before}
    whole = sum(added.values()) / _MB
    plain = sum(size for path, size in added.items() if path.suffix != ".pyc") / _MB
    largest = ", ".join(f"{name} {size / _MB:.1f}" for name, size in _packages(added)[:5])
    return [
        Figure(
            "installed without local models", whole, "MB", AIM_MB,
            beside=f"{plain:.1f} MB without bytecode; largest: {largest}",
        )
    ]  # fmt: skip


def _copy(target: Path) -> Path:
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    target.mkdir()
    names = {"pyproject.toml", str(settings["project"]["readme"])}
    names |= set(settings["project"].get("license-files", []))
    for name in names:
        shutil.copy2(_ROOT / name, target / name)
    shutil.copytree(_ROOT / "stead", target / "stead", ignore=shutil.ignore_patterns("__pycache__"))
    return target


def _must(command: list[str], what: str, folder: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=110,
    )  # fmt: skip
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Skipped(f"could not {what}: {' '.join(told) or 'no reason was given'}")


def _files(env: Path) -> dict[Path, int]:
    return {
        path.relative_to(env): path.lstat().st_size
        for path in env.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def _packages(added: dict[Path, int]) -> list[tuple[str, int]]:
    """Size by top-level name in site-packages, the largest first."""
    sums: Counter[str] = Counter()
    for path, size in added.items():
        parts = path.parts
        if "site-packages" in parts:
            sums[parts[parts.index("site-packages") + 1]] += size
    return sums.most_common()
