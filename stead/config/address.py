"""Where the gateway is: the three settings that a command needs which only asks it something.

Apart from the rest of the configuration so that such a command starts quickly: to check a whole
stead.toml takes longer than to ask, and the gateway did that at its own start.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from stead.core.errors import ConfigError

LISTEN = "127.0.0.1:7832"
OWNER_KEY = "secrets/owner.key"
LISTEN_VARIABLE = "STEAD_LISTEN"


class Address(NamedTuple):
    """A gateway, and how to be let in."""

    home: Path
    url: str
    """Without a slash at the end."""
    key_file: Path
    elsewhere: bool
    """Whether it is on another machine."""
    sound: bool = True
    """False: stead.toml has faults, and this is what could be made out."""


def home_dir() -> Path:
    """The home directory: ``$STEAD_HOME``, else ``~/.stead``. It need not exist."""
    return Path(os.environ.get("STEAD_HOME") or "~/.stead").expanduser().absolute()


def no_color() -> bool:
    """Whether the user asked for no colours (no-color.org), or the terminal knows none."""
    return bool(os.environ.get("NO_COLOR")) or dumb_terminal()


def dumb_terminal() -> bool:
    """Whether the terminal can do no more than show one line after the other (``TERM``)."""
    return os.environ.get("TERM", "") in ("", "dumb", "unknown")


def editor() -> str:
    """The editor that the user wants."""
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"


def address_of(
    home: Path, *, listen: str = LISTEN, key_file: str = "", gateway: str = "", sound: bool = True
) -> Address:
    """What the settings ``listen``, ``gateway.key_file`` and ``node.gateway`` come to."""
    url = gateway.rstrip("/") if gateway else _url(listen)
    return Address(home, url, path_at(home, key_file or OWNER_KEY), bool(gateway), sound)


def find(home: Path) -> Address:
    """Where the gateway of ``home`` is, also by a stead.toml that has faults: what finds it as far
    as that can be read, and the defaults for the rest. A gateway that runs goes on with what was
    sound before. Raises ``ConfigError`` where the environment names no address."""
    sound = True
    try:
        data = (home / "stead.toml").read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError:
        data, sound = b"", False
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    if "\ufffd" in text:
        sound = False
    raw, whole = _read(text)
    given: dict[str, str] = {}
    for table, key, good in _NEEDED:
        place = raw.get(table, {}) if table else raw
        if not isinstance(place, dict):
            sound = False
        elif key in place:
            if isinstance(place[key], str) and good(place[key]):
                given[key] = place[key]
            else:
                sound = False
    if listen := os.environ.get(LISTEN_VARIABLE):
        check_listen(listen, f"environment {LISTEN_VARIABLE}")
        given["listen"] = listen
    return address_of(home, sound=sound and whole, **given)


def path_at(home: Path, text: str) -> Path:
    """A path given in stead.toml: ``~`` means the user's home, else it is relative to ours."""
    return home / Path(text).expanduser()


def check_listen(listen: str, where: str) -> None:
    """Raise ``ConfigError`` unless ``listen`` is an address; ``where`` says whose it is."""
    try:
        parse_listen(listen)
    except ValueError as error:
        raise ConfigError(
            f"{where}: {listen!r} is not an address: {error}", param="listen"
        ) from None


def parse_listen(text: str) -> tuple[str, int]:
    """``host:port`` or ``[IPv6]:port`` as (host, port). Raises ``ValueError``."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address is written in brackets: [::1]:7832")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected host:port, such as 127.0.0.1:7832")
    return host, int(port)


def local_url(listen: str) -> str:
    """The URL by which programs on this machine reach a gateway that listens there."""
    host, port = parse_listen(listen)
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_url(text: str) -> bool:
    return re.match(r"https?://[^\s/]+", text) is not None


def _is_listen(text: str) -> bool:
    try:
        parse_listen(text)
    except ValueError:
        return False
    return True


_NEEDED = (
    ("", "listen", _is_listen),
    ("gateway", "key_file", lambda text: True),
    ("node", "gateway", lambda text: not text or is_url(text)),
)


def _read(text: str) -> tuple[dict[str, Any], bool]:
    """A TOML text, and whether it is one; of one that is not, what stands before its tables."""
    if not re.search(r"^[ \t]*[^#\s]", text, re.MULTILINE):
        return {}, True  # nothing but comments, as the first start leaves it
    import tomllib  # late: 3 ms

    try:
        return tomllib.loads(text), True
    except (ValueError, RecursionError):
        found = re.search(r'^\s*listen\s*=\s*"([^"]*)"', text.partition("\n[")[0], re.MULTILINE)
        return ({"listen": found[1]} if found else {}), False


def _url(listen: str) -> str:
    """How a gateway that listens there is reached from this machine."""
    host, port = parse_listen(listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
