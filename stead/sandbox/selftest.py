"""Whether the walls hold, found out by trying, once a boot and version."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from stead import __version__
from stead.core.files import write_atomic
from stead.sandbox import landlock
from stead.sandbox.box import Bounds, Box, Boxed, Mount, Report
from stead.sandbox.errors import BadBox, NoSandbox
from stead.sandbox.view import interpreter

_FILE = "sandbox-test.json"
_SMALL = Bounds(memory_mb=256, processes=24, cpu_s=30, wall_s=50, file_mb=1)
_LONG_S = 60.0


Start = Callable[..., Awaitable[Boxed]]


def kept(run: Path, key: str) -> Report | None:
    """What an earlier test has found, if nothing has changed since. Only good news are kept."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        held = json.loads((run / _FILE).read_text("utf-8"))
        if held["key"] == key and held["report"]["ok"]:
            return Report(**held["report"])
    return None


def keep(run: Path, key: str, report: Report) -> None:
    held = {"key": key, "report": {name: getattr(report, name) for name in Report.__slots__}}
    with contextlib.suppress(OSError):
        write_atomic(run / _FILE, json.dumps(held, indent=1).encode())


def key_of(*parts: object) -> str:
    """What a result holds for: this boot, this program, this user, and what the walls are of."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    systemd = os.path.isdir("/run/systemd/system")
    found = (boot, os.uname().release, __version__, os.getuid(), systemd, *parts)
    return " ".join(map(str, found))


async def test(start: Start, kind: str, run: Path, limits: Callable[[], set[str]]) -> Report:
    """Try all walls. ``limits``: what is limited by groups, known after a start."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-test.", dir=run))
    try:
        async with asyncio.timeout(_LONG_S):
            walls = await _tries(start, folder)
            walls["memory"] = await _memory(start)
            walls["end"] = await _end(start)
    except (BadBox, NoSandbox, OSError, TimeoutError) as problem:
        return Report(False, _advice(str(problem) or "it took too long"), kind)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    broken = [f"{name}: {what}" for name, what in walls.items() if what]
    weaker = _weaker(limits())
    if broken:
        return Report(False, f"a wall did not hold ({'; '.join(broken)})", kind, walls, weaker)
    return Report(True, "", kind, walls, weaker)


