"""Atomic files, keys and logs."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.core.errors import HomeUnusable
from stead.core.files import write_atomic
from stead.core.keys import PREFIX, ensure_key, new_key, read_key, write_new_key
from stead.core.logs import redact, setup


def test_write_atomic_keeps_mode(tmp_path: Path) -> None:
    """A file is replaced whole and keeps its mode; a new one is its owner's only."""
    file = tmp_path / "a"
    write_atomic(file, b"one")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    write_atomic(file, b"two")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"two", 0o644)


def test_write_atomic_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails before the rename, the old file is there and nothing else."""
    file = tmp_path / "a"
    write_atomic(file, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_write_atomic_follows_links(tmp_path: Path) -> None:
    """A file that is a link stays one; what it points to is changed."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_keys_differ_and_tell_their_kind() -> None:
    """Every key is its own and begins with the letters of its kind."""
    for kind, prefix in PREFIX.items():
        assert new_key(kind).startswith(prefix)
        assert new_key(kind) != new_key(kind)


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff\xff"])
def test_no_key_in_the_file(tmp_path: Path, content: bytes) -> None:
    """A file that holds no key is refused with its name."""
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(HomeUnusable, match="key"):
        read_key(tmp_path / "key")


def test_first_key_is_made_once(tmp_path: Path) -> None:
    """Several that start at once agree on one key, readable by its owner only."""
    file = tmp_path / "owner.key"
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_key(file, "owner"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {read_key(file)}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_new_key_never_replaces(tmp_path: Path) -> None:
    """A key file that exists is never overwritten."""
    write_new_key(tmp_path / "k", "so_one")
    with pytest.raises(HomeUnusable, match="exists"):
        write_new_key(tmp_path / "k", "so_two")
    assert read_key(tmp_path / "k") == "so_one"


@pytest.fixture
def quiet_root() -> Iterator[None]:
    """Gives the root logger back as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in list(root.handlers):
        if handler not in before:
            root.removeHandler(handler)
            handler.close()
    for handler in before:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(level)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_log_line(tmp_path: Path, quiet_root: None) -> None:
    """A line is JSON with time, level, logger, message, further fields and the trace."""
    path = setup(tmp_path, "gateway", level="info")
    log = logging.getLogger("stead.x")
    log.debug("unseen")
    log.info("hello %s\nthere", "ä", extra={"fields": {"job": "j1", "level": "not mine"}})
    try:
        raise ValueError("so_" + "x" * 40)
    except ValueError:
        log.exception("broke")
    first, second = lines(path)
    assert first["msg"] == "hello ä\nthere"
    assert (first["level"], first["logger"], first["job"]) == ("info", "stead.x", "j1")
    assert str(first["at"]).endswith("Z")
    assert "ValueError" in str(second["trace"])
    assert "xxxx" not in str(second["trace"])


def test_second_setup_replaces_the_first(tmp_path: Path, quiet_root: None) -> None:
    """Set up twice, a line is still written once."""
    setup(tmp_path, "a")
    path = setup(tmp_path, "b")
    logging.getLogger("x").info("once")
    assert len(lines(path)) == 1
    assert (tmp_path / "a.jsonl").read_text() == ""


@pytest.mark.parametrize(("keep", "files"), [(2, 3), (0, 1)])
def test_logs_stay_small(tmp_path: Path, quiet_root: None, keep: int, files: int) -> None:
    """Logs never grow past their size times the number kept."""
    setup(tmp_path, "a", max_mb=0.001, keep=keep)
    for number in range(200):
        logging.getLogger("x").info("line %d", number)
    assert len(list(tmp_path.iterdir())) == files
    assert all(file.stat().st_size <= 1000 for file in tmp_path.iterdir())


@given(
    kind=st.sampled_from(["so_", "sn_", "sj_", "sk-", "sk-proj-", "Bearer ", "bearer "]),
    secret=st.text("abcXYZ019-_", min_size=20, max_size=60),
    before=st.sampled_from(["", "key=", '"', " ", "https://x/?k="]),
    after=st.sampled_from(["", '"', " ", ",", "\n"]),
)
def test_secrets_are_masked(kind: str, secret: str, before: str, after: str) -> None:
    """Whatever looks like a key or a bearer token does not reach a log."""
    text = redact(f"{before}{kind}{secret}{after}")
    assert secret not in text
    assert text.startswith(before)
    assert text.endswith(f"***{after}")


@pytest.mark.parametrize(
    "text", ["risk-assessment of so_reuseport", "task-force", "a bearer of news"]
)
def test_words_are_left(text: str) -> None:
    """Ordinary words are no secrets."""
    assert redact(text) == text


def test_nested_fields_are_masked(tmp_path: Path, quiet_root: None) -> None:
    """Keys are masked within fields too, however deep."""
    path = setup(tmp_path, "a")
    secret = "sn_" + "q" * 43
    deep: object = secret
    for _ in range(10):
        deep = {"in": [deep]}
    logging.getLogger("x").info("m", extra={"fields": {"headers": {"a": [secret]}, "deep": deep}})
    assert "qqqq" not in path.read_text()


@pytest.mark.parametrize("gone", ["file", "folder", "renamed"])
def test_logging_goes_on_where_it_is_looked_for(
    tmp_path: Path, quiet_root: None, gone: str
) -> None:
    """Logs that were removed or moved away under a running process begin anew in their place."""
    (tmp_path / "logs").mkdir()
    path = setup(tmp_path / "logs", "gateway")
    logging.getLogger("x").info("one")
    if gone == "renamed":
        path.rename(path.with_name("old"))
    else:
        path.unlink()
        if gone == "folder":
            path.parent.rmdir()
    logging.getLogger("x").info("two")
    assert "two" in path.read_text() and "one" not in path.read_text()
