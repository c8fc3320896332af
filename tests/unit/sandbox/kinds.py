"""Every kind of walls that this machine has, for the promises that all of them keep."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tarfile
from asyncio.subprocess import PIPE, STDOUT
from io import BytesIO
from pathlib import Path

import pytest

from stead.sandbox.box import Box, Ended, Walls
from stead.sandbox.walls import walls_here

IMAGE = "localhost/stead-test:1"
APPLETS = ("sh", "cat", "echo", "ls", "id", "sleep", "true", "setsid", "dd", "touch", "grep", "env")


def missing(program: str) -> None:
    """Pass a test over here, and fail it in CI, where everything is installed."""
    if os.environ.get("CI"):
        pytest.fail(f"{program} is not installed, and CI has to have it")
    pytest.skip(f"{program} is not installed")


def walls_of(kind: str, run: Path) -> Walls:
    if kind == "podman":
        if shutil.which("podman") is None:
            missing("podman")
        _image()
    elif shutil.which("bwrap") is None:
        missing("bubblewrap")
    return walls_here(run, kind=kind, image=IMAGE)


def _image() -> None:
    """An image of busybox alone, made here: nothing is fetched."""
    there = ["podman", "image", "exists", IMAGE]
    if subprocess.run(there, check=False, timeout=60).returncode == 0:
        return
    if not Path("/bin/busybox").exists():
        missing("busybox-static")
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for folder in ("bin", "usr", "etc", "proc", "dev", "tmp", "home", "home/sandbox"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        archive.add("/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    words = ["podman", "import", "-", IMAGE]
    done = subprocess.run(
        words, input=packed.getvalue(), capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()


async def run(walls: Walls, box: Box, script: str) -> tuple[Ended, str]:
    """A script of a shell in a sandbox: how it ended, and what it said."""
    boxed = await walls.start(box, ["sh", "-c", script], stdout=PIPE, stderr=STDOUT)
    assert boxed.stdout is not None
    async with asyncio.timeout(120):
        said = await boxed.stdout.read()
        return await boxed.wait(), said.decode("utf-8", "replace")
