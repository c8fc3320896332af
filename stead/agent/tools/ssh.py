"""Commands and small files on machines of the owner, by ssh(1).

The connection lives in a sandbox of its own, which alone sees the key and reaches that machine and
nothing else. It is opened at the first call and kept for a while (ControlMaster). Each call runs in
another sandbox that has neither key nor network: it only talks to the connection's socket.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import shlex
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from stead.agent.named import Peripheral
from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.command import run
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches, Word
from stead.sandbox.box import Bounds, Box, Boxed, Host, Mount
from stead.sandbox.egress_relay import connect_command

SECONDS = 60
MOST_SECONDS = 600
MOST_FILE = 200_000
"""Characters of a file that is put there, and bytes of one that is fetched."""
_OPEN_S = 30.0
_KEPT_S = 300.0
"""How long a connection is kept that nobody uses."""
_LIFE_S = 3600.0
_GRACE_S = 15.0
"""What the way there and back may take beyond the limit that the machine itself keeps."""
_WORKER = "ssh"
"""Connections belong to the worker, not to a job."""

_PUT = """\
set -e; f={file}; if [ -L "$f" ]; then f=$(readlink -f -- "$f"); fi
t=$f.stead.$$; trap 'rm -f -- "$t"' EXIT; umask 077; base64 -d > "$t"
if command -v sha256sum > /dev/null
then [ "$(sha256sum < "$t" | cut -c1-64)" = {digest} ] || {{ echo broken on its way >&2; exit 1; }}
fi
if [ -e "$f" ]; then chmod --reference="$f" -- "$t" 2> /dev/null || chmod 644 -- "$t"
else chmod 644 -- "$t"; fi
sync -- "$t" 2> /dev/null || sync; mv -f -- "$t" "$f"
"""
"""Beside its place first, so that the file is there as a whole or as it was."""


class SshArgs(Args, frozen=True):
    machine: Annotated[str, Meta(description="Its name in the owner's settings")]
    do: Annotated[Literal["run", "get", "put"], Meta(description="run; get or put a text file")] = (
        "run"
    )
    command: Annotated[str, Meta(description="Command line to run there")] = ""
    path: Annotated[str, Meta(description="File there, to get or put")] = ""
    content: Annotated[str, Meta(description="All of the file that is put")] = ""
    stdin: str = ""
    seconds: Annotated[int, Meta(description=f"Limit; 0: {SECONDS}", ge=0, le=MOST_SECONDS)] = 0


def machine_of(args: SshArgs, context: Context) -> Peripheral:
    """Raises ``ToolError`` for a name that is in no setting."""
    known = context.peripherals.get(args.machine)
    if known is None:
        there = (
            ", ".join(context.peripherals) or "none; the owner adds [[peripheral]] to stead.toml"
        )
        raise ToolError(f"there is no machine {args.machine[:60]!r}; there are: {there}")
    return known


def remote_command(args: SshArgs) -> tuple[str, str]:
    """What the machine is to run, and what it is given to read. Raises ``ToolError``."""
    if "\0" in args.command + args.path:
        raise ToolError("a command or path cannot contain a NUL character")
    if args.do == "run":
        if not args.command.strip():
            raise ToolError("the command is empty")
        return args.command, args.stdin
    if not args.path.strip():
        raise ToolError("path is empty; name the file")
    file = shlex.quote(args.path)
    if args.do == "get":
        return f"test -f {file} && head -c {MOST_FILE} -- {file}", ""
    if len(args.content) > MOST_FILE:
        raise ToolError(f"the file is too long to be put; at most {MOST_FILE} characters")
    digest = hashlib.sha256(args.content.encode()).hexdigest()
    put = _PUT.format(file=file, digest=digest)
    return put, base64.b64encode(args.content.encode()).decode()


def limited(command: str, seconds: int) -> str:
    """A command line that the machine itself ends when its time is over (timeout(1)), whatever
    becomes of the connection."""
    line = shlex.quote(command)
    return (
        f"if command -v timeout >/dev/null; then exec timeout -k 5 {seconds} sh -c {line};"
        f" else exec sh -c {line}; fi"
    )


# --- the connection -------------------------------------------------------------------


@dataclass(eq=False)
class Connection:
    """An open way to one machine, in a sandbox of its own."""

    machine: Peripheral
    folder: Path
    boxed: Boxed
    used: float = 0.0
    closing: asyncio.TimerHandle | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    def about(self) -> str:
        return f"{self.machine.name}: {'open' if self.boxed.ended is None else 'closed'}"

    def keep(self) -> None:
        """It is used: keep it for a while longer."""
        if self.closing is not None:
            self.closing.cancel()
        loop = asyncio.get_running_loop()
        self.closing = loop.call_later(_KEPT_S, lambda: asyncio.ensure_future(self.stop()))

    async def stop(self) -> None:
        if self.closing is not None:
            self.closing.cancel()
        await self.boxed.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def options(machine: Peripheral) -> list[str]:
    """Of ssh: nothing is read but what is named here, nobody is asked, and nothing is forwarded."""
    return [
        "-F", "none", "-T", "-a", "-x",
        "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no",
        "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={machine.known_hosts}",
        "-o", "GlobalKnownHostsFile=none", "-o", "UpdateHostKeys=no",
        "-o", "CheckHostIP=no", "-o", f"HostKeyAlias={alias(machine)}",
        "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", str(machine.key),
        "-o", "PreferredAuthentications=publickey", "-o", "PermitLocalCommand=no",
        "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-o", "LogLevel=ERROR",
        "-p", str(machine.port), "-l", machine.user,
    ]  # fmt: skip


def alias(machine: Peripheral) -> str:
    """How the file of host keys names it, as ``ssh-keyscan`` writes it."""
    return machine.host if machine.port == 22 else f"[{machine.host}]:{machine.port}"


def connection_box(machine: Peripheral, folder: Path, context: Context) -> Box:
    """Its key, its host key, its host; nothing of the workspace."""
    return Box(
        name="ssh",
        mounts=(
            Mount(machine.key),
            Mount(machine.known_hosts),
            Mount(folder, write=True),
        ),
        hosts=(Host(machine.host, machine.port, private=True),),
        bounds=Bounds(memory_mb=256, processes=16, cpu_s=0, wall_s=_LIFE_S, disk_mb=16),
        job=context.job,
    )


def call_box(machine: Peripheral, folder: Path, context: Context, seconds: float) -> Box:
    """The socket of the connection, and no network."""
    return Box(
        name="ssh",
        mounts=(Mount(folder, write=True),),
        bounds=Bounds(memory_mb=256, processes=16, wall_s=seconds + 30, disk_mb=16),
        low=context.low,
        job=context.job,
    )


async def connect(machine: Peripheral, context: Context) -> Connection:
    """The open connection to a machine. Raises ``ToolError``."""
    kept = context.background.of(_WORKER).get(machine.name)
    if isinstance(kept, Connection):
        fresh = kept.machine == machine and time.monotonic() - kept.used < _LIFE_S - MOST_SECONDS
        if kept.boxed.ended is None and kept.socket.exists() and fresh:
            kept.keep()
            return kept
        await kept.stop()
    for file in (machine.key, machine.known_hosts):
        if not file.is_file():
            raise ToolError(
                f"the machine {machine.name!r} is not set up: its {file.name} is missing; the owner"
                " puts it there (docs/tools.md)"
            )
    if context.walls is None:
        raise ToolError("there are no sandboxes on this worker, so no machine may be reached")
    folder = Path(tempfile.mkdtemp(prefix="stead-ssh-"))
    boxed: Boxed | None = None
    try:
        proxy = " ".join(map(shlex.quote, connect_command())).replace("%", "%%")
        boxed = await context.walls.start(
            connection_box(machine, folder, context),
            ["ssh", "-M", "-N", "-S", str(folder / "s"), *options(machine),
             "-o", f"ProxyCommand={proxy} %h %p", "-o", "ControlPersist=no", "--", machine.host],
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        made = Connection(machine, folder, boxed, time.monotonic())
        await _opened(made)
    except BaseException:
        if boxed is not None:
            await boxed.kill()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    context.background.keep(_WORKER, machine.name, made)
    made.keep()
    return made


async def _opened(made: Connection) -> None:
    """Wait until its socket is there. Raises ``ToolError`` with what ssh says."""
    until = time.monotonic() + _OPEN_S
    over = asyncio.ensure_future(made.boxed.wait())
    try:
        while not made.socket.exists():
            await asyncio.wait({over}, timeout=0.02)
            if over.done() or time.monotonic() > until:
                break
        else:
            return
    finally:
        over.cancel()
    if made.boxed.ended is None:
        await made.boxed.kill()
        raise ToolError(f"{made.machine.name} did not answer within {_OPEN_S:g} s")
    said = b""
    if made.boxed.stderr is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                said = await made.boxed.stderr.read(2000)
    words = said.decode("utf-8", "replace").strip() or "ssh ended without a word"
    if "Host key verification failed" in words:
        words += (
            ": its host key is not the one in the file of known hosts. If the machine was not set"
            " up anew this may be another one that pretends to be it; only the owner can say"
        )
    raise ToolError(f"{made.machine.name} cannot be reached: {words}")


# --- the tool -------------------------------------------------------------------------


def box(args: SshArgs, context: Context) -> Box:
    """Of the connection, which is what reaches anything."""
    return connection_box(machine_of(args, context), Path(tempfile.gettempdir()), context)


def touches(args: SshArgs, context: Context) -> Touches:
    """That machine, by its name and its host; what it says may be others' words."""
    machine = machine_of(args, context)
    command, _ = remote_command(args)
    return Touches(
        hosts=(machine.host.lower(),),
        credentials=(machine.name,),
        private=True,
        foreign=machine.foreign,
        sends=True,
        commands=(command,) if args.do == "run" else (),
        code=args.do == "run",
    )


