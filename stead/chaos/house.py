"""The homes and processes of a run: made, started, watched, ended.

Each process has a group of its own and its home by name; nothing of the owner's
settings reaches them. A process that falls is started again, as a supervisor
would, and noted: by a fault of ours it was meant to, by itself it was not.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stead.chaos.door import AWAY, Door
from stead.chaos.kinds import GATEWAY, MODEL, NODE
from stead.chaos.lines import MARK
from stead.config import child_environment, home_dir
from stead.core.errors import HomeUnusable, SteadError
from stead.core.keys import ensure_key

_GATEWAY_TOML = """\
# Made by `stead chaos`; short leases and much patience, so that much can happen in little time.
listen = "127.0.0.1:{port}"
offline = true
[gateway]
light_slots = 4
[queue]
lease_s = {lease}
max_tries = 100000
max_crashes = 100000
backoff_s = 0.1
backoff_max_s = 1.0
[limits]
wall_s = 86400
usd = 1000
[budget]
daily_usd = 1000000
[model]
main = "scripted"
light = "scripted"
local = "off"
[[backend]]
name = "chaos"
url = "http://127.0.0.1:{model}/v1"
timeout_s = 4
models = [{{ name = "scripted", usd_per_mtok_in = 1.0, usd_per_mtok_out = 2.0 }}]
[[channel]]
kind = "webhook"
name = "sure"
url = "http://127.0.0.1:{receiver}/replies"
dedupes = true
timeout_s = 1.5
tries = 1000
[[channel]]
kind = "webhook"
name = "plain"
url = "http://127.0.0.1:{receiver}/replies"
ambiguous = "leave"
timeout_s = 1.5
tries = 1000
[log]
max_mb = 200
"""
_NODE_TOML = """\
offline = true
[node]
name = "{name}"
gateway = "http://{host}:{port}"
slots = 6
chat_slots = 1
"""


class Broken(SteadError):
    """The house of the run could not be set up: {why}"""

    code = "chaos_house"


@dataclass
class Part:
    """One process. ``wanted``: it shall run (a killed one is started again once it is)."""

    name: str
    home: Path
    command: list[str]
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = False
    starts: int = 0
    fell: list[int] = field(default_factory=list)
    """Exit codes of its falls that no fault of ours brought about."""
    next_start: float = 0.0


class House:
    """The processes of a run in ``folder``; use it as a context manager.

    Raises ``HomeUnusable`` when the folder is not empty, or is the owner's own home.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int,
        environment: Mapping[str, str] | None = None,
        lease_s: float = 2.0,
    ) -> None:
        self.folder = _claimed(folder)
        self.homes = {GATEWAY: folder / "gateway"}
        self.homes |= {f"{NODE}{n}": folder / f"{NODE}{n}" for n in range(1, nodes + 1)}
        self.effects = folder / "effects.jsonl"
        self.parts: dict[str, Part] = {}
        self._environment = dict(environment or {})
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self.port, self.model_port, self.receiver_port = free_ports(3)
        for home in self.homes.values():
            for place in (home, home / "secrets", home / "run", home / "logs", home / "spool"):
                place.mkdir(mode=0o700, exist_ok=True)
        home = self.homes[GATEWAY]
        text = _GATEWAY_TOML.format(
            port=self.port, model=self.model_port, receiver=self.receiver_port, lease=lease_s
        )
        (home / "stead.toml").write_text(text)
        self.door = Door(self.port, ensure_key(home / "secrets" / "owner.key", "owner"))
        self._add(GATEWAY, home, "gateway")
        self._add(MODEL, folder, "chaos", "model", str(self.model_port))
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def _add(self, name: str, home: Path, *command: str) -> None:
        line = [sys.executable, "-m", "stead", "--home", str(home), *command]
        self.parts[name] = Part(name, home, line)

    def __enter__(self) -> House:
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- setting up --------------------------------------------------------------------

    def open(self, most_s: float = 60.0) -> None:
        """Start model and gateway. Raises ``Broken``."""
        self.start(MODEL)
        self.start(GATEWAY)
        self.until_ready(most_s)

    def add_node(self, name: str, host: str, port: int) -> None:
        """Make the home of a node that reaches the gateway at ``host`` and ``port``."""
        status, made = self.door.call("POST", "/api/v1/nodes", {"name": name})
        if status != 201:
            raise Broken(why=f"the node {name} was not taken: {status} {made}")
        home = self.homes[name]
        (home / "secrets" / "node.key").write_text(made["key"] + "\n")
        (home / "secrets" / "node.key").chmod(0o600)
        (home / "stead.toml").write_text(_NODE_TOML.format(name=name, host=host, port=port))
        (home / MARK).write_text(json.dumps({"effects": str(self.effects)}))
        self._add(name, home, "chaos", "hands")

    def until_ready(self, most_s: float) -> None:
        """Wait until the gateway answers. Raises ``Broken``."""
        until = time.monotonic() + most_s
        while time.monotonic() < until:
            with contextlib.suppress(*AWAY):
                if self.door.call("GET", "/api/v1/status", timeout=2.0)[0] == 200:
                    return
            if len(self.parts[GATEWAY].fell) > 2:
                break  # it says itself why it cannot start
            time.sleep(0.02)
        raise Broken(
            why=f"the gateway did not come up within {most_s:g} s. {self.last_words(GATEWAY)}"
        )

    def last_words(self, name: str) -> str:
        """The end of what a part wrote to its terminal, for an error."""
        path = self.folder / f"{name}.out"
        text = path.read_text("utf-8", "replace").strip() if path.exists() else ""
        return text[-600:]

    # --- processes ---------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a part, if it does not run."""
        with self._lock:
            part = self.parts[name]
            part.wanted = True
            if self._closing.is_set() or (part.process and part.process.poll() is None):
                return
            environment = child_environment({
                **self._environment, **part.extra, "STEAD_HOME": str(part.home),
            })  # fmt: skip
            with (self.folder / f"{name}.out").open("ab") as out:
                part.process = subprocess.Popen(
                    part.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                    env=environment, start_new_session=True,
                )  # fmt: skip
            part.starts += 1

    def send(self, name: str, number: signal.Signals) -> None:
        """A signal to a part's whole group; nothing if it does not run."""
        with self._lock:
            process = self.parts[name].process
            if process is not None and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

    def end(self, name: str, number: signal.Signals, most_s: float = 15.0) -> bool:
        """Take a part down and leave it down; whether it went by this signal alone."""
        with self._lock:
            part = self.parts[name]
            part.wanted = False
            process = part.process
        if process is None:
            return True
        self.send(name, number)
        try:
            process.wait(most_s)
            return True
        except subprocess.TimeoutExpired:
            self.send(name, signal.SIGKILL)
            process.wait(10)
            return False

    def close(self) -> None:
        """End everything that still runs."""
        self._closing.set()
        for name in self.parts:
            self.send(name, signal.SIGCONT)
            self.send(name, signal.SIGKILL)
        for part in self.parts.values():
            if part.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    part.process.wait(10)
        if self._watcher.is_alive():
            self._watcher.join(5)

    def _watch(self) -> None:
        """Start again what fell by itself, a little later each time that it falls at once."""
        while not self._closing.wait(0.02):
            for name, part in list(self.parts.items()):
                with self._lock:
                    if not part.wanted or part.process is None or part.process.poll() is None:
                        continue
                    now = time.monotonic()
                    if not part.next_start:
                        part.fell.append(part.process.returncode)
                        part.next_start = now + 0.1
                    if now >= part.next_start:
                        part.next_start = 0.0
                        self.start(name)


def _claimed(folder: Path) -> Path:
    own = home_dir()
    if folder.resolve() == own.resolve() or own.resolve() in folder.resolve().parents:
        raise HomeUnusable(
            f"{folder} is in your own home directory of stead ({own}), which a chaos run never"
            " touches. Name another folder, or none."
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise HomeUnusable(
                f"{folder} is not empty. A chaos run makes homes of its own: name a new folder."
            )
    except OSError as error:
        raise HomeUnusable(path=folder, why=error.strerror or str(error)) from error
    return folder


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, below those that the system gives to outgoing connections: one of
    these could take a port while its owner is being started again."""
    dice = random.SystemRandom()
    found: list[int] = []
    while len(found) < count:
        port = dice.randrange(15_000, 31_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found
