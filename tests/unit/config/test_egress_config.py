"""What is said of the way out is checked before it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.app.ways import known_to, terms_of
from stead.config import load
from stead.core.errors import ConfigError
from stead.sandbox.egress_hosts import Private
from stead.sandbox.secrets import SecretStore

GOOD = """
[egress]
private = ["nas.home", "192.168.1.0/24", "127.0.0.1:8080", "[::1]:80", "10.0.0.5"]

[[credential]]
name = "github"
hosts = ["api.github.com", "localhost:8443", "[::1]:80"]
paths = ["/repos/me"]
tools = ["http", "web_search"]
command = ["pass", "show", "github"]

[[credential]]
name = "ha"
hosts = ["homeassistant.local:8123"]
how = "header"
field = "X-Key"
plain = true

[search]
kind = "brave"
credential = "github"
"""


def _load(home: Path, text: str) -> None:
    (home / "stead.toml").write_text(text)
    load(home)


def test_a_sound_one_becomes_the_terms_of_the_proxy(tmp_path: Path) -> None:
    """All that is said arrives; a value is named like its credential where nothing else is said;
    what the settings take as an exception the proxy takes too."""
    (tmp_path / "stead.toml").write_text(GOOD)
    terms = terms_of(load(tmp_path))
    github, home = terms.credentials
    assert (github.source.command, github.source.file) == (("pass", "show", "github"), "")
    assert (github.paths, github.tools) == (("/repos/me",), ("http", "web_search"))
    assert (home.source.file, home.how, home.field, home.plain) == ("ha", "header", "X-Key", True)
    for text in terms.private:
        Private.read(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ('[egress]\nprivate = ["127.0.0.1"]', "egress.private[0]"),
        ('[egress]\nprivate = ["0.0.0.0/0"]', "egress.private[0]"),
        ('[egress]\nprivate = ["127.0.0.0/8"]', "egress.private[0]"),
        ('[egress]\nprivate = ["http://nas"]', "egress.private[0]"),
        ('[egress]\nprivate = ["0x7f.1"]', "egress.private[0]"),
        ('[egress]\nprivate = ["nas:99999"]', "egress.private[0]"),
        ('[[credential]]\nname = "A"\nhosts = ["a.b"]', "credential[0].name"),
        ('[[credential]]\nname = "a"\nhosts = []', "credential[0].hosts"),
        ('[[credential]]\nname = "a"\nhosts = ["*"]', "credential[0].hosts[0]"),
        ('[[credential]]\nname = "a"\nhosts = ["*.b"]', "credential[0].hosts[0]"),
        ('[[credential]]\nname = "a"\nhosts = ["https://b"]', "credential[0].hosts[0]"),
        ('[[credential]]\nname = "a"\nhosts = ["B.example"]', "credential[0].hosts[0]"),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\npaths = ["v1"]', "credential[0].paths[0]"),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\npaths = ["/a/.."]', "credential[0].paths[0]"),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\ntools = []', "credential[0].tools"),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\nhow = "header"', "credential[0].field"),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\nfield = "X"', "credential[0].field"),
        (
            '[[credential]]\nname = "a"\nhosts = ["b"]\nhow = "header"\nfield = "X: y"',
            "credential[0].field",
        ),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\nuser = "me"', "credential[0].user"),
        (
            '[[credential]]\nname = "a"\nhosts = ["b"]\nsystemd = "x"\nsecret = "y"',
            "credential[0].systemd",
        ),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\nsecret = "sk-ABC/1"', "credential[0].secret"),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\n' * 2, "credential[1].name"),
        ('[[credential]]\nname = "a"\nhosts = ["b"]\nvalue = "x"', "credential[0].value"),
        ('[search]\nkind = "searxng"', "search.url"),
        ('[search]\nkind = "brave"', "search.credential"),
        ('[search]\nkind = "tavily"\ncredential = "none"', "search.credential"),
        (
            '[search]\nkind = "tavily"\ncredential = "a"\n'
            '[[credential]]\nname = "a"\nhosts = ["b"]',
            "search.credential",
        ),
    ],
)
def test_what_cannot_be_is_said_with_its_place(tmp_path: Path, text: str, at: str) -> None:
    """Nothing starts with a credential for any host, or an exception that opens this machine."""
    with pytest.raises(ConfigError) as told:
        _load(tmp_path, text)
    assert at in told.value.message


def test_known_secrets_are_those_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in secrets/, of backends elsewhere, of the systemd unit; one that is set later too."""
    units, elsewhere = tmp_path / "units", tmp_path / "provider.key"
    units.mkdir()
    (units / "token").write_text("value-of-the-unit")
    elsewhere.write_text("value-of-a-backend\n")
    (tmp_path / "stead.toml").write_text(
        f'[[backend]]\nname = "b"\nurl = "http://127.0.0.1:1/v1"\nkey_file = "{elsewhere}"\n'
    )
    store = SecretStore(tmp_path / "secrets")
    store.set("mail", "value-of-a-secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(units))
    monkeypatch.setattr("stead.sandbox.known._LOOK_S", 0.0)
    known = known_to(load(tmp_path))
    assert known.hide(
        "value-of-the-unit value-of-a-backend value-of-a-secret value-of-another"
    ) == ("[secret token] [secret provider.key] [secret mail] value-of-another")
    store.set("new", "value-of-another")
    assert known.hide("value-of-another") == "[secret new]"