def preview(args: SshArgs, context: Context) -> str:
    """What will be run or written, word for word, and where."""
    machine = machine_of(args, context)
    where = f"{machine.name} ({machine.user}@{machine.host})"
    if args.do == "get":
        return f"Read the file {args.path!r} on {where}"
    if args.do == "put":
        return f"Write the file {args.path!r} on {where}:\n{args.content}"
    given = f"\nIts input: {args.stdin}" if args.stdin else ""
    return f"Run this on {where}, outside of any sandbox:\n{args.command}{given}"


async def ssh(args: SshArgs, context: Context) -> str:
    """Output and exit code of the command, the text of the file, or that it was written."""
    machine = machine_of(args, context)
    command, stdin = remote_command(args)
    seconds = args.seconds or SECONDS
    made = await connect(machine, context)
    given = replace(context, until=context.until)
    argv = [
        "ssh", "-S", str(made.socket), "-F", "none", "-T", "-o", "BatchMode=yes",
        "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-o", "LogLevel=ERROR",
        "-l", machine.user, "-p", str(machine.port), "--", machine.host, limited(command, seconds),
    ]  # fmt: skip
    text = await run(
        given, call_box(machine, made.folder, context, seconds + _GRACE_S), argv,
        shown=command[:120], seconds=seconds + _GRACE_S, stdin=stdin,
    )  # fmt: skip
    if "[exit code 255]" in text and made.boxed.ended is not None:
        raise ToolError(f"the connection to {machine.name} broke; it may or may not have been done")
    if "[exit code 124" in text or "exit code 137" in text:
        return f"{text}\n[124 and 137: it was ended by {machine.name} after {seconds} s]"
    if args.do == "put" and text.endswith("exit code 0]"):
        return f"written: {args.path} on {machine.name}"
    return text


SSH = Tool(
    name="ssh",
    about="Run a command, or get or put a small text file, on a machine of the owner's.",
    short="work on another machine",
    args=SshArgs,
    run=ssh,
    effects=Effects.OUTSIDE,
    on_unknown=OnUnknown.ASK,
    permission=Word.ASK,
    time_limit_s=MOST_SECONDS + 120.0,
    output_limit=8000,
    touches=touches,
    preview=preview,
    box=box,
    group="machines",
)
