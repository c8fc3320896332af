"""What a process in a sandbox sees and may use, and what puts it there.

A :class:`Box` is data: made by a tool for one call, the same for every kind of wall (bubblewrap,
podman, sandbox-exec), explained to the owner by ``stead sandbox explain``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the machine, at the same path inside."""

    path: Path
    write: bool = False
    needed: bool = True
    """Without it the call fails; else it is left out where it does not exist."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What all processes of one call may use together. Enforced, or the sandbox says that not."""

    memory_mb: int = 1024
    processes: int = 128
    cpu_s: float = 600.0
    """0: no limit; the caller keeps one for each call."""
    wall_s: float = 60.0
    """0: no limit."""
    file_mb: int = 2048
    """Largest file that can be written."""
    disk_mb: int = 4096
    """All that may be written to disks, together."""
    cpu_share: float = 1.0
    """Weight at the processor against other calls; always below the gateway's."""


@dataclass(frozen=True, slots=True)
class Host:
    """A place in the network that may be reached through the egress proxy."""

    name: str
    """A host name in lower case, ``*.example.com`` for those below it, or ``*`` for any. Only
    public addresses, but for what ``private`` and ``[egress] private`` in stead.toml say."""
    port: int = 0
    """0: 80 and 443."""
    credentials: tuple[str, ...] = ()
    """Names of credentials that the proxy may put into requests to it."""
    private: bool = False
    """It may be at an address of this machine or of a private network. Only for what the owner's
    settings name, never for what a model or a page said: a name can be made to lead anywhere."""


@dataclass(frozen=True, slots=True)
class Box:
    """What one call sees. The default is nothing but the system's programs and libraries, read
    only, an empty ``/tmp`` and home, no network and a clean environment."""

    name: str
    """Of the tool, for logs and for the owner."""
    mounts: tuple[Mount, ...] = ()
    hosts: tuple[Host, ...] = ()
    """Empty: no network at all."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Beside ``PATH``, ``HOME``, ``LANG`` and those of the proxy. Never a secret."""
    cwd: Path | None = None
    """A folder that is mounted; None: the empty home."""
    bounds: Bounds = Bounds()
    low: bool = False
    """Background work: the lowest priority there is."""
    job: str = ""
    """Id of the job it works for, for the log of connections."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the processes of a call came to their end."""

    code: int
    """Exit code, or minus the signal."""
    why: str = ""
    """In words, where a wall or a limit ended it: ``used more than 1024 MB of memory``..."""


@dataclass(frozen=True, slots=True)
class Way:
    """What walls add to a box that has hosts, so that its processes get out, to these alone.

    The box keeps a network of its own with nothing in it but loopback.
    """

    mounts: tuple[Mount, ...]
    env: Mapping[str, str]
    """The variables by which programs find their proxy."""
    prefix: tuple[str, ...]
    """Goes before the command, inside: it opens the way and then becomes the command (``exec``; all
    descriptors stay as they were). When it cannot, it ends with code 126 and words on stderr, and
    the command is not run."""


class Egress(Protocol):
    """The one way out of a sandbox: a proxy that knows whom it may reach."""

    def open(self, box: Box) -> AbstractAsyncContextManager[Way]:
        """A way out for one start of one box, shut when its context is left: connections that
        are open then are cut. Raises ``SteadError`` where there can be none."""
        ...


class Boxed(Protocol):
    """A process in a sandbox, and all that it has started."""

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    @property
    def ended(self) -> Ended | None: ...

    async def wait(self) -> Ended:
        """Until its first process has ended; none of those it started lives on then."""
        ...

    async def kill(self) -> Ended:
        """End all of them at once; returns when none is left."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. ``walls``: by name, empty words where it holds, else what got through."""

    ok: bool
    why: str
    """Empty, or in words for the owner what does not hold and what he can do."""
    kind: str = ""
    walls: dict[str, str] = field(default_factory=dict)
    weaker: list[str] = field(default_factory=list)
    """What is missing on this machine though the sandbox holds."""


class Walls(Protocol):
    """Puts processes into sandboxes. Fails closed: what cannot be had is refused, not left out."""

    async def start(
        self,
        box: Box,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Boxed:
        """Start a command; the streams as for ``asyncio.create_subprocess_exec`` (a descriptor,
        ``PIPE``, ``DEVNULL``; None is ``DEVNULL``).

        Raises ``NoSandbox`` where there is none that holds, ``SteadError`` for a box that cannot
        be made (a folder that is missing) and ``OSError`` when no process can be started.
        """
        ...

    @property
    def works(self) -> bool:
        """Whether a sandbox can be had at all, as tested at the start."""
        ...

    async def tested(self) -> Report:
        """What the test at the start has found; waits for it."""
        ...

    async def aclose(self) -> None:
        """End all that is in them."""
        ...
