"""A real terminal for the stories: a tmux of its own, driven by keys and read as it is drawn."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.story.house import House


class Terminal:
    """One window, ``width`` x ``height``, in which `stead` runs."""

    def __init__(
        self,
        folder: Path,
        house: House,
        *args: str,
        width: int = 80,
        height: int = 24,
        env: Mapping[str, str] | None = None,
        before: str = "",
        after: str = "",
    ) -> None:
        self._folder = folder
        self._socket = folder / "tmux.sock"
        (folder / "tmux.conf").write_text("set -g history-limit 20000\nset -s escape-time 10\n")
        stead = shlex.join([sys.executable, "-m", "stead", "--home", str(house.home), *args])
        line = f'{before}{stead}{after}; echo "[left $?]"; exec sleep 600'
        set_ = {"TERM": "tmux-256color", "NO_COLOR": "", "PYTHONPATH": os.getcwd(), **(env or {})}
        more = [f"{name}={value}" for name, value in set_.items()]
        self._tmux(
            "-f", str(folder / "tmux.conf"), "new-session", "-d", "-x", str(width), "-y",
            str(height), "env", *more, "sh", "-c", line,
        )  # fmt: skip

    def _tmux(self, *args: str, input: bytes | None = None) -> str:
        # UTF-8 whatever the locale: the terminal, not the machine, is what is tried.
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self._socket), *args],
            capture_output=True, check=True, timeout=60, input=input, cwd=os.getcwd(),
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        return done.stdout.decode("utf-8", "replace")

    def keys(self, *keys: str) -> None:
        """Press keys, by tmux's names (``Enter``, ``C-c``, ``M-Enter``)."""
        self._tmux("send-keys", *keys)

    def type(self, text: str, enter: bool = True) -> None:
        """Type a text, and Enter."""
        self._tmux("send-keys", "-l", text)
        if enter:
            self.keys("Enter")

    def paste(self, text: str) -> None:
        """Paste, bracketed where the program has asked for that."""
        self._tmux("load-buffer", "-", input=text.encode())
        self._tmux("paste-buffer", "-p", "-d")

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def shown(self, *, colours: bool = False, joined: bool = False) -> str:
        """All that stands in the window and has scrolled out of it. ``joined``: rows that the
        terminal broke are one line."""
        flags = ["-e"] * colours + ["-J"] * joined
        text = self._tmux("capture-pane", "-p", "-S", "-", *flags)
        return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n")

    def until(self, holds: str | Callable[[str], object], most_s: float = 60.0) -> str:
        """Wait until a text is shown, or something holds of what is; what was shown then."""
        check = holds if callable(holds) else lambda text: holds in text
        until = time.monotonic() + most_s
        while True:
            text = self.shown()
            if check(text):
                return text
            if time.monotonic() > until:
                raise AssertionError(f"waited {most_s} s in vain for {holds!r}:\n{text}")
            time.sleep(0.03)

    def close(self) -> None:
        subprocess.run(
            ["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, check=False
        )


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Open]:
    """Opens terminals on a house, and closes them."""
    if shutil.which("tmux") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("tmux is not installed")
        pytest.skip("tmux is not installed")
    opened: list[Terminal] = []

    def call(house: House, *args: str, **more: object) -> Terminal:
        folder = tmp_path / f"t{len(opened)}"
        folder.mkdir()
        opened.append(Terminal(folder, house, *args, **more))  # type: ignore[arg-type]
        return opened[-1]

    yield call
    for one in opened:
        one.close()
