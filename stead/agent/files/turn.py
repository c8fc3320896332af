"""One path from one state into another by one rename, and back."""

from __future__ import annotations

import contextlib
import os

from stead.agent.files import kernel
from stead.agent.files.blobs import Blobs, write_all
from stead.agent.files.book import Op
from stead.agent.files.names import given
from stead.agent.files.tree import OURS, Refused, State, Tree, place, state_of

_TRIES = 1000


def happened(tree: Tree, op: Op) -> bool:
    try:
        if op.to:
            info = tree.look(place(op.to))
            return info is not None and info.st_ino == op.ino
        parts = place(op.path)
        now = tree.state(parts)
        beside = tree.state((*parts[:-1], op.temp)) if op.temp else None
    except (Refused, OSError):
        return False
    if beside is not None and (op.before is None or not op.before.same(beside)):
        return False  # what lies there is the new, or an edit of someone else's that came out
    if now is None or op.after is None:
        return now is None and op.after is None
    if now.kind == "folder":
        return op.after.kind == "folder"
    return op.after.same(now)


def take_back(tree: Tree, blobs: Blobs, op: Op) -> None:
    """Undo one step if it happened; never touch what others put there since.

    Nothing is raised: what cannot be taken back now stays as it is, and what was there before
    stays under the name ``op.temp`` or in its copy.
    """
    parts = place(op.path)
    with contextlib.suppress(OSError, Refused):
        if op.to:
            if happened(tree, op) and tree.look(parts) is None:
                to = place(op.to)
                with tree.folder(parts[:-1]) as above, tree.folder(to[:-1]) as new:
                    kernel.rename_new(new, to[-1], above, parts[-1])
            return
        with tree.folder(parts[:-1]) as above:
            name = parts[-1]
            if not of_folder(op):
                _take_file_back(above, name, op, blobs)
            elif op.before is None:
                os.rmdir(name, dir_fd=above)
            elif _missing(above, name):
                kernel.rename_new(above, op.temp, above, name)


def _take_file_back(above: int, name: str, op: Op, blobs: Blobs) -> None:
    now, beside = _peek(above, name), _peek(above, op.temp)
    if op.after is None:
        if beside is not None and _missing(above, name):
            kernel.rename_new(above, op.temp, above, name)
    elif op.before is None:
        if not _missing(above, op.temp):  # it never came to that
            drop(above, op.temp)
        elif op.after.same(now):
            os.unlink(name, dir_fd=above)
    elif not op.after.same(now) or op.after.same(beside):
        drop(above, op.temp)
    elif _missing(above, op.temp):  # replaced where files cannot be swapped
        _restore(above, name, op, blobs)
    elif _swap_back(above, name, op):
        drop(above, op.temp)
    else:
        os.rename(op.temp, name, src_dir_fd=above, dst_dir_fd=above)


def _restore(above: int, name: str, op: Op, blobs: Blobs) -> None:
    before = op.before
    assert before is not None
    if before.kind == "link":
        os.symlink(given(before.target), op.temp, dir_fd=above)
    else:
        fd = os.open(op.temp, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=above)
        try:
            for block in blobs.blocks(before.sha):
                write_all(fd, block)
            dress(fd, before.mode, above, name)
            os.fsync(fd)
        finally:
            os.close(fd)
    os.rename(op.temp, name, src_dir_fd=above, dst_dir_fd=above)


def turn_folder(above: int, name: str, op: Op) -> None:
    try:
        if op.after is None:  # what was taken out of it may still lie in it, to be taken back
            kernel.rename_new(above, name, above, op.temp)
            if not _only_ours(above, op.temp):
                kernel.rename_new(above, op.temp, above, name)
                raise Refused(f"{op.path} is not empty any more; nothing was done")
            return
        os.mkdir(name, op.after.mode or 0o777, dir_fd=above)
    except (FileExistsError, FileNotFoundError) as problem:
        raise changed(op) from problem
    _set_mode(above, name, op.after.mode)


def _only_ours(above: int, name: str) -> bool:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=above)
    try:
        return all(entry.startswith(OURS) for entry in os.listdir(fd))
    finally:
        os.close(fd)


def turn_file(above: int, name: str, op: Op) -> None:
    """From ``before`` to ``after`` by one rename, and a look at what came out."""
    try:
        if op.before is None:
            kernel.rename_new(above, op.temp, above, name)
            return
        if op.after is None:
            kernel.rename_new(above, name, above, op.temp)
        elif not kernel.swap(above, op.temp, name):
            if not op.before.same(_peek(above, name)):
                raise changed(op)
            os.rename(op.temp, name, src_dir_fd=above, dst_dir_fd=above)
            return
    except (FileExistsError, FileNotFoundError) as problem:
        raise changed(op) from problem
    if op.before.same(_peek(above, op.temp)):
        return
    if op.after is None:
        kernel.rename_new(above, op.temp, above, name)
    else:
        _swap_back(above, name, op)
    raise changed(op)


def _swap_back(above: int, name: str, op: Op) -> bool:
    """Put what came out back. If meanwhile somebody saved the file anew, that comes out now, and
    is put back in turn, until what comes out is what was put there last."""
    placed = op.after
    for _ in range(_TRIES):
        held = _peek(above, op.temp)
        if not kernel.swap(above, op.temp, name):
            return False
        if placed is None or placed.same(_peek(above, op.temp)):
            return True
        placed = held
    return True


def dress(fd: int, mode: int, above: int, name: str) -> None:
    """Mode and owner as they shall be; never a set-user-id bit for what a model wrote.

    The owner is that of the file which is replaced, else that of the folder. It is never told by
    the journal: in a sandbox the same owner has another number.
    """
    if mode:
        os.fchmod(fd, mode & 0o777)
    try:
        like = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        like = os.fstat(above)
    info = os.fstat(fd)
    if (info.st_uid, info.st_gid) != (like.st_uid, like.st_gid):
        with contextlib.suppress(OSError):  # only root may give files away
            os.fchown(fd, like.st_uid, like.st_gid)


def _set_mode(above: int, name: str, mode: int) -> None:
    if mode:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=above)
        try:
            os.fchmod(fd, mode & 0o7777)
        finally:
            os.close(fd)


def _peek(above: int, name: str) -> State | None:
    """What is there; None for nothing, or what is neither file, folder nor link."""
    try:
        return state_of(above, name)
    except (FileNotFoundError, Refused):
        return None


def _missing(above: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return False


def same_place(one: int, name: str, other: int, new: str) -> bool:
    """Whether two names in one folder are one file's, as where capitals do not count."""
    if not os.path.samestat(os.fstat(one), os.fstat(other)) or name.casefold() != new.casefold():
        return False
    try:
        there = os.stat(new, dir_fd=other, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.stat(name, dir_fd=one, follow_symlinks=False)
    return os.path.samestat(here, there) and here.st_nlink == 1


def drop(above: int, name: str) -> None:
    """Remove what is ours: a file, or a folder and what of ours is in it."""
    try:
        os.unlink(name, dir_fd=above)
    except FileNotFoundError:
        return
    except OSError:  # Linux says EISDIR, macOS EPERM
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=above)
        try:
            for entry in os.listdir(fd):
                if entry.startswith(OURS):
                    drop(fd, entry)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=above)


def of_folder(op: Op) -> bool:
    return any(state is not None and state.kind == "folder" for state in (op.before, op.after))


def changed(op: Op) -> Refused:
    return Refused(
        f"{op.path} was changed by someone else meanwhile; nothing was done. Read it again"
    )
