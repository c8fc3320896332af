"""Values of secrets are found in whatever form they come out by accident."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import textwrap
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.sandbox.mask import Masker

VALUE = 'k3y/with+odd="chars"&more\\than;enough'
PEM = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(
    textwrap.wrap(base64.b64encode(bytes(range(200))).decode(), 64)
) + "\n-----END PRIVATE KEY-----\n"  # fmt: skip


def forms(value: str) -> dict[str, str]:
    raw = value.encode()
    return {
        "raw": value,
        "reversed": value[::-1],
        "json": json.dumps(value),
        "json twice": json.dumps(json.dumps({"a": value})),
        "html": html.escape(value),
        "url": quote(value, safe=""),
        "url, path": quote(value),
        "url, form": quote_plus(value),
        "url, lower case": re.sub("%..", lambda m: m[0].lower(), quote(value, safe="")),
        "url, all of it": "".join(f"%{byte:02X}" for byte in raw),
        "shell": shlex.quote(value),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "hex in pairs": raw.hex(" "),
        "hex with colons": raw.hex(":"),
        "hex escapes": "".join(f"\\x{byte:02x}" for byte in raw),
        "hex numbers": ", ".join(hex(byte) for byte in raw if byte > 15),
        "base64": base64.b64encode(raw).decode(),
        "base64 url": base64.urlsafe_b64encode(raw).decode(),
        "broken lines": "\n".join(textwrap.wrap(value, 11)),
        "basic": base64.b64encode(b"user:" + raw).decode(),
    }


@pytest.mark.parametrize("form", forms(VALUE))
def test_every_form_is_found(form: str) -> None:
    """Whatever writes the value, the value is not in what is handed on."""
    text = f"before {forms(VALUE)[form]} after"
    masked = Masker({"mail": VALUE}).mask(text)
    assert "[secret mail]" in masked
    assert masked.startswith("before ") and masked.endswith(" after")
    for part in (forms(VALUE)[form][4:20], VALUE[4:20]):
        assert part not in masked


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("width", [0, 60, 76])
def test_base64_at_any_place_of_any_text(before: int, width: int) -> None:
    """A key in a file that is printed in base64, broken into lines or not, is found."""
    data = b"a" * (50 + before) + VALUE.encode() + b"z" * 90
    text = base64.b64encode(data).decode()
    if width:
        text = "\n".join(textwrap.wrap(text, width))
    masked = Masker({"mail": VALUE}).mask(text)
    assert masked.count("[secret mail]") == 1
    assert base64.b64encode(VALUE.encode()).decode()[8:20] not in masked


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8, max_size=60),
    st.text(max_size=30),
    st.sampled_from(["raw", "json", "hex", "base64", "url", "reversed"]),
)
@settings(max_examples=150, deadline=None)
def test_any_value_in_any_surroundings(value: str, around: str, form: str) -> None:
    """Not just values that look like keys."""
    value = value.strip()
    if len(value) < 8 or len(value.splitlines()) > 1 or len(set(value.split())) == 0:
        return
    if len("".join(value.split()).replace("\\", "")) < 8:
        return
    written = forms(value)[form]
    assert written.strip('"') not in Masker({"n": value}).mask(f"{around}¦{written}¦{around}")


def test_what_holds_no_secret_is_untouched() -> None:
    """The very same text comes back."""
    masker = Masker({"a": VALUE, "b": "hunter2!"})
    for text in ("", "nothing here", "hunter\n3!", "\ud800 lone", "x" * 100_000):
        assert masker.mask(text) is text
    assert Masker().mask(VALUE) is VALUE


def test_short_values_only_where_they_stand_alone() -> None:
    """A PIN is hidden as a word and does not tear up numbers; what is shorter yet is left alone."""
    masker = Masker({"pin": "4711", "tiny": "abc"})
    assert masker.mask("pin=4711, 147115, abc") == "pin=[secret pin], 147115, abc"


def test_each_line_of_a_private_key() -> None:
    """A part of a key is a secret too, as is all of it in one line of JSON."""
    masker = Masker({"key": PEM})
    line = PEM.splitlines()[2]
    assert line not in masker.mask(f"grep says: {line}")
    assert line not in masker.mask(json.dumps({"key": PEM}))


def test_all_texts_of_a_structure() -> None:
    """Keys and values of what becomes JSON."""
    masked = Masker({"a": VALUE}).mask_all({VALUE: [1, None, (f"x{VALUE}",), {"b": 2.5}]})
    assert masked == {"[secret a]": [1, None, ["x[secret a]"], {"b": 2.5}]}


@given(
    st.lists(st.sampled_from([VALUE, VALUE[:-1], "4711", " ", "abc\n", "x" * 50]), max_size=8),
    st.lists(st.integers(1, 60), min_size=1, max_size=40),
    st.sampled_from(["raw", "base64", "hex", "hex in pairs", "broken lines"]),
)
@settings(max_examples=150, deadline=None)
def test_a_stream_hides_what_the_whole_would(parts: list[str], sizes: list[int], form: str) -> None:
    """However a text is cut into pieces, no value gets through, and nothing else is lost."""
    data = "".join(forms(part)[form] if part == VALUE else part for part in parts).encode()
    masker = Masker({"a": VALUE})
    stream, out, at = masker.stream(), b"", 0
    while at < len(data):
        for size in sizes:
            out += stream.feed(data[at : at + size])
            at += size
    out += stream.end()
    assert out == masker.mask_bytes(data)


def test_a_stream_holds_nothing_back_needlessly() -> None:
    """Words that cannot be the beginning of a value arrive as they come."""
    stream = Masker({"a": "zzzzzzzzzzzz"}).stream()
    assert stream.feed(b"good morning!") == b"good morning!"
    assert stream.feed(b" zzzz") + stream.feed(b"!") == b" zzzz!"
