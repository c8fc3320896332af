"""Reading a reply out of streamed JSON."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stead.agent.choose import Schema
from stead.agent.reply import ReplyReader, sound
from stead.agent.tools.base import Context, Toolbox

TEXT = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates too
ODD = st.lists(
    st.sampled_from(['"', "\\", "\n", "\t", "é", "😀", "\ud83d", "\ude00", "u", "/", "a"])
)
ANY_TEXT = TEXT | ODD.map("".join)
SPACE = st.sampled_from(["", " ", "\n  "])


def pieces(raw: str, cuts: list[int]) -> list[str]:
    at = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    return [raw[a:b] for a, b in pairwise(at)]


@given(ANY_TEXT, st.booleans(), st.lists(st.integers(0, 10_000)), SPACE, SPACE)
def test_any_text_cut_anywhere(
    text: str, ascii_only: bool, cuts: list[int], before: str, between: str
) -> None:
    """However the JSON of a reply is written and cut, its text comes out whole and in order."""
    raw = (
        f'{before}{{{before}"reply"{between}:{between}{json.dumps(text, ensure_ascii=ascii_only)}}}'
    )
    expected = sound(json.loads(raw)["reply"])
    reader = ReplyReader()
    given_out = [reader.feed(piece) for piece in pieces(raw, cuts)]
    assert "".join(given_out) == reader.text
    if ascii_only:
        assert reader.text == expected
    else:  # raw surrogates cannot come over the wire as UTF-8; each is replaced
        assert reader.text == sound(text) or "\ud83d" in text or reader.text == expected


@given(ANY_TEXT.map(sound), st.lists(st.integers(0, 10_000)))
def test_nothing_is_taken_back(text: str, cuts: list[int]) -> None:
    """What was given out at any moment is the beginning of the whole text."""
    reader = ReplyReader()
    for piece in pieces(json.dumps({"reply": text}), cuts):
        reader.feed(piece)
        reader.text.encode()
        assert text.startswith(reader.text)
    assert reader.text == text


@given(ANY_TEXT.map(sound), st.integers(0, 10_000))
def test_a_cut_answer_keeps_its_beginning(text: str, cut: int) -> None:
    """An answer that ends in the middle gives what was there."""
    raw = json.dumps({"reply": text})
    reader = ReplyReader()
    reader.feed(raw[: cut % (len(raw) + 1)])
    assert text.startswith(reader.text)


def test_other_shapes_give_nothing() -> None:
    """Only the reply is shown: no tool call, no argument named reply, no prose."""
    for raw in ('{"tool": "x", "args": {"reply": "no"}}', "reply", '["reply"]', "x" * 999):
        reader = ReplyReader()
        assert reader.feed(raw) == ""
        assert reader.raw == raw


def test_what_follows_the_reply_is_not_shown() -> None:
    """The text ends at the closing quote, whatever comes after it."""
    reader = ReplyReader()
    assert reader.feed('{"reply": "a"') == "a"
    assert reader.feed(', "b": "c"}') == ""


@given(ANY_TEXT, st.sampled_from(["stop", "length"]))
def test_the_shown_is_the_answer(text: str, finish: str) -> None:
    """What the stream showed and what the answer holds are the same text."""
    reader = Schema("", Toolbox([], Context(Path("/")))).reader()
    shown = "".join(reader.feed(piece) for piece in pieces(json.dumps({"reply": text}), [3, 11]))
    answer = reader.end((), finish, final=False)
    assert bool(answer.fault) == (not shown.strip())
    assert answer.fault or answer.text == shown
