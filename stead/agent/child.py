"""The nursery of the processes in which tools run: ``python -m stead.agent.child``.

Started by :mod:`stead.agent.pool`, it loads the tools once and forks a process for each
connection that it is handed over the socket that is its stdin. It tells there how each of them
ended (``PID STATUS`` a line), ends those it is told to (``k`` and a process id), and ends with that
socket. In a sandbox it is the child of process 1, and sees to it that nothing that a call has
started lives on after it, whatever it did to leave its group. It has no secrets: nothing of its
parent's environment is handed to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection
from types import FrameType

from stead.agent.serve import load, serve
from stead.sandbox import landlock
from stead.sandbox.kernel import adopt_orphans, lowest_priority

_PR_SET_PDEATHSIG = 1
_SESSION_NICE = "15"
"""3% of a processor that another session wants too. At 19 (1%) background work would get nowhere
while a model computes for minutes."""


def main(arguments: list[str]) -> int:
    """``REGISTRY PARENT PRIORITY [WALL]``: ``module:name`` of the tools, the parent's process id,
    ``low`` or ``normal``, and in a sandbox what may be read and written, as JSON: the second wall
    around files that is put up here."""
    registry, parent, priority, *wall = arguments
    _die_with(int(parent))
    boxed = parent == "1"
    if boxed:
        adopt_orphans()
    tools = load(registry)
    if wall:
        landlock.restrict(**json.loads(wall[0]))
    gc.freeze()  # so that what is loaded stays shared
    if priority == "low":  # only now: on a busy machine it would else never come to be
        step_back()
    with socket.socket(fileno=0) as control:
        brood: set[int] = set()
        signal.signal(signal.SIGCHLD, _teller(control, brood, boxed))
        while True:
            word, fds, _, _ = socket.recv_fds(control, 1, 1)
            if not word:
                return 0
            if word == b"k":
                _end(int(control.recv(10, socket.MSG_WAITALL)), brood)
                continue
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
                os.setpgid(0, 0)
                _die_with(os.getppid())
                _no_output()
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # no way back to the parent
                if boxed:
                    adopt_orphans()
                serve(tools, fds[0], end_children if boxed else None)
                os._exit(0)
            brood.add(pid)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            os.close(fds[0])


def _teller(
    control: socket.socket, brood: set[int], boxed: bool
) -> Callable[[int, FrameType | None], None]:
    """Handles the ends of processes: each is told to the parent."""

    def tell(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid in brood:
                    brood.discard(pid)
                    if boxed:
                        end_children(brood)  # what it has left came to us
                    control.send(b"%d %d\n" % (pid, os.waitstatus_to_exitcode(status)))

    return tell


def _end(pid: int, brood: set[int]) -> None:
    if pid in brood:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it may not have come to have a group of its own


def end_children(but: Collection[int] = ()) -> None:
    """Kill the children of this process, and theirs as they come to it (it adopts orphans)."""
    for _ in range(1000):
        found = [pid for pid in _children() if pid not in but]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    own = os.getpid()
    with contextlib.suppress(OSError), open(f"/proc/self/task/{own}/children") as file:
        return [int(word) for word in file.read().split()]
    return []


def step_back() -> None:
    """The lowest priority there is: whoever else wants the processor has it."""
    lowest_priority()
    _step_back_as_session()


def _step_back_as_session() -> None:
    """Where Linux shares the processor out by session first (autogroup), nothing that a process
    says of itself counts against another session: the session has a priority of its own."""
    for _ in range(30):
        try:
            with open("/proc/self/autogroup", "w") as file:
                file.write(_SESSION_NICE)
        except BlockingIOError:  # only so many may change a second, by whomever
            time.sleep(0.1)
        except OSError:
            return  # there are none
        else:
            return


def _die_with(parent: int) -> None:
    """End when the parent ends, and be the first to go when memory runs out."""
    # Where a kernel can do neither, the end of its socket and the limit of CPU time end it.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("900")
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _no_output() -> None:
    """Nothing that a tool prints goes anywhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(null, number)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
