"""Texts in a body: found where they stand, and changed with no other byte."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stead.inference.policy.texts import texts_of, with_texts

_PICTURE = "iVBORw0KGgo" * 40
_TEXT = st.text('ab1:,{}[] "\\/\n\t\u00e9\u2028\x7f\U0001f600', max_size=9)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=15,
)


def _values(value: Any) -> list[str]:
    """All strings in it that are values, in their order."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for one in value for text in _values(one)]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _values(one)]
    return []


@given(_JSON, st.booleans(), st.sampled_from([None, 1, 3]))
@settings(max_examples=40)
def test_every_text_that_is_a_value(value: Any, ascii_only: bool, indent: int | None) -> None:
    """Whatever the document and however it is written: its strings, but no keys, as json has them
    (those too short for anything to stand in are left out)."""
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    expected = [text for text in _values(json.loads(body)) if len(text) >= 3]
    found = [one for one in texts_of(body) if len(one.text) >= 3]
    assert [one.text for one in found] == expected
    for one in found:
        assert body[one.start : one.start + 1] == body[one.end - 1 : one.end] == b'"'


@given(_JSON, st.integers(0, 5))
@settings(max_examples=40)
def test_one_text_changes_and_no_other_byte(value: Any, which: int) -> None:
    """What is put in place of a text is read back as it was meant; all else keeps its bytes."""
    body = json.dumps(value, indent=2).encode()
    found = list(texts_of(body))
    if not found:
        return
    place = found[which % len(found)]
    new = 'a "new" \\ text\n\u00e9'
    changed = with_texts(body, [(place, new)])
    assert changed.startswith(body[: place.start]) and changed.endswith(body[place.end :])
    middle = changed[place.start : len(changed) - (len(body) - place.end)]
    assert json.loads(middle) == new


def test_pictures_and_signatures_are_no_texts() -> None:
    """Long base64 where such stands is passed over; a text in such a place is not."""
    body = json.dumps(
        {
            "a": {"url": f"data:image/png;base64,{_PICTURE}"},
            "b": {"data": _PICTURE, "type": "image"},
            "c": {"signature": _PICTURE, "thinking": "my own words"},
            "d": {"data": "a document in plain text. " * 30, "url": "https://example.com/secret"},
            "e": _PICTURE,
        }
    ).encode()
    texts = [one.text for one in texts_of(body)]
    assert texts == [
        "my own words", "a document in plain text. " * 30, "https://example.com/secret",
        _PICTURE,
    ]  # fmt: skip


def test_the_words_of_the_api_are_no_texts() -> None:
    """Neither the model's name nor roles and types are looked at: changed, the request would be
    another. Elsewhere, and as soon as they are long, they are texts like all others."""
    long = "x" * 70
    body = json.dumps(
        {
            "model": "walnut", "messages": [{"role": "user", "content": "walnut"}],
            "metadata": {"model": "of a car"}, "type": long,
        }
    ).encode()  # fmt: skip
    assert [one.text for one in texts_of(body)] == ["walnut", "of a car", long]


def test_what_is_no_json_breaks_nothing() -> None:
    """Of broken documents it gives what it can."""
    for body in (
        b'"',
        b'{"a": "b',
        b"]]]}}}",
        b'{"a":',
        b'["x\\',
        b"",
        b'"\\ud800abc"',
        b'"\xff\xfe\xfd"',
    ):
        list(texts_of(body))
