"""`stead secret`: values come in by stdin, and never out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run

TOML = """
[[credential]]
name = "github"
hosts = ["api.github.com"]
tools = ["http", "shell"]

[[credential]]
name = "vault"
hosts = ["vault.example"]
command = ["pass", "show", "vault"]

[[credential]]
name = "unit"
hosts = ["unit.example"]
systemd = "token"
"""


def test_a_secret_from_set_to_remove(home: Path, run: Run) -> None:
    """It is kept for the owner alone, listed with what uses it, and gone when removed."""
    (home / "stead.toml").write_text(TOML)
    done = run("secret", "set", "github", stdin="gh-0815-secret\n")
    file = home / "secrets" / "github.secret"
    assert (done.code, file.read_text(), file.stat().st_mode & 0o777) == (
        0,
        "gh-0815-secret",
        0o600,
    )
    listed = run("secret", "list").out
    assert "github" in listed and "github (http, shell) for api.github.com" in listed
    where = run("secret", "show-where", "github").out
    assert str(file) in where and "api.github.com" in where
    told = json.loads(run("secret", "list", "--json").out)["secrets"]
    assert [one["name"] for one in told] == ["github", "vault", "unit"]
    assert [one["there"] for one in told] == [True, True, False]
    assert "pass show vault" in run("secret", "show-where", "vault").out
    for command in (["list"], ["list", "--json"], ["show-where", "github", "--json"]):
        assert "gh-0815" not in str(run("secret", *command))
    assert run("secret", "remove", "github").code == 0
    assert not file.exists()
    assert "stead secret set github" in run("secret", "list").out
    assert run("secret", "remove", "github").code == 1


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("../x", "value", "no name for a secret"),
        ("UP", "value", "no name for a secret"),
        ("empty", "\n", "some text"),
        ("nul", "a\0b", "NUL"),
        ("long", "x" * 70_000, "64 KB"),
    ],
)
def test_what_is_no_secret_is_said(home: Path, run: Run, name: str, value: str, says: str) -> None:
    """And nothing is kept."""
    done = run("secret", "set", name, stdin=value)
    assert done.code == 1 and says in done.err
    assert not list((home / "secrets").glob("*.secret"))


@pytest.mark.parametrize(("value", "says"), [("abc", "cannot be hidden"), ("abcdef", "alone")])
def test_a_short_one_comes_with_a_remark(run: Run, value: str, says: str) -> None:
    """What cannot be hidden well is said when it is set."""
    assert says in run("secret", "set", "pin", stdin=value).err


def test_no_value_on_the_command_line(home: Path, run: Run) -> None:
    """There is no way to give it there."""
    assert run("secret", "set", "pin", "1234567890").code == 2
    assert not list((home / "secrets").glob("*.secret"))
