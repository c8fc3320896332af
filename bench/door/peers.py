"""What stands beside stead's door in the same run: nginx always, others if they are asked for."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.house import wait_for
from bench.wire import post

#: Which others: ``STEAD_BENCH_PEERS="litellm vllm-router"``.
ASKED = "STEAD_BENCH_PEERS"
KEY = "sk-bench-0123456789abcdef"

_NGINX = """
daemon off; master_process on; worker_processes 1; pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 32m; client_body_buffer_size 1m; tcp_nodelay on;
  keepalive_requests 100000000; keepalive_timeout 75s;
  upstream model {{ server 127.0.0.1:{model}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 300s;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A door that runs: its port, its key and its processes."""

    name: str
    port: int
    key: str
    pid: int
    model: str = "bench"
    path: str = "/v1/chat/completions"

    def request(self, stream: bool) -> bytes:
        """A chat request as a client sends it."""
        body = (
            b'{"model":"%b","messages":[{"role":"system","content":"You are a helpful assistant."},'
            b'{"role":"user","content":"What is six times seven? Answer in one sentence."}]%b}'
            % (self.model.encode(), b',"stream":true' if stream else b"")
        )
        return post(self.path, self.key, body)

    def processes(self) -> list[psutil.Process]:
        top = psutil.Process(self.pid)
        return [top, *top.children(recursive=True)]

    def cpu_s(self) -> float:
        """Seconds of processor time so far, of all its processes."""
        total = 0.0
        for process in self.processes():
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def rss_mb(self) -> float:
        """Resident memory of all its processes, in MB."""
        return sum(process.memory_info().rss for process in self.processes()) / 1e6


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def pin(pid: int, core: int) -> None:
    """Keep a process, with all its threads and children, on one core, where that can be."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        return
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {core})


@contextmanager
def backend() -> Iterator[int]:
    """The model server behind all doors, on the callers' core. Gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.door.backend"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        pin(process.pid, 1)
        yield port
    finally:
        process.kill()
        process.wait(5)


def nginx_path() -> str | None:
    """Where nginx is; `make bench-inference` installs it where it can (Debian, as root)."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found or ASKED not in os.environ or not shutil.which("apt-get") or os.geteuid():
        return found
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "nginx-light"]):
        if subprocess.run(["apt-get", "-q", *command], env=env, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode:  # fmt: skip
            return None
    return shutil.which("nginx", path="/usr/sbin:/usr/bin")


@contextmanager
def nginx(folder: Path, model: int) -> Iterator[Peer | None]:
    """nginx as a plain reverse proxy: no keys, no routing, no accounts. None: not there."""
    program = nginx_path()
    if program is None:
        yield None
        return
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, model=model))
    with _running([program, "-c", str(config), "-p", str(folder)], folder) as pid:
        yield Peer("nginx", port, "none", up(port, pid))


@dataclass(frozen=True, slots=True)
class _Start:
    """How a peer is started, and where it is asked."""

    command: list[str]
    port: int
    """0: it takes a free one, and writes its address to its output."""
    path: str = "/v1/chat/completions"
    model: str = "bench"
    env: dict[str, str] = field(default_factory=dict)


@contextmanager
def asked(name: str, folder: Path, model: int) -> Iterator[Peer | None]:
    """A peer that was asked for, in an environment of its own; None: it could not be had, and why
    was said."""
    folder.mkdir(parents=True)
    package, starts = _PEERS[name]
    try:
        place = _environment(name)
        version = _installed(place, package)
        start = starts(place, folder, free_port(), model)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        yield None
        return
    print(f"beside: {name} {version}", file=sys.stderr)
    with _running(start.command, folder, start.env) as pid:
        port = start.port or _told_port(folder, pid)
        yield Peer(name, port, KEY, up(port, pid, 300), start.model, start.path)


