"""Secrets of the owner: where their values come from, and whom they are put in for.

A credential says which secret goes into which requests: by exact host, path, method and tool. Its
value is read when it is used and not before, by the process of the proxy alone: from a file in
``secrets/`` that only the owner can read, from a credential of systemd (systemd.exec(5),
LoadCredential=), or from a command of his. It is never in the configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from stead.core.errors import SteadError
from stead.core.files import write_atomic

SUFFIX = ".secret"
"""Of files in ``secrets/`` that hold values for credentials; keys of stead's own have others."""
MOST = 65536
"""Bytes of one value."""
_COMMAND_S = 20.0
_COMMAND_KEPT_S = 300.0

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class SecretUnreadable(SteadError):
    """The secret {name!r} cannot be had: {why}"""

    status = 503
    code = "secret_unreadable"


class BadSecret(SteadError):
    """{why}"""

    status = 422
    code = "bad_secret"


class Source(msgspec.Struct, frozen=True):
    """Where a value comes from: exactly one of these."""

    file: str = ""
    """Name of a secret that ``stead secret set`` keeps."""
    systemd: str = ""
    """Name of a credential that systemd hands over."""
    command: tuple[str, ...] = ()
    """Its stdout, without the line's end."""


class Credential(msgspec.Struct, frozen=True):
    """A secret, and the requests it may be put into. No value is in it."""

    name: str
    source: Source
    hosts: tuple[str, ...]
    """Exact names, in lower case, or ``name:port``. HTTPS, unless ``plain``."""
    paths: tuple[str, ...] = ("/",)
    """What the path begins with, whole parts of it: ``/v1`` is for ``/v1`` and ``/v1/models``."""
    methods: tuple[str, ...] = ()
    """Empty: any."""
    tools: tuple[str, ...] = ("http",)
    how: Literal["bearer", "header", "query", "basic"] = "bearer"
    field: str = ""
    """Name of the header or of the query's parameter."""
    user: str = ""
    """For ``basic``."""
    plain: bool = False
    """It may go over a connection that is not encrypted: to a device in the house."""


def is_name(text: str) -> bool:
    """Whether it can be the name of a secret or credential."""
    return _NAME.fullmatch(text) is not None


class SecretStore:
    """The files of ``secrets/`` that hold values for credentials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        if not is_name(name):
            raise BadSecret(
                why=f"{name!r} is no name for a secret: small letters, digits, and _ - within"
            )
        return self.folder / (name + SUFFIX)

    def set(self, name: str, value: str) -> Path:
        """Keep a value; raises ``BadSecret`` for one that cannot be used."""
        path = self.path(name)
        value = value.removesuffix("\n").removesuffix("\r")
        if not value.strip() or "\0" in value or len(value.encode()) > MOST:
            raise BadSecret(why="a secret is some text, of at most 64 KB and without NUL bytes")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, value.encode(), 0o600)
        return path

    def remove(self, name: str) -> None:
        try:
            self.path(name).unlink()
        except FileNotFoundError:
            raise BadSecret(why=f"there is no secret {name!r}; `stead secret list`") from None

    def names(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(
                path.name.removesuffix(SUFFIX)
                for path in self.folder.iterdir()
                if path.name.endswith(SUFFIX) and is_name(path.name.removesuffix(SUFFIX))
            )
        return []

    def get(self, name: str) -> str:
        """Raises ``SecretUnreadable``, also for a file that others can read."""
        return read_private(self.path(name), name)


def read_private(path: Path, name: str) -> str:
    """The text of a file that nobody but its owner may read. Raises ``SecretUnreadable``."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise SecretUnreadable(name=name, why=f"{path} is not a file")
            if stat.S_IMODE(mode) & 0o077:
                raise SecretUnreadable(
                    name=name, why=f"others can read {path}; `chmod 600 {path}`, or set it anew"
                )
            value = file.read(MOST + 1).decode()
    except FileNotFoundError:
        raise SecretUnreadable(
            name=name, why=f"{path} is missing; `stead secret set {name}` makes it"
        ) from None
    except OSError as error:
        raise SecretUnreadable(name=name, why=f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretUnreadable(name=name, why=f"{path} is not UTF-8 text") from None
    value = value.removesuffix("\n").removesuffix("\r")
    if not value or len(value) > MOST:
        raise SecretUnreadable(name=name, why=f"{path} is empty or too large")
    return value


class Values:
    """Reads the values of credentials, for who puts them in."""

    def __init__(self, folder: Path, systemd: Path | None, environment: Mapping[str, str]) -> None:
        self._store = SecretStore(folder)
        self._systemd = systemd
        self._environment = dict(environment)
        self._kept: dict[tuple[str, ...], tuple[float, str]] = {}
        self._asking = asyncio.Lock()

    async def get(self, credential: Credential) -> str:
        """As it is now: a value that was set anew holds from the next request. What a command said
        is kept for five minutes. Raises ``SecretUnreadable``."""
        value = await self._read(credential.name, credential.source)
        if credential.how != "basic" and not _fits_a_line(value):
            raise SecretUnreadable(
                name=credential.name, why="it has characters that no header or query can hold"
            )
        return value

    async def _read(self, name: str, source: Source) -> str:
        if source.file:
            return self._store.get(source.file)
        if source.systemd:
            if self._systemd is None:
                raise SecretUnreadable(
                    name=name,
                    why="this stead was not started by a systemd unit with LoadCredential=",
                )
            if "/" in source.systemd or source.systemd.startswith("."):
                raise SecretUnreadable(name=name, why=f"{source.systemd!r} is no name")
            return read_private(self._systemd / source.systemd, name)
        async with self._asking:
            return await self._ask(name, source.command)

    async def _ask(self, name: str, command: tuple[str, ...]) -> str:
        kept = self._kept.get(command)
        if kept is not None and time.monotonic() - kept[0] < _COMMAND_KEPT_S:
            return kept[1]
        if not command:
            raise SecretUnreadable(name=name, why="nothing says where its value comes from")
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL,
                env=self._environment, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SecretUnreadable(name=name, why=f"{command[0]}: {error.strerror}") from None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_COMMAND_S):
                said = await process.stdout.read(MOST + 1)
                code = await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise SecretUnreadable(
                name=name, why=f"{command[0]} said nothing for {_COMMAND_S:g} s"
            ) from None
        value = said.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
        if code or not value or len(value) > MOST:
            raise SecretUnreadable(
                name=name, why=f"{command[0]} ended with code {code} and no value for it"
            )
        self._kept[command] = (time.monotonic(), value)
        return value


def _fits_a_line(value: str) -> bool:
    return all(character == "\t" or 0x20 <= ord(character) < 0x7F for character in value)
