"""Databases, machines and the browser in stead.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.agent.tools.browser_session import hosts_of
from stead.app.hands import databases_of, peripherals_of
from stead.app.ways import web_of
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


HOSTS = ["*", "a.org", "*.a.org", "a.org:8443", "10.0.0.1:80", "[::1]:80", "[fd00::5]"]


def test_hosts_of_the_browser(tmp_path: Path) -> None:
    """Names, what is below one, ports, addresses, or any; the tool is told the same."""
    (tmp_path / "stead.toml").write_text(f"[browser]\nhosts = {HOSTS}\nwait_s = 0\n")
    browser = web_of(load(home=tmp_path)).browser
    assert browser.hosts == tuple(HOSTS) and browser.wait_s == 0
    found = hosts_of(browser, None)
    assert [(one.name, one.port) for one in found] == [
        ("*", 0), ("a.org", 0), ("*.a.org", 0), ("a.org", 8443), ("10.0.0.1", 80), ("[::1]", 80),
        ("[fd00::5]", 0),
    ]  # fmt: skip
    assert not any(one.private for one in found)


@pytest.mark.parametrize(
    "text",
    ["", "A.org", "https://a.org", "a.org/x", "a.*", "*a.org", "a.org:0", "a.org:99999", "::1:80",
     "a b", "*:8080x", "u@a.org", "a.org\\n"],
)  # fmt: skip
def test_hosts_that_nobody_would_reach(tmp_path: Path, text: str) -> None:
    """What could match no host is refused at the start, not found out by a page that fails."""
    (tmp_path / "stead.toml").write_text(f'[browser]\nhosts = ["a.org", "{text}"]\n')
    with pytest.raises(ConfigError, match=r"browser\.hosts\[1\].*is no host"):
        load(home=tmp_path)


@pytest.mark.parametrize(
    "line", ["at_once = 0", "memory_mb = 100", "max_download_mb = 0", "wait_s = -1", "hosts = 1"]
)
def test_limits_of_the_browser(tmp_path: Path, line: str) -> None:
    """A browser that could not work is refused at the start."""
    (tmp_path / "stead.toml").write_text(f"[browser]\n{line}\n")
    with pytest.raises(ConfigError, match="browser"):
        load(home=tmp_path)
