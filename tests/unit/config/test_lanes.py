"""Backends, lanes and judging rules in stead.toml: what is refused, and with which path."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.config import edit, load, value_of
from stead.config.lanes import APIS
from stead.core.errors import ConfigError
from stead.inference.seam import Api

HOUSE = """
[[backend]]
name = "home"
url = "http://nas:8080/v1"
urls = ["http://pi:8080/v1"]
models = [{ name = "qwen" }, { name = "llava-7b", alias = "llava", vision = "yes" }]

[[backend]]
name = "cloud"
kind = "anthropic"
url = "https://api.anthropic.com"
models = [{ name = "claude", usd_per_mtok_in = 3.0 }]
"""


def check(home: Path, text: str) -> None:
    (home / "stead.toml").write_text(HOUSE + text)
    load(home)


@pytest.mark.parametrize(
    "text",
    [
        '[[lane]]\nname = "main"\nmodels = ["qwen", "cloud/claude"]\npaid = true\ncloud = true',
        '[[lane]]\nname = "text-embedding-3-small"\nmodels = ["embed"]',
        '[[judge]]\nname = "e5"\nmodels = ["intfloat/e5"]\nlane = "embed"',
        '[[lane]]\nname = "claude"\nmodels = ["cloud/claude", "home/qwen"]',
        '[[lane]]\nname = "main"\nmodels = ["auto"]\n[[lane]]\nname = "cron"\nmodels = ["main"]',
        '[[lane]]\nname = "vision"\nmodels = ["llava", "llava-7b"]\nweights = [0, 0.5]',
        '[[lane]]\nname = "notes"\nmodels = ["review", "embed"]\nshadow = "home/llava"',
        '[model]\nmain = "review"\n[[lane]]\nname = "review"\nmodels = ["qwen"]',
        '[[judge]]\nname = "big"\nlane = "home/qwen"\nmin_chars = 20000\napis = ["messages"]',
        '[[judge]]\nname = "de"\nlane = "review"\nlanguage = ["de", "fr"]\nmodels = ["gpt-4o"]',
        '[model]\nlocal = "/weights/own.gguf"\n[[lane]]\nname = "a"\nmodels = ["own"]',
    ],
)
def test_right(tmp_path: Path, text: str) -> None:
    """Lanes name models by any of their names, other lanes, and the local model."""
    check(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ('[[lane]]\nname = "a"\nmodels = ["qwem"]', "lane[0].models[0]", "did you mean 'qwen'"),
        ('[[lane]]\nname = "a"\nmodels = []', "lane[0].models", "at least one"),
        ('[[lane]]\nname = "a/b"\nmodels = ["qwen"]', "lane[0].name", "not a name"),
        ('[[lane]]\nname = "auto"\nmodels = ["qwen"]', "lane[0].name", "meaning of its own"),
        ('[[lane]]\nname = "a"\nmodels = ["qwen", "qwen"]', "lane[0].models[1]", "twice"),
        (
            '[[lane]]\nname = "a"\nmodels = ["qwen"]\n[[lane]]\nname = "a"\nmodels = ["qwen"]',
            "lane[1].name",
            "two lanes",
        ),
        ('[[lane]]\nname = "a"\nmodels = ["a"]', "lane[0].models[0]", "circle: a -> a"),
        (
            '[[lane]]\nname = "a"\nmodels = ["qwen", "b"]\n[[lane]]\nname = "b"\nmodels = ["a"]',
            "lane[1].models[0]",
            "circle: a -> b -> a",
        ),
        (
            '[model]\nmain = "review"\n[[lane]]\nname = "review"\nmodels = ["main"]',
            "lane[0].models[0]",
            "circle",
        ),
        (
            '[[lane]]\nname = "main"\nmodels = ["cron"]',
            "lane[0].models",
            "circle: main -> cron -> main",
        ),
        ('[[lane]]\nname = "a"\nmodels = ["qwen"]\nweights = [1, 2]', "lane[0].weights", "1 mod"),
        ('[[lane]]\nname = "a"\nmodels = ["qwen"]\nweights = [0]', "lane[0].weights", "at least 0"),
        (
            '[[lane]]\nname = "a"\nmodels = ["qwen"]\nweights = [nan]',
            "lane[0].weights",
            "at least 0",
        ),
        ('[[lane]]\nname = "a"\nmodels = ["qwen"]\nshadow = "b"', "lane[0].shadow", "no model"),
        ('[[lane]]\nname = "a"\nmodels = ["qwen"]\nshadow_share = 2', "lane[0].shadow_share", "1"),
        ('[[lane]]\nname = "a"\nmodel = ["qwen"]', "lane[0].model", "lane[0].models"),
        ('[[judge]]\nname = "a"\nlane = "nope"', "judge[0].lane", "no model or lane"),
        (
            '[[judge]]\nname = "a"\nlane = "main"\napis = ["chat"]',
            "judge[0].apis",
            "chat/completions",
        ),
        (
            '[[judge]]\nname = "a"\nlane = "main"\nlanguage = ["tlh"]',
            "judge[0].language",
            "not one of",
        ),
        (
            '[[judge]]\nname = "a"\nlane = "main"\nmin_chars = 9\nmax_chars = 8',
            "judge[0].max_chars",
            "smaller",
        ),
        ('[[judge]]\nname = "a"\nlane = "main"\nmodels = []', "judge[0].models", "empty"),
        (
            '[[judge]]\nname = "a"\nlane = "main"\n[[judge]]\nname = "a"\nlane = "main"',
            "judge[1].name",
            "two rules",
        ),
        (
            '[[backend]]\nname = "b"\nurl = "http://b"\nurls = ["http://b/"]',
            "backend[2].urls[0]",
            "there already",
        ),
        ('[[backend]]\nname = "b"\nurl = "http://b"\nurls = ["b"]', "backend[2].urls[0]", "URL"),
        ('[[backend]]\nname = "local"\nurl = "http://b"', "backend[2].name", "local model"),
        (
            '[[backend]]\nname = "b"\nurl = "http://b"\nheaders = ["X-A"]',
            "backend[2].headers[0]",
            "not a header",
        ),
        (
            '[[backend]]\nname = "b"\nurl = "http://b"\nheaders = ["Host: a"]',
            "backend[2].headers[0]",
            "set by stead",
        ),
        (
            '[[backend]]\nname = "b"\nurl = "http://b"\nheaders = ["X-A: a\\nB: c"]',
            "backend[2].headers[0]",
            "not a header",
        ),
        (
            '[[backend]]\nname = "b"\nurl = "http://b"\napis = ["/v1/chat"]',
            "backend[2].apis",
            "not one of",
        ),
        (
            '[[backend]]\nname = "b"\nurl = "http://b"\nkind = "ollama"',
            "backend[2].kind",
            "openai",
        ),
    ],
)
def test_fault(tmp_path: Path, text: str, path: str, words: str) -> None:
    """What cannot be is refused with the path of the key, before anything starts with it."""
    with pytest.raises(ConfigError) as caught:
        check(tmp_path, text)
    assert caught.value.param == path, caught.value.message
    assert words in caught.value.message


def test_apis_are_those_of_the_door() -> None:
    """What the configuration knows as APIs is what the model door has."""
    assert set(APIS) == {api.value for api in Api}


def test_set_weights(tmp_path: Path) -> None:
    """`stead config set` takes numbers with commas for shares."""
    text = '[[lane]]\nname = "a"\nmodels = ["qwen", "llava"]\n'
    (tmp_path / "stead.toml").write_text(HOUSE + text)
    edit(tmp_path, "lane[0].weights", value_of("lane[0].weights", "9, 1"))
    assert load(tmp_path).settings.lane[0].weights == [9.0, 1.0]
    with pytest.raises(ConfigError):
        edit(tmp_path, "lane[0].weights", value_of("lane[0].weights", "nine"))


def test_what_is_too_deep_or_too_long(tmp_path: Path) -> None:
    """A file that no reader can read is refused like any other with a fault."""
    for text in ("x = " + "[" * 5000, "x = " + "9" * 5000):
        (tmp_path / "stead.toml").write_text(text)
        with pytest.raises(ConfigError, match="not TOML"):
            load(tmp_path)
    chain = (
        "".join(f'[[lane]]\nname = "l{n}"\nmodels = ["l{n + 1}"]\n' for n in range(1, 2000))
        + '[[lane]]\nname = "l2000"\nmodels = ["auto"]\n'
    )
    with pytest.raises(ConfigError) as caught:
        check(tmp_path, chain)
    assert caught.value.param == "lane"
