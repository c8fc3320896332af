"""What all commands share: the home, the configuration, the gateway, ways of printing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stead.cli.api import Api
from stead.config import find, no_color
from stead.core.errors import GatewayAway

if TYPE_CHECKING:
    from stead.config import Loaded

FAILED = 1
AWAY = 3
INTERRUPTED = 130

_F = TypeVar("_F", bound=Callable[..., Any])


class Cli:
    """``ctx.obj`` of every command."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._loaded: Loaded | None = None

    @property
    def loaded(self) -> Loaded:
        """The configuration, read when first asked for. Raises ``ConfigError``."""
        from stead.config import load  # late: 20 ms; who only asks the gateway needs no more than

        if self._loaded is None:  # its address
            self._loaded = load(self.home)
        return self._loaded

    def api(self, *, loosely: bool = False) -> Api:
        """The gateway, with the owner's key.

        ``loosely``: also where stead.toml does not tell for certain where it is.
        """
        found = find(self.home)
        if loosely:
            return Api(found)
        return Api(
            found if found.sound else self.loaded.address,
            check=lambda: self.loaded,
        )


def look(
    obj: Cli, ask: Callable[[Api], Any], at_home: Callable[[ModuleType], Any]
) -> tuple[Any, int]:
    """What the gateway answers, and exit code 0; or, while it is away, what ``at_home`` finds
    in the home directory by :mod:`stead.app.offline`, and exit code 3."""
    try:
        return ask(obj.api()), 0
    except GatewayAway as error:
        from stead.app import offline  # late: only a gateway that is down needs it

        click.echo(f"{error.message}. From the home directory:", err=True)
        return at_home(offline), AWAY


def json_option(command: _F) -> _F:
    """Adds ``--json``; the command gets it as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(data: object) -> None:
    """Data for programs: one indented JSON document on stdout."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> object:
    import msgspec  # late: 10 ms that only what is found in the home directory needs

    return msgspec.to_builtins(value)


def style(text: str, **how: Any) -> str:
    """Coloured text; plain where the user asked for no colours (click drops them in a pipe)."""
    return text if no_color() else click.style(text, **how)


def dim(text: str) -> str:
    return style(text, dim=True)


def on_terminal(stream: Any) -> bool:
    """Whether a person reads (or types into) ``stream``."""
    try:
        return bool(stream.isatty())
    except ValueError:  # closed
        return False


def aside(text: str) -> None:
    """A remark for the person at the terminal; programs that read us never see it."""
    if on_terminal(sys.stderr):
        click.echo(dim(text), err=True)


# --- words -------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the last one runs free."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text[0] = style(text[0], bold=True)
    return "\n".join(text)


def span(ms: float | None) -> str:
    """A length of time: ``0.4 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if ms is None:
        return "?"
    seconds = max(ms, 0) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, small_name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def took(ms: float | None) -> str:
    """As :func:`span`, of what may take but a moment: ``34 ms``."""
    return f"{ms:.0f} ms" if ms is not None and 0 <= ms < 999.5 else span(ms)


def usd(micro: int | float | None) -> str:
    """Micro-dollars as dollars."""
    return f"${(micro or 0) / 1_000_000:.4f}"


def size(count: int) -> str:
    """Bytes as people say them (1 MB = 1,000,000)."""
    for unit, factor in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


_CONTROLS: dict[int, int | str | None] = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    # What turns the direction of writing (Unicode annex 9): a name or a command could read
    # otherwise than it is. Text in a language written from the right needs none of them.
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
    **dict.fromkeys((0x061C, 0x200E, 0x200F)),
    **dict.fromkeys((0x2028, 0x2029), "\n"),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),  # halves of characters cannot be written
}


def harmless(text: str) -> str:
    """``text`` with control characters made visible, and those that turn the direction of writing:
    what a model or a file says could else move the cursor, rename the window, or hide a line of
    the terminal it is shown on."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def for_eyes(text: str, stream: Any) -> str:
    """What a person will see of ``text``; a program that reads us gets it as it is."""
    return harmless(text) if on_terminal(stream) else text


def sound(text: str) -> str:
    """``text`` of the command line or a pipe, whatever its bytes were, as text to be sent."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def one_line(text: str, most: int = 60) -> str:
    """``text`` without line breaks and control characters, cut to ``most`` characters."""
    flat = " ".join(harmless(text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def short(id_: str) -> str:
    """The end of an id: enough to name it (the beginning of a UUIDv7 is only its time)."""
    return id_[-8:]


def when(at: object) -> str:
    """A moment of the API (ms since the epoch, or words) as local time; empty for none."""
    if isinstance(at, int | float):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000)) if at else ""
    return str(at or "")


_COLOURS = {"done": "green", "dead": "red", "waiting": "yellow", "running": "cyan"}


def state_words(state: str) -> str:
    """A job's state, coloured."""
    return style(state, fg=_COLOURS.get(state))
