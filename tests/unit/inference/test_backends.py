"""What a backend is by its address and its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.core.errors import BackendFailed
from stead.inference.backends import Backend, BackendModel, FileKey
from stead.inference.houses import in_house


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/v1",
        "http://localhost:11434",
        "http://user:word@192.168.1.20:1234/v1",
        "http://10.1.2.3",
        "http://172.31.0.9",
        "http://169.254.3.4",
        "http://[::1]:8080",
        "http://[fd12:3456::1]/v1",
        "http://[fe80::1%25eth0]/v1",
        "http://[::ffff:192.168.0.1]/v1",
        "http://nas:8080/v1",
        "http://studio.local:8080/v1",
        "https://ai.home.arpa./v1",
        "http://0.0.0.0:8000/v1",
    ],
)
def test_in_the_house(url: str) -> None:
    """Loopback, private and link-local addresses, and names that only exist at home."""
    assert in_house(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://8.8.8.8",
        "http://172.32.0.1",
        "http://100.64.0.1",
        "http://203.0.113.7",
        "http://[2001:db8::1]/v1",
        "http://[::ffff:8.8.8.8]/v1",
        "http://2130706433/v1",
        "http://0x08080808/",
        "http://134744072",
        "http://192.168.1.20.evil.example/v1",
        "http://local/..@cloud.example/",
        "https://user@cloud.example:443/v1",
        "http://[nonsense/v1",
        "",
    ],
)
def test_out_there(url: str) -> None:
    """What cannot be told for sure is out there: rules that keep things in rely on it."""
    assert in_house(url) is (url == "http://local/..@cloud.example/")


def test_kinds() -> None:
    """What a backend speaks, how it takes its key and where it is follow from kind and address."""
    openai = Backend("a", "https://api.openai.com/v1", "k1")
    llama = Backend("b", "http://nas:8080/v1", "k2", headers=(("X-Title", "stead"),))
    claude = Backend("c", "https://api.anthropic.com/v1", " k3\n", kind="anthropic")
    assert "responses" in openai.apis and "responses" not in llama.apis
    assert claude.apis == {"messages", "messages/count_tokens"}
    assert (openai.house, llama.house, claude.house) == (False, True, False)
    assert llama.auth() == {"authorization": "Bearer k2", "x-title": "stead"}
    assert claude.auth() == {"x-api-key": "k3"}
    assert Backend("d", "http://x", "k", key_style="none").auth() == {}
    assert Backend("e", "http://x").auth() == {}
    told = Backend("f", "http://nas/v1", where="cloud", apis=frozenset({"rerank"}))
    assert not told.house and told.apis == {"rerank"}


def test_a_house_that_passes_on() -> None:
    """Ollama's cloud models are asked for at home and run elsewhere; so may any that says so."""
    at_home = Backend("ollama", "http://127.0.0.1:11434/v1")
    assert at_home.keeps(BackendModel("qwen3:8b"))
    assert not at_home.keeps(BackendModel("gpt-oss:120b-cloud"))
    assert not at_home.keeps(BackendModel("kimi-k2:cloud"))
    assert not at_home.keeps(BackendModel("proxied", where="cloud"))
    assert Backend("x", "https://vpn.example/v1").keeps(BackendModel("own", where="house"))


def test_key_of_a_file(tmp_path: Path) -> None:
    """A key comes from its file without being read for each request; a lost file is told."""
    file = tmp_path / "key"
    file.write_text("one\n")
    backend = Backend("a", "http://x", FileKey(file))
    assert backend.auth() == {"authorization": "Bearer one"}
    assert Backend("a", "http://x", FileKey(tmp_path / "none")).house is True
    with pytest.raises(BackendFailed, match="key_file"):
        Backend("a", "http://x", FileKey(tmp_path / "none")).auth()