async def test_plain(start: Start, kind: str, run: Path) -> Report:
    """The same for walls that another program makes, in the words of a shell: an image may hold no
    Python, and its own."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-test.", dir=run))
    granted, canary = folder / "granted", folder / "canary"
    granted.mkdir()
    canary.write_text("nobody-in-a-sandbox-reads-this")
    script = (
        'cat "$1"; echo x > "$2/made" || echo cannot-write;'
        " echo x > /usr/stead-probe && echo wrote;"
        " cat /proc/net/dev; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; echo end"
    )
    box = Box("self-test", (Mount(granted, write=True),), bounds=_SMALL)
    try:
        async with asyncio.timeout(_LONG_S):
            said = await _said(start, box, ["sh", "-c", script, "sh", str(canary), str(granted)])
        walls = _read_plain(said)
    except (BadBox, NoSandbox, OSError, TimeoutError) as problem:
        return Report(False, _advice(str(problem) or "it took too long"), kind)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    broken = [f"{name}: {what}" for name, what in walls.items() if what]
    weaker = [f"{kind} keeps fewer limits than bubblewrap (docs/sandboxes.md)"]
    if broken:
        return Report(False, f"a wall did not hold ({'; '.join(broken)})", kind, walls, weaker)
    return Report(True, "", kind, walls, weaker)


def _read_plain(said: str) -> dict[str, str]:
    lines = [line.strip() for line in said.splitlines()]
    if "end" not in lines:
        raise BadBox(why=f"what tries it did not run: {said[-300:].strip()}")
    devices = [line.split(":")[0] for line in lines if ":" in line and line.count(" ") > 8]
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    files = "what lies outside can be read" if "nobody-in-a-sandbox-reads-this" in said else ""
    if "cannot-write" in lines:
        files = "what was granted cannot be written"
    if "wrote" in lines:
        files = "programs of the machine can be written"
    found = {"files": files, "network": "" if set(devices) <= {"lo"} else "there are devices"}
    if status:
        found["rights"] = "it has capabilities" if int(status.get("CapEff", "0"), 16) else ""
        if status.get("NoNewPrivs") != "1" or status.get("Seccomp") != "2":
            found["system calls"] = "no filter of system calls is at work"
    return found


def _weaker(limits: set[str]) -> list[str]:
    found = []
    if not landlock.version():
        found.append("this kernel has no Landlock, the second wall around files")
    if missing := sorted({"memory", "processes", "cpu"} - limits):
        found.append(
            f"there are no control groups for {', '.join(missing)} here: it is watched instead"
        )
    return found


async def _tries(start: Start, folder: Path) -> dict[str, str]:
    granted = folder / "granted"
    granted.mkdir()
    canary = folder / "canary"
    canary.write_text("nobody in a sandbox reads this")
    name = f"stead-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0" + name)
        local.listen()
        box = Box(
            "self-test",
            (*interpreter(), Mount(granted, write=True)),
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            bounds=_SMALL,
        )
        words = [
            sys.executable, "-m", "stead.sandbox.probe", str(canary), str(granted),
            str(server.getsockname()[1]), name, os.readlink("/proc/self/ns/pid"),
            str(_SMALL.processes),
        ]  # fmt: skip
        said = await _said(start, box, words)
    try:
        found: dict[str, str] = json.loads(said.splitlines()[0])
    except (IndexError, ValueError):
        raise BadBox(why=f"what tries it did not run: {said[-300:].strip()}") from None
    made = granted / "made"
    if not made.exists():
        found["owner"] = "nothing can be made in what was granted"
    elif made.stat().st_uid != granted.stat().st_uid:
        found["owner"] = "what is made inside does not belong to the owner of the folder"
    return found


async def _memory(start: Start) -> str:
    """Takes three times what it may; a kernel that only accepts the limit lets it."""
    script = "x = bytearray(b'1') * (192 << 20); import time; time.sleep(20); print('had it')"
    box = Box("self-test", interpreter(), bounds=replace(_SMALL, memory_mb=64))
    said = await _said(start, box, [sys.executable, "-I", "-S", "-c", script])
    return "it can take more memory than it may" if "had it" in said else ""


async def _end(start: Start) -> str:
    """A process in a session of its own that keeps a pipe open: the pipe closes with the call."""
    read, write = os.pipe()
    try:
        try:
            box = Box("self-test", bounds=_SMALL)
            boxed = await start(box, ["sh", "-c", "setsid sleep 30 & exit 0"], stdout=write)
        finally:
            os.close(write)
        await boxed.wait()
        os.set_blocking(read, False)
        try:
            return "" if os.read(read, 1) == b"" else "it said something"
        except BlockingIOError:
            return "something lives on after its end"
    finally:
        os.close(read)


async def _said(start: Start, box: Box, words: list[str]) -> str:
    boxed = await start(box, words, stdout=PIPE, stderr=asyncio.subprocess.STDOUT)
    assert boxed.stdout is not None
    said = (await boxed.stdout.read()).decode("utf-8", "replace")
    ended = await boxed.wait()
    return said + (f" (it {ended.why})" if ended.why else "")


def _advice(problem: str) -> str:
    """What the owner can do about it."""
    words = f"no sandbox could be made ({problem})"
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    with contextlib.suppress(OSError):
        if restricted.read_text().strip() == "1":
            return (
                f"{words}. AppArmor forbids it on this machine: as root, put a profile with"
                " `userns,` for bwrap into /etc/apparmor.d/bwrap (docs/sandboxes.md has it) and"
                " run `apparmor_parser -r /etc/apparmor.d/bwrap`"
            )
    for name, value in (
        ("kernel/unprivileged_userns_clone", "1"),
        ("user/max_user_namespaces", ""),
    ):
        path = Path("/proc/sys", name)
        with contextlib.suppress(OSError):
            if path.read_text().strip() == "0":
                key = name.replace("/", ".")
                return f"{words}. Allow it, as root: `sysctl -w {key}={value}`"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return f"{words}. In a container it needs user namespaces (docs/sandboxes.md)"
    return words
