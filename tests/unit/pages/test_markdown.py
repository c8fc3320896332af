"""What a model wrote can do nothing in a page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.pages.chat.markdown import harmless, rendered

_ALLOWED = re.compile(
    r"</?(?:p|br|hr|h[1-6]|ul|ol|li|blockquote|pre|code|em|strong|s|del|a|table|thead|tbody|tr|th|td"
    r"|small)\b[^<>]*>"
)
_PARTS = [
    "<script>", "</script>", "<img src=x onerror=alert(1)>", "![x](https://evil.example/?q=1)",
    "[x](javascript:alert(1))", "[a](data:text/html,x)", "<svg/onload=1>", "`", "```", "\n",
    "\n\n",
    "> ", "- ", "| a | b |\n|-|-|\n", "[", "](", ")", "*", "&lt;", "&#x3c;script>", "\u202e",
    "\x00",
    "<a href='https://x.example' onclick=1>", "![", "<https://x.example>", "[r]: /x\n", "[r]",
    "'\"",
]  # fmt: skip


@given(st.lists(st.sampled_from(_PARTS) | st.text(max_size=6), max_size=14).map("".join))
def test_whatever_is_written_nothing_of_it_acts(text: str) -> None:
    """No element but those of texts, no attribute that acts, no address but of the web and mail,
    nothing that is fetched by being shown."""
    html = str(rendered(text))
    left = _ALLOWED.sub("", html)
    assert "<" not in left
    for tag in re.findall(r"<[^>]*>", html):
        assert not re.search(r"\s(?:on\w+|src|style|srcset|formaction)\s*=", tag)
        for href in re.findall(r'href="([^"]*)"', tag):
            assert re.match(r"(?:https?:|mailto:)", href, re.IGNORECASE), href
    assert not set(html) & set("\u202e\u2066\x00")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("**a** `b`", "<strong>a</strong> <code>b</code>"),
        ("![a cat](https://x.example/c.png)", "[picture: a cat]</a>"),
        ("[https://bank.example](https://evil.example/x)", "<small>(evil.example)</small>"),
        ("```python\n1 < 2\n```", '<code class="language-python">1 &lt; 2'),
        ("a\u202egpj.exe", "agpj.exe"),
        ("شكرا", "شكرا"),
    ],
)
def test_what_is_meant_is_shown(text: str, wanted: str) -> None:
    """Words, code, and what a link or a picture is, and where it goes."""
    assert wanted in str(rendered(text))
    assert "(bank.example)" not in str(rendered("[https://bank.example/x](https://bank.example/)"))


def test_what_nobody_sees_changes_nothing() -> None:
    """Characters that turn the direction of writing, or none, are not passed on."""
    assert harmless("a\u202eb\u2066c\x1b[2Jd\n\te") == "abc\ufffd[2Jd\n\te"
