"""`stead up`: starts the gateway, the node and the local model, and keeps them running.

A small process of its own, so that any of the three may be killed and comes
back: the gateway takes no node or model down with it, and the other way round.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import stead
from stead import __version__
from stead.app.hup import terminal
from stead.config import Loaded, local_url
from stead.core import logs
from stead.core.errors import SteadError
from stead.core.keys import ensure_key, read_key
from stead.inference import modelstate

log = logging.getLogger("stead.supervisor")

_TICK_S = 0.05
_GRACE_S = 8.0
_BACKOFF_MAX_S = 30.0
#: A part that ran this long starts again at once when it falls.
_STEADY_S = 30.0
_PR_SET_PDEATHSIG = 1
_FIRST_LOGIN_S = 3600


@dataclass
class _Part:
    """One child process and what is needed to start it again."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    falls: int = 0
    next_start: float = 0.0
    given_up: bool = False

    def start(self) -> None:
        """A process group of its own, so that Ctrl-C reaches the supervisor alone."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        log.info("%s started", self.name, extra={"fields": {"pid": self.process.pid}})

    def fell(self, code: int) -> None:
        """Plan its next start: at once after a long run, later after each short one."""
        ran = time.monotonic() - self.started
        self.falls = 1 if ran > _STEADY_S else self.falls + 1
        wait = 0.0 if self.falls <= 1 else min(_BACKOFF_MAX_S, 0.5 * 2 ** (self.falls - 2))
        self.next_start = time.monotonic() + wait
        self.process = None
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        log.warning("%s ended %s after %.1f s; again in %.1f s", self.name, how, ran, wait)


def _die_with_parent() -> None:
    """In the child (Linux): be told to stop when the supervisor is gone, however it went."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _Stop(Exception):
    """Ctrl-C or SIGTERM."""


def supervise(home: Path, loaded: Loaded) -> int:
    """Run everything until Ctrl-C or SIGTERM; 0 if it ended cleanly, 1 if it could not start."""
    settings = loaded.settings
    if settings.listen.endswith(":0"):  # a port that nobody could be told
        _say("`stead up` needs a port of its own: set `listen`, such as 127.0.0.1:7832.")
        return 1
    logs.setup(
        home / "logs", "supervisor", settings.log.level, settings.log.max_mb, settings.log.keep,
        to_stderr=False,
    )  # fmt: skip
    ensure_key(home / "secrets" / "node.key", "node")
    parts = _parts(home, loaded)
    stopped = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise _Stop

    hung_up = terminal()

    def hup(signum: int, frame: FrameType | None) -> None:
        """Our terminal is gone, or somebody wants stead.toml to be read: the gateway does that."""
        gateway = parts[0].process
        if hung_up():
            stop(signum, frame)
        elif gateway is not None:
            with contextlib.suppress(ProcessLookupError):
                gateway.send_signal(signal.SIGHUP)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, hup)
    code = 0
    try:
        code = _run(home, loaded, parts)
    except _Stop:
        _say("\nstopping...")
    finally:
        stopped = True
        _stop_all(parts, settings.gateway.drain_s + _GRACE_S)
    if code == 0:
        _say("stopped; nothing is lost.")
    return code


def _parts(home: Path, loaded: Loaded) -> list[_Part]:
    settings = loaded.settings
    # Where in a line an error arose is told to the line: a megabyte of memory less for both parts.
    base = [*python(), "-X", "no_debug_ranges", "-m", "stead", "--home", str(home)]
    options = ["--listen", settings.listen] + (["--offline"] if settings.offline else [])
    parts = [_Part("gateway", [*base, "gateway", *options])]
    parts.append(_Part("node", [*base, "node", "run", *options]))
    if settings.model.local != "off":
        offline = ["--offline"] if settings.offline else []
        parts.append(_Part("model", [*base, "model", "serve", *offline]))
    return parts


def python() -> list[str]:
    """Python for a part. Files of the directory that stead was started in are no modules of ours
    (a ``random.py`` there would stop every part), unless that is where stead itself lies."""
    root = str(Path(stead.__file__).parents[1])
    told = sys.path if sys.flags.safe_path else sys.path[1:]
    return [sys.executable, "-P"] if root in told else [sys.executable]


def _run(home: Path, loaded: Loaded, parts: list[_Part]) -> int:
    url = local_url(loaded.settings.listen)
    gateway = parts[0]
    gateway.start()
    ask = _Ask(home, url, loaded.owner_key_file)
    code = _until_ready(gateway, ask)
    if code is not None:
        return code
    if any(part.name == "model" for part in parts):
        last = modelstate.read_last(home)
        starting = modelstate.ModelState("stopped", model=last.model, why="it is being started")
        modelstate.write(home, starting)
    for part in parts[1:]:
        part.start()
    _until(lambda: _node_here(ask), 3.0)
    _greet(ask)
    while True:
        time.sleep(_TICK_S)
        now = time.monotonic()
        for part in parts:
            if part.given_up:
                continue
            if part.process is not None:
                ended = part.process.poll()
                if ended is None:
                    continue
                if part.name == "model" and ended in (0, 2):
                    part.given_up = True  # it said itself that there is nothing to serve
                    continue
                part.fell(ended)
                _say(f"{part.name} fell and is started again (`stead logs` says more)")
            elif now >= part.next_start:
                part.start()


