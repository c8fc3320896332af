"""The process of one light service: ``python -m stead.services.child``.

Started by :mod:`stead.services.process`, it reads its orders from stdin, loads its engine, and
serves it on a free port of the loopback address until it is told to stop (SIGTERM: requests under
way end first) or its stdin ends, which means that the gateway is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import resource
import signal
import socket
import sys
import threading
import time

import msgspec
import psutil
import uvicorn
import uvloop

from stead.core.errors import SteadError
from stead.services.orders import Orders, Word
from stead.services.web import App, Engine, Teller

#: Exit codes.
FAILED, TOO_MUCH, ORPHANED = 1, 3, 4

_LOOK_S = 0.25
_TELL_MB = 16
"""Memory is told anew when it has changed by so much."""


class _Voice(Teller):
    """Says words to the gateway, from any thread."""

    def __init__(self) -> None:
        # Libraries print where they like: the pipe is moved away from them.
        self._pipe = os.dup(1)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
        self._lock = threading.Lock()

    def say(self, word: Word) -> None:
        with self._lock, contextlib.suppress(OSError):  # nobody listens: stdin ends too
            os.write(self._pipe, msgspec.json.encode(word) + b"\n")


def main() -> int:
    line = sys.stdin.buffer.readline()
    voice = _Voice()
    try:
        orders = msgspec.json.decode(line, type=Orders)
    except msgspec.DecodeError as error:
        voice.say(Word("failed", f"these are no orders: {error}"))
        return FAILED
    _bound(orders.memory_mb)
    threading.Thread(target=_end_with_gateway, daemon=True).start()
    try:
        module, _, name = orders.engine.partition(":")
        make = getattr(importlib.import_module(module), name)
        engine: Engine = make(orders, voice)
    except SteadError as error:
        voice.say(Word("failed", error.message))
        return FAILED
    except (Exception, MemoryError) as error:  # noqa: BLE001 - the edge of a process
        voice.say(Word("failed", f"{type(error).__name__}: {error}"))
        return FAILED
    threading.Thread(target=_watch_memory, args=(orders.memory_mb, voice), daemon=True).start()
    uvloop.run(_serve(App(engine, orders, voice), voice))
    return 0


async def _serve(app: App, voice: _Voice) -> None:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        # Longer than the gateway keeps a connection, so that none closes under a request.
        timeout_keep_alive=120,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        voice.say(Word("ready", port=sock.getsockname()[1], mb=_used_mb(psutil.Process())))
        await server.serve(sockets=[sock])
    # Threads of a library may be in the middle of something: nothing of it is wanted.
    os._exit(0)


def _bound(memory_mb: int) -> None:
    """The hard end of what it may allocate, for itself and what it starts; and last in line for
    memory when the machine runs out of it."""
    # Threads and their stacks count as well, so this is wider than what is watched.
    limit = (memory_mb + 512) * 1_000_000
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("700")
    with contextlib.suppress(OSError):  # the owner's chat goes first
        os.nice(5)


def _end_with_gateway() -> None:
    """The gateway holds the other end of stdin as long as it lives."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)  # and what we have started
    os._exit(ORPHANED)


def _watch_memory(most_mb: int, voice: _Voice) -> None:
    """Tell what is used, and end when it is too much: where a system enforces no limit too."""
    process, told = psutil.Process(), 0
    while True:
        time.sleep(_LOOK_S)
        used = _used_mb(process)
        if used > most_mb:
            why = f"it used {used} MB of memory; services.memory_mb allows {most_mb}"
            voice.say(Word("ending", why))
            os._exit(TOO_MUCH)
        if abs(used - told) >= _TELL_MB:
            told = used
            voice.say(Word("memory", mb=used))


def _used_mb(process: psutil.Process) -> int:
    return int(process.memory_info().rss // 1_000_000)


if __name__ == "__main__":
    sys.exit(main())
