"""The process that starts sandboxes and watches over them: ``python -m stead.sandbox.keeper``.

Started by :mod:`stead.sandbox.keeping`. It is small, so that a fork is cheap, and it is not the
node, so that a node that hangs stops no limit from being kept. For each message on the socket that
is its stdin it forks a process that enters a sandbox; it tells on that sandbox's own socket how
that went (a JSON line each) and kills it when told to, when that socket is closed, and at its
limits. When its stdin ends, or it does, so does everything in the sandboxes.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from stead.sandbox import kernel
from stead.sandbox.cgroups import Group, Groups, groups_here
from stead.sandbox.enter import UID, Ids, enter, owners
from stead.sandbox.watch import Use, uses

_TICK_S = 0.2
_LOOK_S = 0.5
_SPARE = 64 * 1024 * 1024
"""Bytes of a disk that sandboxes leave to the rest of the machine."""


@dataclass(eq=False)
class Running:
    """A sandbox."""

    asked: dict[str, Any]
    pid: int
    """Of bubblewrap."""
    reply: socket.socket
    info: int
    block: int
    group: Group
    born: float = field(default_factory=time.monotonic)
    told: bytes = b""
    first: int = 0
    """The process id of process 1 inside."""
    first_fd: int = -1
    status: int | None = None
    why: str = ""
    killed: bool = False
    crowded: bool = False
    """It was seen with as many processes as it may have."""

    @property
    def limits(self) -> dict[str, float]:
        limits: dict[str, float] = self.asked["limits"]
        return limits


class Keeper:
    """The loop. One thread, no waiting but in one place."""

    def __init__(self, control: socket.socket, groups: Groups) -> None:
        self._control = control
        self._groups = groups
        self._ids = Ids()
        self._running: dict[int, Running] = {}
        self._old: list[Group] = []
        self._count = 0
        self._looked = 0.0
        self._selector = selectors.DefaultSelector()
        self._woken, wake = socket.socketpair()
        self._woken.setblocking(False)
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(control, selectors.EVENT_READ, self._on_control)
        self._selector.register(self._woken, selectors.EVENT_READ, self._on_child)
        self._open = True

    def run(self) -> None:
        while self._open:
            busy = self._running or self._old
            for key, _ in self._selector.select(_TICK_S if busy else None):
                key.data()
            self._tick()
        for running in list(self._running.values()):
            self._kill(running)
        for running in list(self._running.values()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(running.pid, 0)
            if running.first_fd >= 0:
                self._wait_gone(running)
            running.group.remove()
        for group in self._old:
            group.remove()
        self._groups.close()

    # --- starting ---------------------------------------------------------------------

    def _on_control(self) -> None:
        try:
            word, ancillary, _, _ = self._control.recvmsg(1, socket.CMSG_SPACE(4 * 253))
        except OSError:
            word, ancillary = b"", []
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if not word:
            self._open = False
            return
        for fd in fds:  # as they come they would be handed on to the next sandbox as well
            os.set_inheritable(fd, False)
        with open(fds[0], "rb") as file:
            file.seek(0)
            asked = json.load(file)
        reply = socket.socket(fileno=fds[1])
        try:
            self._start(asked, reply, list(fds[2:]))
        except OSError as problem:
            _say(reply, failed=_words(problem))
            reply.close()
        finally:
            for fd in fds[2:]:
                os.close(fd)

    def _start(self, asked: dict[str, Any], reply: socket.socket, fds: list[int]) -> None:
        limits = asked["limits"]
        self._count += 1
        if os.geteuid() == 0:
            owners(asked["mounts"], self._ids)
        group = self._groups.make(
            str(self._count), int(limits["memory_mb"]), int(limits["processes"]),
            limits["share"], bool(limits["low"]),
        )  # fmt: skip
        info, tell = os.pipe()
        held, block = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                group.join()
                if "memory" not in self._groups.limits:
                    _limit_memory(limits["memory_mb"])
                enter(asked, fds, tell, held, self._ids)
            except BaseException as problem:  # noqa: BLE001 - there is nothing above: say it, end
                _say(reply, failed=_words(problem))
            finally:
                os._exit(125)
        os.close(tell)
        os.close(held)
        running = Running(asked, pid, reply, info, block, group)
        self._running[pid] = running
        reply.setblocking(False)
        self._selector.register(info, selectors.EVENT_READ, lambda: self._on_info(running))
        self._selector.register(reply, selectors.EVENT_READ, lambda: self._on_word(running))

    def _on_info(self, running: Running) -> None:
        """bubblewrap tells who is process 1; all is set up, it waits for us to let it go on."""
        more = os.read(running.info, 4096)
        running.told += more
        if more:
            return
        self._selector.unregister(running.info)
        os.close(running.info)
        running.info = -1
        try:
            running.first = int(json.loads(running.told)["child-pid"])
            running.first_fd = os.pidfd_open(running.first)
            if "processes" not in self._groups.limits:
                _limit_processes(running.first, int(running.limits["processes"]) + 2)
        except (ValueError, KeyError):
            pass  # it fell; its end tells
        except OSError as problem:
            self._kill(running, f"its processes could not be limited: {_words(problem)}")
        else:
            _say(running.reply, started=running.first)
            os.write(running.block, b"x")
        os.close(running.block)
        running.block = -1
        if running.killed:
            self._kill(running)

    # --- ending -----------------------------------------------------------------------

    def _on_word(self, running: Running) -> None:
        """Whatever is said there, or its end, means: enough."""
        with contextlib.suppress(OSError):
            running.reply.recv(64)
        with contextlib.suppress(KeyError):
            self._selector.unregister(running.reply)
        self._kill(running)

    def _kill(self, running: Running, why: str = "") -> None:
        running.killed = True
        running.why = running.why or why
        if running.first_fd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(running.first_fd, signal.SIGKILL)
        if running.status is None:
            with contextlib.suppress(OSError):
                os.kill(running.pid, signal.SIGKILL)

    def _on_child(self) -> None:
        with contextlib.suppress(OSError):
            self._woken.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                running = self._running.get(pid)
                if running is not None:
                    running.status = os.waitstatus_to_exitcode(status)
                    self._on_end(running)

    def _on_end(self, running: Running) -> None:
        """bubblewrap has ended; nothing of its PID namespace may be left when that is told."""
        if running.info >= 0:  # it may have told who is in there before it fell
            with contextlib.suppress(OSError):
                os.set_blocking(running.info, False)
                while running.info >= 0:
                    self._on_info(running)
        if running.first_fd < 0:
            self._finish(running)
            return
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(running.first_fd, signal.SIGKILL)
        self._selector.register(
            running.first_fd, selectors.EVENT_READ, lambda: self._finish(running)
        )

    def _finish(self, running: Running) -> None:
        for fd in (running.first_fd, running.info):
            if fd >= 0:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(fd)
                os.close(fd)
        if running.block >= 0:
            os.close(running.block)
        with contextlib.suppress(KeyError):
            self._selector.unregister(running.reply)
        del self._running[running.pid]
        code = -signal.SIGKILL if running.killed else running.status or 0
        _say(running.reply, code=code, why=running.why or _why(running, code))
        running.reply.close()
        running.group.remove()
        self._old.append(running.group)  # a group may stay busy for a moment longer

    def _wait_gone(self, running: Running) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(running.first_fd, selectors.EVENT_READ)
            selector.select(5.0)

    # --- limits -----------------------------------------------------------------------

    def _tick(self) -> None:
        self._old = [group for group in self._old if not group.remove()]
        now = time.monotonic()
        for running in self._running.values():
            wall = running.limits["wall_s"]
            if wall and now - running.born > wall and not running.killed:
                self._kill(running, f"ran longer than {wall:g} s")
        old = [r for r in self._running.values() if r.first and now - r.born > _LOOK_S]
        if not old or now - self._looked < (_LOOK_S if self._groups.limits else _TICK_S):
            return
        self._looked = now
        found = uses([running.first for running in old])
        for running in old:
            if not running.killed and (why := self._beyond(running, found[running.first])):
                self._kill(running, why)

    def _beyond(self, running: Running, use: Use) -> str:
        limits = running.limits
        running.crowded |= use.processes >= limits["processes"]
        if use.memory > limits["memory_mb"] * 1024 * 1024:
            return _memory_words(limits)
        if limits["cpu_s"] and use.cpu_s > limits["cpu_s"]:
            return f"used more than {limits['cpu_s']:g} s of processor time"
        if use.written > limits["disk_mb"] * 1024 * 1024:
            return f"wrote more than {limits['disk_mb']:g} MB"
        if use.written > _SPARE and any(map(_nearly_full, running.asked["mounts"])):
            return "filled the disk"
        return ""


def _limit_memory(most_mb: float) -> None:
    """Where all of them can only be watched: no single one gets far beyond it meanwhile."""
    most = int((2 * most_mb + 1024) * 1024 * 1024)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _limit_processes(pid: int, most: int) -> None:
    """prlimit(2): root may lack what it takes to do so for another's process (in a container), so
    it is done as that other."""
    try:
        resource.prlimit(pid, resource.RLIMIT_NPROC, (most, most))
        return
    except PermissionError:
        if os.geteuid() != 0:
            raise
    helper = os.fork()
    if helper == 0:
        try:
            os.setresgid(UID, UID, UID)
            os.setresuid(UID, UID, UID)
            resource.prlimit(pid, resource.RLIMIT_NPROC, (most, most))
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(helper, 0)[1]:
        raise PermissionError("prlimit")


def _nearly_full(mount: dict[str, Any]) -> bool:
    if not mount["write"]:
        return False
    with contextlib.suppress(OSError):
        disk = os.statvfs(mount["real"])
        return disk.f_bavail * disk.f_frsize < _SPARE
    return False


def _why(running: Running, code: int) -> str:
    """Which limit the kernel itself has kept."""
    limits = running.limits
    if code == 0:
        return ""
    struck = running.group.struck()
    if struck == "memory":
        return _memory_words(limits)
    if struck == "processes" or running.crowded:
        return f"tried to run more than {limits['processes']:g} processes at once"
    return {
        128 + signal.SIGXFSZ: f"wrote a file larger than {limits['file_mb']:g} MB",
        128 + signal.SIGXCPU: "used up its processor time",
        128 + signal.SIGSYS: "made a call to the kernel that is not allowed in a sandbox",
    }.get(code, "")


def _memory_words(limits: dict[str, float]) -> str:
    return f"used more than {limits['memory_mb']:g} MB of memory"


def _words(problem: BaseException) -> str:
    if isinstance(problem, OSError):
        words = problem.strerror or str(problem) or type(problem).__name__
        return f"{words}: {problem.filename}" if problem.filename else words
    return f"{type(problem).__name__}: {problem}"


def _say(reply: socket.socket, **what: object) -> None:
    with contextlib.suppress(OSError):
        reply.sendall(json.dumps(what).encode() + b"\n")


def main(arguments: list[str]) -> int:
    """``PARENT [delegated]``: the parent's process id; whether this process has a group of
    its own (cgroups(7))."""
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(arguments[0]):
        return 1
    groups = groups_here("delegated" in arguments)
    gc.disable()  # nothing here is in a circle, and a fork is cheaper when no page is touched
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as control:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        control.sendall(json.dumps({"kind": groups.kind, "limits": sorted(groups.limits)}).encode())
        Keeper(control, groups).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