def _told_port(folder: Path, pid: int) -> int:
    """The port in the address that a peer writes to its output."""
    found: list[str] = []

    def told() -> bool:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError("it ended at once")
        text = (folder / "out").read_text(errors="replace")
        found[:] = re.findall(r"^http://127\.0\.0\.1:(\d+)", text, re.MULTILINE)
        return bool(found)

    wait_for(told, 120, "the address of a peer", every_s=0.05)
    return int(found[0])


def _environment(name: str) -> Path:
    """An environment with one package in it, kept for the next time."""
    place = Path("~/.cache/stead-bench").expanduser() / name
    if not (place / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    return place


def _installed(place: Path, package: str) -> str:
    """The version of a package that is there, installed first if need be."""
    python = str(place / "bin" / "python")
    name = package.partition("[")[0]
    asks = [python, "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
    there = subprocess.run(asks, capture_output=True, text=True, check=False)
    if there.returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", package], check=True)
        there = subprocess.run(asks, capture_output=True, text=True, check=True)
    return there.stdout.strip()


def _litellm(place: Path, folder: Path, port: int, model: int) -> _Start:
    config, logs = folder / "config.yaml", folder / "logs.json"
    config.write_text(
        "model_list:\n  - model_name: bench\n    litellm_params:\n      model: openai/bench\n"
        f"      api_base: http://127.0.0.1:{model}/v1\n      api_key: none\n"
        f"general_settings:\n  master_key: {KEY}\n"
    )
    # Without a line for each request, as nginx here.
    logs.write_text('{"version": 1, "loggers": {"uvicorn.access": {"level": "CRITICAL"}}}')
    command = [
        str(place / "bin" / "litellm"), "--config", str(config), "--port", str(port),
        "--host", "127.0.0.1", "--num_workers", "1", "--telemetry", "False",
        "--log_config", str(logs),
    ]  # fmt: skip
    # Its list of prices is fetched at each start otherwise.
    return _Start(command, port, env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"})


def _vllm_router(place: Path, folder: Path, port: int, model: int) -> _Start:
    command = [
        str(place / "bin" / "vllm-router"), "--worker-urls", f"http://127.0.0.1:{model}",
        "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin",
        "--log-level", "warning",
    ]  # fmt: skip
    return _Start(command, port)


#: The package has no program; this is the server that its ``patch_openai_client`` starts.
_TENSORZERO = """
import signal, sys, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None,
    async_setup=False,
)
print(gateway.base_url, flush=True)
signal.pause()
"""


def _tensorzero(place: Path, folder: Path, port: int, model: int) -> _Start:
    config = folder / "tensorzero.toml"
    config.write_text(
        "[gateway]\nobservability.enabled = false\n"
        '[models.bench]\nrouting = ["b"]\n[models.bench.providers.b]\ntype = "openai"\n'
        f'model_name = "bench"\napi_base = "http://127.0.0.1:{model}/v1/"\n'
        'api_key_location = "none"\n'
    )
    command = [str(place / "bin" / "python"), "-c", _TENSORZERO, str(config)]
    return _Start(command, 0, "/openai/v1/chat/completions", "tensorzero::model_name::bench")


_PEERS: dict[str, tuple[str, Callable[[Path, Path, int, int], _Start]]] = {
    "litellm": ("litellm[proxy]", _litellm),
    "vllm-router": ("vllm-router", _vllm_router),
    "tensorzero": ("tensorzero", _tensorzero),
}


def names_asked() -> list[str]:
    """Which peers were asked for besides nginx."""
    named = os.environ.get(ASKED, "").replace(",", " ").split()
    unknown = sorted(set(named) - set(_PEERS))
    if unknown:
        raise ValueError(f"{ASKED} knows {', '.join(_PEERS)}; not {', '.join(unknown)}")
    return named


@contextmanager
def _running(command: list[str], folder: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    with (folder / "out").open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def up(port: int, pid: int, most_s: float = 20.0) -> int:
    """Wait until something listens there; then it goes to its core."""

    def listens() -> bool:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError("it ended at once")
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, most_s, "a peer to listen", every_s=0.05)
    time.sleep(0.3)
    pin(pid, 0)
    return pid
