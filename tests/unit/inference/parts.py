"""What the tests of local models share: small models, a real hub, real wheels, a real process."""

from __future__ import annotations

import hashlib
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stead.inference import modelstate
from stead.inference.catalogue import CatalogueModel, HubSpec, LocalSpec, Part, Spec, WheelsSpec
from stead.inference.modelstate import ModelState

CONTENT = b"GGUF" + random.Random(7).randbytes(300_000)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def small(*source: Spec, content: bytes = CONTENT, name: str = "tiny") -> CatalogueModel:
    """A catalogue model whose file is ``content``."""
    return CatalogueModel(
        name=name,
        title="Tiny",
        family="tiny",
        licence="Apache-2.0",
        bytes=len(content),
        sha256=sha(content),
        memory_gb=0,
        tools="schema",
        prompt="small",
        context=4096,
        source=(LocalSpec(), *source),
    )


# --- the hub -----------------------------------------------------------------


class Hub:
    """A real HTTP server with one file; ``asked`` are the Range headers it saw, "" for none."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []
        self.break_after: list[int] = []
        """For each coming answer: cut the connection after so many bytes."""
        self.status: list[int] = []
        """For each coming answer once those above are used up: only this status."""
        self.ranges = True
        self.url = ""


@contextmanager
def hub(content: bytes = CONTENT) -> Iterator[Hub]:
    """Serve ``content`` at ``Hub.url`` while the block runs."""
    state = Hub(content)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.asked.append(asked)
            if not state.break_after and state.status:
                self.send_response(state.status.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(asked[len("bytes=") :].rstrip("-")) if asked and state.ranges else 0
            body = state.content[start:]
            self.send_response(206 if asked and state.ranges else 200)
            if asked and state.ranges:
                last = len(state.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.break_after:
                self.wfile.write(body[: state.break_after.pop(0)])
                self.close_connection = True
                self.wfile.flush()
                self.connection.shutdown(2)
                return
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/tiny.gguf"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hub_spec(server: Hub) -> HubSpec:
    return HubSpec(url=server.url)


# --- wheels ------------------------------------------------------------------


def build_wheel(folder: Path, package: str, member: bytes, *, touch: Path | None = None) -> Part:
    """A wheel that holds ``member``; its code, if it ever ran, would create ``touch``."""
    folder.mkdir(parents=True, exist_ok=True)
    module, info = package.replace("-", "_"), f"{package.replace('-', '_')}-1.0.dist-info"
    file = folder / f"{module}-1.0-py3-none-any.whl"
    code = f"open({str(touch)!r}, 'w').close()\n" if touch else ""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{module}/__init__.py", code)
        archive.writestr(f"{module}/data/part.bin", member)
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
            "Requires-Dist: a-package-that-is-nowhere\n",
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return Part(
        package=f"{package}==1.0",
        member=f"{module}/data/part.bin",
        wheel=file.stat().st_size,
        bytes=len(member),
        sha256=sha(member),
    )


def build_wheels(
    folder: Path, content: bytes = CONTENT, *, touch: Path | None = None
) -> WheelsSpec:
    """Three wheels whose members, put end to end, are ``content``."""
    third = len(content) // 3
    cut = [content[:third], content[third : 2 * third], content[2 * third :]]
    return WheelsSpec(
        parts=tuple(
            build_wheel(folder, f"stead-tiny-part{i}", piece, touch=touch)
            for i, piece in enumerate(cut, 1)
        )
    )


def pip_from(folder: Path) -> list[str]:
    """pip arguments that make ``folder`` the only place to download from."""
    return ["--no-index", "--find-links", str(folder), "--isolated"]


# --- the model process -------------------------------------------------------

_SERVE = """
import sys
from pathlib import Path
{before}
from stead.inference import runtime
sys.exit(runtime.serve(Path({home!r}), model={model!r}, context=2048, threads=1, offline=True))
"""


@contextmanager
def serving(home: Path, model: str, before: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A model process of its own; killed at the end of the block if it still runs."""
    code = _SERVE.format(home=str(home), model=model, before=before)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait until something holds; whether it did in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


def reach(home: Path, *phases: str, seconds: float = 120.0) -> ModelState:
    """Wait until the model process is in one of ``phases`` and return its state."""
    assert until(lambda: modelstate.read_last(home).phase in phases, seconds), modelstate.read_last(
        home
    )
    return modelstate.read(home)


def alive(pid: int) -> bool:
    """Whether a process that is not our child still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def stop_in_time(process: subprocess.Popen[bytes], seconds: float) -> float:
    """Send SIGTERM; return how long it took. Fails after ``seconds``."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(seconds)
    return time.monotonic() - began