def _until_ready(gateway: _Part, ask: _Ask) -> int | None:
    """None once the gateway answers; its exit code if it could not start (it said why itself)."""
    while True:
        assert gateway.process is not None
        ended = gateway.process.poll()
        if ended is not None:
            gateway.process = None
            return ended or 1
        # A gateway of this home that ran before answers too; ours is about to say so and end.
        if ask.runs(gateway.process.pid) and ask.status() is not None:
            return None
        time.sleep(_TICK_S)


def _until(holds: Callable[[], bool], most_s: float) -> None:
    until = time.monotonic() + most_s
    while time.monotonic() < until and not holds():
        time.sleep(_TICK_S)


@dataclass(frozen=True)
class _Ask:
    """Asks the gateway of this home, and takes no answer from another one on the same port."""

    home: Path
    url: str
    key_file: Path

    def runs(self, pid: int) -> bool:
        """Whether the gateway of this home is the process ``pid``."""
        try:
            return (self.home / "run" / "gateway.pid").read_text("ascii").strip() == str(pid)
        except (OSError, ValueError):
            return False

    def status(self) -> dict[str, Any] | None:
        """``/api/v1/status``; None while there is no good answer."""
        data = self._answer("GET", "/api/v1/status")
        return data if data is not None and data.get("home") == str(self.home) else None

    def first_login(self) -> dict[str, Any] | None:
        """A code to sign in to the page with; None once anybody has."""
        data = self._answer("POST", "/api/v1/logins", {"first": True, "for_s": _FIRST_LOGIN_S})
        return data if data is not None and "code" in data else None

    def _answer(self, method: str, path: str, body: Any = None) -> dict[str, Any] | None:
        try:
            key = read_key(self.key_file)
        except SteadError:
            return None  # not made yet
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=2.0)
        try:
            headers = {"Authorization": f"Bearer {key}"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            data = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return data if answer.status in (200, 201) and isinstance(data, dict) else None


def _node_here(ask: _Ask) -> bool:
    status = ask.status()
    return status is not None and any(node["alive"] for node in status["nodes"])


def _greet(ask: _Ask) -> None:
    """One screen of plain words: where it is, what works, what does not yet."""
    status = ask.status() or {"works": ["gateway"], "not_yet": []}
    home, url = ask.home, ask.url
    # Without an installation the command is not on the PATH: say what can be typed.
    command = "stead" if shutil.which("stead") else _beside(Path(sys.argv[0]))
    lines = [
        f"stead {__version__} is up.",
        "",
        f"  address   {url}",
        f"  home      {home}",
        f"  key       {ask.key_file}  (`{command} key` prints it)",
        "",
        "works:",
        *(f"  + {words}" for words in status["works"]),
    ]
    if status["not_yet"]:
        lines += ["not yet:", *(f"  - {words}" for words in status["not_yet"])]
    login = ask.first_login()
    if login is not None:
        lines += [
            "",
            "the page (nobody has signed in yet; this is good for an hour, once):",
            f"  {login['url']}",
            f"  or {login['page']} and the code {login['code']}",
        ]
    lines += [
        "",
        "try:",
        f'  {command} ask "how much disk space is free here?"',
        f"  {command} status",
        "",
        "Ctrl-C stops everything.",
    ]
    _say("\n".join(lines))


def _beside(program: Path) -> str:
    """How to type this very command from here, as short as can be."""
    with contextlib.suppress(ValueError):
        return str(program.resolve().relative_to(Path.cwd()))
    return str(program)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a closed terminal must not end the supervisor
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _stop_all(parts: list[_Part], grace_s: float) -> None:
    """Node and gateway at once: the one lets its jobs end or hands them back, the other hears it
    and ends when it has. The model last, because answers under way need it. What does not go in
    time is killed."""
    until = time.monotonic() + grace_s
    for names in (("node", "gateway"), ("model",)):
        stopping = [part for part in parts if part.process is not None and part.name in names]
        for part in stopping:
            with contextlib.suppress(ProcessLookupError):
                assert part.process is not None
                part.process.send_signal(signal.SIGTERM)
        for part in stopping:
            _wait_for(part, max(1.0, until - time.monotonic()))


def _wait_for(part: _Part, most_s: float) -> None:
    assert part.process is not None
    try:
        part.process.wait(most_s)
    except subprocess.TimeoutExpired:
        log.warning("%s did not stop in time and is killed", part.name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(part.process.pid, signal.SIGKILL)
        part.process.wait()
