"""A whole house for a story: real processes in a home of their own, on loopback.

Gateway, node and scripted model are started, killed and started again one by
one, the way an owner's machine would lose them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import psutil

from stead.core.keys import ensure_key

STEADY = """
listen = "127.0.0.1:{port}"
[model]
local = "{model}"
[queue]
lease_s = 2
backoff_s = 0.2
{queue}
[node]
away_after_s = 1.0
name = "hands"
"""


class House:
    """One home, its port and its processes."""

    def __init__(
        self, home: Path, *, model: str = "scripted", queue: str = "", more: str = ""
    ) -> None:
        self.home = home
        self.port = free_port()
        home.mkdir(mode=0o700, exist_ok=True)
        settings = STEADY.format(port=self.port, model=model, queue=queue)
        (home / "stead.toml").write_text(settings + more)
        for place in ("secrets", "run", "logs"):
            (home / place).mkdir(mode=0o700, exist_ok=True)
        self.key = ensure_key(home / "secrets" / "owner.key", "owner")
        ensure_key(home / "secrets" / "node.key", "node")
        self.parts: dict[str, subprocess.Popen[bytes]] = {}

    # --- processes ---------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start parts (``gateway``, ``node``, ``model``) without waiting for them."""
        commands = {
            "gateway": ["gateway"],
            "node": ["node", "run"],
            "model": ["model", "serve"],
            "up": ["up"],
        }
        for name in names:
            self.start_at(name, self.home, *commands[name])

    def start_at(
        self, name: str, home: Path, *command: str, env: dict[str, str] | None = None
    ) -> None:
        """Start any command of `stead` in any home, as the part ``name`` of this house."""
        with (self.home / f"{name}.out").open("ab") as log:
            self.parts[name] = subprocess.Popen(
                [sys.executable, "-m", "stead", "--home", str(home), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=None if env is None else {**os.environ, **env},
            )

    def all_up(self) -> None:
        """Start everything and wait until a node is connected and the model answers."""
        self.start("gateway", "model")
        self.until(self.ready, 20, "the gateway to be ready")
        self.start("node")
        self.until(self.whole, 30, "node and model")

    def whole(self) -> bool:
        """Whether gateway, model and some node are there."""
        try:
            status = self.get("/api/v1/status")
        except OSError:
            return False
        return status["model"]["ready"] and any(node["alive"] for node in status["nodes"])

    def kill(self, name: str) -> None:
        """``kill -9``, and wait until it is gone."""
        process = self.parts.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def stop(self, name: str, most_s: float = 15.0) -> int:
        """SIGTERM, as a service manager does; returns the exit code."""
        process = self.parts.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(most_s)

    def close(self) -> None:
        for name in list(self.parts):
            process = self.parts.pop(name)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)

    def children(self, name: str = "up") -> dict[str, psutil.Process]:
        """The processes that `stead up` has started, by part."""
        found: dict[str, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.parts[name].pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    words = child.cmdline()
                    for part in ("gateway", "node", "model"):
                        if part in words:
                            found[part] = child
        return found

    # --- talking to it -----------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60.0,
    ) -> tuple[int, Any]:
        """One request; the status and the decoded body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
            sent = {"Content-Type": "application/json", **(headers or {})}
            if key != "":
                sent["Authorization"] = f"Bearer {key or self.key}"
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw else None
        finally:
            connection.close()

    def cli(
        self,
        *args: str,
        home: Path | None = None,
        timeout: float = 60.0,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """`stead ...` as the owner types it."""
        return subprocess.run(
            [sys.executable, "-m", "stead", "--home", str(home or self.home), *args],
            capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, env=None if env is None else {**os.environ, **env},
        )  # fmt: skip

    def get(self, path: str) -> Any:
        status, body = self.call("GET", path)
        assert status == 200, (status, body)
        return body

    def ready(self) -> bool:
        try:
            return self.call("GET", "/readyz", key="")[0] == 200
        except OSError:
            return False

    def say(self, text: str, **more: Any) -> str:
        """Send a message; the id of its job. It is on disk when this returns."""
        status, body = self.call("POST", "/api/v1/messages", {"text": text, **more})
        assert status == 202, (status, body)
        return str(body["job_id"])

    def story(self, job_id: str) -> Any:
        return self.get(f"/api/v1/why/{job_id}")

    def ended(self, job_id: str, most_s: float = 30.0) -> Any:
        """Wait for the end of a job; its whole story."""

        def over() -> Any:
            story = self.story(job_id)
            return story if story["job"]["state"] in ("done", "dead", "cancelled") else None

        return self.until(over, most_s, f"job {job_id} to end")

    def calls(self) -> list[dict[str, Any]]:
        """What the scripted model was asked, in order."""
        state = json.loads((self.home / "run" / "model.json").read_text())
        key = Path(state["key_file"]).read_text().strip() if state["key_file"] else ""
        port = int(state["url"].split(":")[2].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/calls", headers={"Authorization": f"Bearer {key}"})
            return list(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def asked(self) -> Counter[str]:
        """How often the model was asked what, but for the warming-up at a start."""
        return Counter(call["hash"] for call in self.calls() if call["last"] != "ping")

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """A look into the database, read-only, as an owner with sqlite3 would."""
        connection = apsw.Connection(str(self.home / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(2000)
            return list(connection.execute(sql, args))
        finally:
            connection.close()

    def until(self, holds: Callable[[], Any], most_s: float, what: str) -> Any:
        """Poll until something holds; what it gave. Fails with the parts' own output.

        ``most_s`` is what a quiet machine may take; a busy one gets a minute at least.
        """
        most_s = max(most_s, 60.0)
        until = time.monotonic() + most_s
        while time.monotonic() < until:
            found = holds()
            if found:
                return found
            time.sleep(0.005)
        raise AssertionError(f"waited {most_s} s in vain for {what}\n{self.output()}")

    def output(self) -> str:
        """The last lines of every part, for a failing test."""
        told: list[str] = []
        for path in sorted(self.home.glob("*.out")) + sorted(self.home.glob("logs/*.jsonl")):
            lines = path.read_text(errors="replace").splitlines()[-15:]
            told += [f"--- {path.name}", *lines]
        return "\n".join(told)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def house_in(folder: Path, **settings: Any) -> Iterator[House]:
    """A house for one test, taken down at its end."""
    house = House(folder / "home", **settings)
    try:
        yield house
    finally:
        house.close()
