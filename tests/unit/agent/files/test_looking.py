"""Searching and reading: what is found does not depend on whether ripgrep is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from stead.agent.files import globs, ripgrep
from tests.unit.agent.files.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (tmp_path / "secret.txt").write_text("needle outside\n")
    for name, text in {
        "a.py": "one\ntwo Needle\nthree\nfour\nneedle five\n",
        "src/deep/b.py": "def needle():\n    pass\n",
        "src/c.txt": "no such thing\n",
        "src/needle.md": "x\n",
        ".git/config": "needle\n",
        ".hidden/d.py": "needle\n",
        "odd\nname.py": "needle\n",
        "ignored.py": "needle\n",
        ".gitignore": "ignored.py\n",
    }.items():
        path = desk.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (desk.work / "wide.py").write_bytes("\ufeffthe needle ü\r\n".encode("utf-16-le"))
    (desk.work / "latin.py").write_bytes("ein needle für dich\n".encode("latin-1"))
    (desk.work / "binary.py").write_bytes(b"needle\0\n")
    (desk.work / "big.py").write_text("needle\n" * 400_000)
    (desk.work / "link.py").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(desk.work / "pipe.py")
    return desk


QUERIES = [
    {"text": "needle"},
    {"text": "NEEDLE", "glob": "*.py"},
    {"text": "needle", "glob": "src/**/*.py"},
    {"text": "needle", "path": "src"},
    {"text": r"n[e]+dle\b", "regex": True},
    {"text": r"^(?=needle)", "regex": True},
    {"text": "needle", "context": 1},
    {"text": "für"},
    {"text": "(unclosed"},
    {"text": "-v --pre=sh"},
    {"text": "nothing at all like it"},
]


@pytest.mark.skipif(shutil.which("rg") is None and "CI" not in os.environ, reason="no ripgrep")
@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_the_same_with_and_without_ripgrep(
    desk: Desk, query: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hits, their order and the notes are the same; nothing outside is found."""
    with_it = desk.call("search_files", **query)  # type: ignore[arg-type]
    monkeypatch.setattr(ripgrep, "WHERE", "/nonexistent")
    without = desk.call("search_files", **query)  # type: ignore[arg-type]
    assert with_it == without
    assert "outside" not in with_it.text
    assert ".git/" not in with_it.text


def test_what_is_found(desk: Desk) -> None:
    """Lines with their numbers, lines around them, only the files that were asked for."""
    told = desk.use("search_files", text="needle", glob="a.py", context=1)
    assert told.split("\n") == [
        "a.py-1- one",
        "a.py:2: two Needle",
        "a.py-3- three",
        "a.py-4- four",
        "a.py:5: needle five",
    ]
    assert "src/deep/b.py:1: def needle():" in desk.use("search_files", text="needle")
    assert '"odd\\nname.py":1: needle' in desk.use("search_files", text="needle")
    assert "wide.py:1: the needle ü" in desk.use("search_files", text="needle", glob="w*")
    assert "no regular expression" in desk.refused("search_files", text="(", regex=True)


def test_globs() -> None:
    """Patterns as people write them."""
    for glob, yes, no in (
        ("*.py", ["a.py", "x/y/a.py"], ["a.pyc", "a.py/b"]),
        ("src/*.py", ["src/a.py"], ["src/x/a.py", "a.py", "lib/src/a.py"]),
        ("src/**/*.py", ["src/a.py", "src/x/y/a.py"], ["a.py"]),
        ("**/*.{jpg,png}", ["a.jpg", "x/b.png"], ["a.gif", "a.jpg,png"]),
        ("a?c", ["abc"], ["a/c", "abcd"]),
        ("a[1].txt", ["a[1].txt"], ["a1.txt"]),
        ("docs/**", ["docs/a", "docs/x/y"], ["doc/a"]),
    ):
        assert all(globs.pattern(glob).fullmatch(path) for path in yes), glob
        assert not any(globs.pattern(glob).fullmatch(path) for path in no), glob


def test_reading_other_files(desk: Desk) -> None:
    """Of what is no text it is said what it is, and which tool looks into it; text in other
    encodings is read, and can be edited as it was read."""
    for name, data, word in (
        ("p.pdf", b"%PDF-1.7\n\0", "pdf"),
        ("p.png", b"\x89PNG\r\n\x1a\n\0", "image"),
        ("p.mp4", b"\0\0\0\x20ftypisom\0", "media"),
        ("p.zip", b"PK\x03\x04\0", "archive"),
    ):
        (desk.work / name).write_bytes(data)
        assert f"`{word}`" in desk.refused("read_file", path=name)
    assert desk.use("read_file", path="wide.py") == "the needle ü\r\n"
    told = desk.use("read_file", path="latin.py")
    desk.use("edit_file", path="latin.py", old=told, new="ä\n")
    assert (desk.work / "latin.py").read_bytes() == b"\xe4\n"
    (desk.work / "bom.txt").write_bytes(b"\xef\xbb\xbfone\n")
    assert desk.use("read_file", path="bom.txt") == "one\n"
    (desk.work / "long.txt").write_text("é" * 30_000)
    assert "\ufffd" not in desk.use("read_file", path="long.txt", most=2000)
