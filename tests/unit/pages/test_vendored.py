"""Files of others are those that were released."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import stead.pages

VENDOR = Path(stead.pages.__file__).parent / "static" / "vendor"


def test_files_of_others_are_as_released() -> None:
    """Each has its licence and its hash, and nothing lies there that is not listed."""
    listed = tomllib.loads((VENDOR / "VENDORED.toml").read_text())
    seen = {"VENDORED.toml"}
    for package in listed.values():
        assert any(name.endswith(".LICENSE") for name in package["files"]), package
        for name, file in package["files"].items():
            assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == file["sha256"], name
            seen.add(name)
    assert {path.name for path in VENDOR.iterdir()} == seen
