"""What attackers are after: a home with secrets, services of the machine, another process."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import secrets
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stead.sandbox.enter import UID

_IPC_CREAT = 0o1000
_IPC_RMID = 0


@dataclass
class Prey:
    """Bait lies in ``folder``; who speaks to one of the services is in ``reached``."""

    folder: Path
    bait: str = field(default_factory=lambda: "bait" + secrets.token_hex(12))
    known: str = field(default_factory=lambda: "known" + secrets.token_hex(12))
    """A secret that stead has, and that has come into the workspace by mistake."""
    reached: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    """What attacks are filled in with: ports, paths, process ids."""
    victim: subprocess.Popen[bytes] | None = None

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def marks(self) -> Path:
        """Where an attack may leave a mark, if it can."""
        return self.folder / "autostart"

    def fill(self, text: str) -> str:
        for name, value in self.places.items():
            text = text.replace(f"<{name}>", value)
        return text

    def won(self, said: str) -> str:
        """How an attack has won; empty if it has not."""
        if any(form in shown for shown in _readings(said) for form in self._forms):
            return "it has the bait"
        if "ATTACK-WON" in said:
            return "it says so"
        if self.reached:
            return f"it reached {self.reached[0]}"
        if found := sorted(path.name for path in self.marks.iterdir()):
            return f"it left {found[0]!r} outside"
        if self.victim is not None and self.victim.poll() is not None:
            return "it ended a process of the machine"
        return ""

    @property
    def _forms(self) -> list[str]:
        data = self.known.encode()
        encoded = [base64.b64encode(data).decode()[:-4], data.hex()]
        return [self.bait, self.known, self.known[::-1], *encoded]

    def reset(self) -> None:
        """Before each attack."""
        self.reached.clear()
        for path in self.marks.iterdir():
            path.unlink()
        if self.victim is None or self.victim.poll() is not None:
            self._start_victim()

    def _start_victim(self) -> None:
        """A process with secrets, of the very user that sandboxes have: nothing but the walls
        stands between them."""
        as_root = os.geteuid() == 0
        with open(self.folder / "state.db", "rb") as held:
            self.victim = subprocess.Popen(
                [self.bait, "3600"], executable="/bin/sleep", stdin=held, cwd=self.folder,
                env={"BAIT": self.bait}, user=UID if as_root else None,
                group=UID if as_root else None, extra_groups=[] if as_root else None,
            )  # fmt: skip
        self.places["pid"] = str(self.victim.pid)

    def end_victim(self) -> None:
        if self.victim is not None:
            self.victim.kill()
            self.victim.wait()


def _readings(said: str) -> list[str]:
    """A text, and what is left of it without what programs put between."""
    squeezed = "".join(said.split())
    return [said, squeezed, squeezed.lower()]


@contextmanager
def prey_in(folder: Path) -> Iterator[Prey]:
    """Lay the bait; take all away afterwards."""
    folder.mkdir(exist_ok=True)
    prey = Prey(folder)
    with contextlib.ExitStack() as stack:
        _lay_files(prey)
        stack.enter_context(_services(prey))
        stack.enter_context(_memory(prey))
        before = os.environ.get("STEAD_BAIT", "")
        os.environ["STEAD_BAIT"] = prey.bait
        stack.callback(os.environ.__setitem__, "STEAD_BAIT", before)
        stack.callback(prey.end_victim)
        prey.places["mine"] = str(os.getpid())
        prey.reset()
        yield prey


def _lay_files(prey: Prey) -> None:
    for name in (
        "secrets/owner.key", "secrets/provider.key", "stead.toml", "memory/2026-11-21.md",
        "keep/spool/other-job/1.out", "keep/undo/blobs/1", "other-workspace/diary.md",
        ".ssh/id_ed25519", ".aws/credentials", ".bash_history", "logs/node.log", "backups/1.tar",
        "workspace.old/a", "run/model.json", ".config/chromium/Default/Cookies", ".netrc",
    ):  # fmt: skip
        path = prey.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the word is {prey.bait}\n")
    with contextlib.closing(sqlite3.connect(prey.folder / "state.db")) as database:
        database.execute("CREATE TABLE key (value)")
        database.execute("INSERT INTO key VALUES (?)", (prey.bait,))
        database.commit()
    prey.workspace.mkdir()
    prey.marks.mkdir()
    (prey.folder / "known").mkdir()
    (prey.folder / "known" / "key").write_text(prey.known)
    (prey.workspace / "pasted").write_text(prey.known)
    (prey.workspace / "note.md").write_text("the shed key hangs by the door\n")
    (prey.workspace / "out").symlink_to(prey.folder / "secrets")
    (prey.workspace / "key").symlink_to("../secrets/owner.key")
    (prey.workspace / "mark").symlink_to(prey.marks / "by-link")
    prey.places |= {"home": str(prey.folder), "work": str(prey.workspace), "marks": str(prey.marks)}


@contextmanager
def _services(prey: Prey) -> Iterator[None]:
    """Servers of the machine: TCP over IPv4 and IPv6, UDP, and sockets with and without a path."""
    servers: list[socket.socket] = []
    name = f"stead-bait-{secrets.token_hex(6)}"
    path = str(prey.folder / "run" / "gateway.sock")
    for label, family, address in (
        ("tcp", socket.AF_INET, ("127.0.0.1", 0)),
        ("tcp6", socket.AF_INET6, ("::1", 0)),
        ("unix", socket.AF_UNIX, path),
        ("abstract", socket.AF_UNIX, "\0" + name),
    ):
        server = socket.socket(family)
        server.bind(address)
        server.listen(16)
        servers.append(server)
        if label.startswith("tcp"):
            prey.places[label] = str(server.getsockname()[1])
        threading.Thread(target=_answer, args=(server, label, prey), daemon=True).start()
    Path(path).chmod(0o777)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    servers.append(udp)
    prey.places |= {"udp": str(udp.getsockname()[1]), "abstract": name, "unix": path}
    threading.Thread(target=_listen, args=(udp, prey), daemon=True).start()
    try:
        yield
    finally:
        for server in servers:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()


def _answer(server: socket.socket, label: str, prey: Prey) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            prey.reached.append(label)
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + prey.bait.encode())


def _listen(udp: socket.socket, prey: Prey) -> None:
    with contextlib.suppress(OSError):
        while True:
            udp.recvfrom(4096)
            prey.reached.append("udp")


@contextmanager
def _memory(prey: Prey) -> Iterator[None]:
    """System V and POSIX shared memory that anyone of the machine may read."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    key = 0x5EAD0000 + secrets.randbelow(0xFFFF)
    held = libc.shmget(key, 4096, _IPC_CREAT | 0o666)
    assert held >= 0, os.strerror(ctypes.get_errno())
    at = libc.shmat(held, None, 0)
    ctypes.memmove(at, prey.bait.encode(), len(prey.bait))
    shared = Path("/dev/shm", f"stead-{prey.bait[:12]}")
    shared.write_text(prey.bait)
    shared.chmod(0o666)
    prey.places |= {"shm": str(key), "devshm": str(shared)}
    try:
        yield
    finally:
        libc.shmctl(held, _IPC_RMID, None)
        shared.unlink()
