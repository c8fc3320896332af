"""Databases and machines in stead.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.app.hands import databases_of, peripherals_of
from stead.config import load
from stead.core.errors import ConfigError

GOOD = """
[[database]]
name = "shop"
[[peripheral]]
name = "nas"
host = "nas.home"
user = "stead"
"""


def test_databases_and_machines(tmp_path: Path) -> None:
    """By name, with how to connect in a file of the folder of secrets that is read at each call."""
    (tmp_path / "stead.toml").write_text(GOOD)
    loaded = load(home=tmp_path)
    shop = databases_of(loaded)["shop"]
    (tmp_path / "secrets").mkdir(exist_ok=True)
    secret = tmp_path / "secrets" / "shop.secret"
    secret.write_text("postgresql://a:b@c/d\n")
    secret.chmod(0o600)
    assert shop.dsn() == "postgresql://a:b@c/d"
    nas = peripherals_of(loaded)["nas"]
    assert (nas.port, nas.key.name) == (22, "ssh-nas.key")
    assert nas.known_hosts == loaded.home / "secrets" / "ssh-nas.known_hosts"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"shop"', '"Shop!"', "is not a name"),
        ('host = "nas.home"', 'host = "-oProxyCommand=x"', "is no host name"),
        ('host = "nas.home"', 'host = "a b"', "is no host name"),
        ('user = "stead"', 'user = "-l"', "is no name of a user"),
        ('[[peripheral]]', '[[database]]\nname = "shop"\n[[peripheral]]', "there are two named"),
        ('name = "shop"', 'name = "shop"\nsecret = "postgresql://u@h/d"', "is no name of a"),
    ],
)  # fmt: skip
def test_what_cannot_be(tmp_path: Path, old: str, new: str, why: str) -> None:
    """Odd names, hosts that would be options of ssh, and a secret put into the settings."""
    (tmp_path / "stead.toml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=why):
        load(home=tmp_path)
