"""The home's own history (git) without what is to be forgotten.

Every version of every file is looked at; where something goes, the commits from there on are
written anew with the same authors, times and messages, and what they were before is removed for
good, so that no object of it is left, loose or packed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from stead.core.errors import SteadError
from stead.memory.forget.prove import clean_git, git_environment

Change = Callable[[str, bytes], bytes | None]
"""Path and content of a file in some version; what it is to be then (None: it goes)."""


class HistoryStays(SteadError):
    """The history in {path} still holds what was to be forgotten: {why}"""

    code = "history_stays"


def rewrite(repository: Path, change: Change, message: Callable[[str], str]) -> int:
    """Change what is to be changed in every version; how many versions of files were.

    ``message`` gives the words of a commit back as they are to be. Raises ``HistoryStays``. What
    was begun and not ended is simply done again.
    """
    if shutil.which("git", path=os.defpath) is None:
        raise HistoryStays(path=repository, why="there is no git here that could rewrite it")
    _run(repository, "reflog", "expire", "--expire=now", "--all", check=False)
    changed = _versions(repository, change)
    words = any(message(one) != one for one in messages(repository))
    if changed or words:
        _commits(repository, changed, message)
    sweep(repository)
    return len(changed)


def messages(repository: Path) -> list[str]:
    """The words of all commits."""
    said = _run(repository, "log", "--all", "--format=%B%x00", check=False)
    return [one.strip() for one in said.decode("utf-8", "replace").split("\0") if one.strip()]


def sweep(repository: Path) -> None:
    """Remove every object that no commit refers to."""
    # seen.json tells objects of files that were not committed yet (stead.memory.files.history).
    left = ("ORIG_HEAD", "FETCH_HEAD", "AUTO_MERGE", "COMMIT_EDITMSG", "MERGE_MSG", "seen.json")
    for name in left:
        with contextlib.suppress(OSError):
            (repository / name).unlink()
    if (repository / "index").exists():  # what was staged refers to objects, too
        if _run(repository, "rev-parse", "-q", "--verify", "HEAD", check=False):
            _run(repository, "read-tree", "HEAD")
        else:
            (repository / "index").unlink()
    _run(repository, "reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    shutil.rmtree(repository / "logs", ignore_errors=True)
    _run(repository, "-c", "gc.cruftPacks=false", "gc", "--prune=now", "--quiet")
    _run(repository, "prune", "--expire=now")


def _versions(repository: Path, change: Change) -> dict[str, str]:
    """Object -> the object it becomes (empty: it goes), of those that change."""
    paths: dict[str, str] = {}
    for line in _run(repository, "rev-list", "--objects", "--all").splitlines():
        ident, _, where = line.partition(b" ")
        if where:
            paths.setdefault(ident.decode(), where.decode("utf-8", "surrogateescape"))
    changed: dict[str, str] = {}
    for name, data in _contents(repository, list(paths)):
        new = change(paths[name], data)
        if new is None:
            changed[name] = ""
        elif new != data:
            made = _run(repository, "hash-object", "-w", "--stdin", "--no-filters", given=new)
            changed[name] = made.decode().strip()
    return changed


def _contents(repository: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """The blobs among these objects, one at a time."""
    with _started(repository, "cat-file", "--batch") as git:
        assert git.stdin is not None and git.stdout is not None
        for name in names:
            git.stdin.write(name.encode() + b"\n")
            git.stdin.flush()
            head = git.stdout.readline().split()
            if len(head) < 3:  # missing
                continue
            data = git.stdout.read(int(head[2]))
            git.stdout.read(1)
            if head[1] == b"blob":
                yield name, data
        git.stdin.close()


def _commits(repository: Path, changed: dict[str, str], message: Callable[[str], str]) -> None:
    """Write the commits anew: what git exports of them goes into it again, changed."""
    told = (
        # "done" at its end tells a whole export from one that was cut off.
        "fast-export", "--all", "--no-data", "--use-done-feature", "--signed-tags=strip",
        "--reencode=no",
        "--tag-of-filtered-object=rewrite", "--fake-missing-tagger",
    )  # fmt: skip
    with (
        _started(repository, *told) as source,
        _started(repository, "fast-import", "--force", "--quiet", "--date-format=raw") as target,
    ):
        assert source.stdout is not None and target.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            _filter(source.stdout, target.stdin, changed, message)
            target.stdin.close()
        failed = (source.wait(), target.wait())
    if any(failed):
        raise HistoryStays(path=repository, why="git could not write its commits anew")


def _filter(
    source: IO[bytes], target: IO[bytes], changed: dict[str, str], message: Callable[[str], str]
) -> None:
    while line := source.readline():
        if line.startswith(b"data "):
            data = source.read(int(line[5:]))
            new = message(data.decode("utf-8", "surrogateescape"))
            raw = new.encode("utf-8", "surrogateescape")
            target.write(b"data %d\n" % len(raw) + raw)
            continue
        if line.startswith(b"M "):
            _, mode, name, path = line.rstrip(b"\n").split(b" ", 3)
            new_name = changed.get(name.decode())
            if new_name == "":
                line = b"D " + path + b"\n"
            elif new_name:
                line = b" ".join((b"M", mode, new_name.encode(), path)) + b"\n"
        target.write(line)


def _started(repository: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*clean_git(repository), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=git_environment(),
    )  # fmt: skip


def _run(repository: Path, *arguments: str, given: bytes = b"", check: bool = True) -> bytes:
    done = subprocess.run(
        [*clean_git(repository), *arguments], input=given, capture_output=True,
        env=git_environment(), check=False,
    )  # fmt: skip
    if check and done.returncode:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise HistoryStays(path=repository, why=why[-1] if why else f"git {arguments[0]} failed")
    return done.stdout
