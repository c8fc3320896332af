"""What URLs and calls are taken for, before anything is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from stead.agent.tools import TOOLS, asking_child
from stead.agent.tools.base import Context, Toolbox, ToolError
from stead.agent.tools.urls import read_url
from stead.agent.web import Web
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Word
from stead.sandbox.secrets import Credential, Source


@pytest.mark.parametrize(
    "url",
    ["", "file:///etc/passwd", "ftp://a.example/", "gopher://a", "http://", "http://a b/",
     "http://u:p@a.example/", "http://a.example:99999/", "http://0x7f.1/", "http://2130706433/",
     "http://a.example\\@b.example/", "http://a\n.example/", "https://" + "a" * 9000,
     "javascript:alert(1)", "/etc/passwd", "data:text/html,x", "http://127.1/", "http://a..b/"],
)  # fmt: skip
def test_odd_urls_are_refused_in_words(url: str) -> None:
    """Before a sandbox is started."""
    with pytest.raises(ToolError):
        read_url(url)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("example.com", "https://example.com/"),
        ("HTTP://Example.COM:80/a?b=c#d", "http://example.com/a?b=c"),
        (
            "https://m\u00fcller.example/\u00fc?q=\u00e4 b",
            "https://xn--mller-kva.example/%C3%BC?q=%C3%A4%20b",
        ),
        ("http://[2606:4700::1]:8080", "http://[2606:4700::1]:8080/"),
        ("https://a.example/%2F?x=%20+", "https://a.example/%2F?x=%20+"),
    ],
)
def test_urls_have_one_form(url: str, read: str) -> None:
    """In which they are judged, shown and asked for."""
    assert read_url(url).text == read
    assert read_url(read).text == read


def test_what_a_call_is_taken_for(tmp_path: Path) -> None:
    """To read is harmless and may be repeated; to send is asked about, before and after."""
    web = Web((Credential("api", Source(file="key"), ("localhost",)),))
    tools = Toolbox(TOOLS, Context(tmp_path, web=web))
    for method, effects, rule, word in (
        ("GET", Effects.NONE, OnUnknown.REPEAT, Word.ALLOW),
        ("HEAD", Effects.NONE, OnUnknown.REPEAT, Word.ALLOW),
        ("POST", Effects.OUTSIDE, OnUnknown.ASK, Word.ASK),
        ("DELETE", Effects.OUTSIDE, OnUnknown.ASK, Word.ASK),
    ):
        call = {"url": "https://localhost/v1", "method": method, "credential": "api", "body": "x"}
        tool, args = tools.read("http", json.dumps(call))
        assert (tool.effects, tool.on_unknown, tool.default) == (effects, rule, word)
        assert tool.touches is not None and tool.preview is not None
        touched = tool.touches(args, Context(tmp_path, web=web))
        assert (touched.hosts, touched.credentials) == (("localhost",), ("api",))
        assert touched.foreign and touched.sends is (effects is Effects.OUTSIDE)
        shown = tool.preview(args, Context(tmp_path))
        assert shown.startswith(f"{method} https://localhost/v1\n") and "'api'" in shown


def test_without_the_extra_the_words_of_a_page_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where trafilatura is not installed a page is read as plain text: words and lists, a line a
    block, without scripts."""
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    page = (
        "<html><head><title>t</title><style>p {}</style></head><body><h1>On  walls</h1>"
        "<p>one<br>two &amp; three<script>alert('<p>no</p>')</script><ul><li>a<li>b</ul></body>"
    )
    text, by = asking_child._markdown(page, "https://a.example/")
    assert by == "plain"
    assert [line for line in text.splitlines() if line] == [
        "On walls", "one", "two & three", "- a", "- b",
    ]  # fmt: skip
