"""Parts that the tests of the commands share."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from stead.cli.main import main
from stead.config import prepare_home
from tests.unit.cli.gateway import KEY, Gateway, Server


@dataclass(frozen=True)
class Result:
    """What one command line did."""

    code: int
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *args: str, stdin: str | None = None) -> Result: ...


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared home directory with an owner's key; no gateway listens for it."""
    for name in ("STEAD_LISTEN", "STEAD_OFFLINE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "home"
    monkeypatch.setenv("STEAD_HOME", str(path))
    prepare_home(path)
    (path / "secrets" / "owner.key").write_text(KEY + "\n")
    (path / "stead.toml").write_text('listen = "127.0.0.1:1"\n')
    return path


@pytest.fixture
def gateway(home: Path) -> Iterator[Gateway]:
    """A server that speaks the gateway's API; the home's configuration points to it."""
    server = Server(Gateway())
    (home / "stead.toml").write_text(f'listen = "127.0.0.1:{server.gateway.port}"\n')
    yield server.gateway
    server.close()


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command line in this process, through the program's own entry."""

    def call(*args: str, stdin: str | None = None) -> Result:
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = main(list(args))
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call
