"""What a browser shows for what was said."""

from __future__ import annotations

import json

from stead.core.push import Word
from stead.push.pusher import Notice, notices


def word(text: str, session: str = "main", role: str = "notice", question: bool = False) -> Word:
    return Word(1, session, role, "cli", text, 0, question)


def test_the_newest_of_each_conversation() -> None:
    """Many words of one conversation are one notice; of many conversations, their number."""
    made = notices([word("a"), word("b"), word("c", "other")], True)
    assert [(one.body, one.tag) for one in made] == [("b", "main"), ("c", "other")]
    (all_in_one,) = notices([word("x", f"s{n}") for n in range(30)], True)
    assert "30" in all_in_one.body
    assert notices([], True) == []


def test_words_are_short_and_may_be_left_out() -> None:
    """A long text is cut; who wants no words on a locked screen gets none."""
    (shown,) = notices([word("secret " * 100, question=True)], True)
    assert len(shown.body) <= 160
    assert (shown.path, shown.title) == ("/approvals", "stead asks you")
    (hidden,) = notices([word("secret", question=True)], False)
    assert "secret" not in hidden.text()


def test_a_member_is_led_to_the_conversation_as_they_call_it() -> None:
    """The inner name of a person's conversation stays inside."""
    session = "person:0199f3aa-0000-7000-8000-000000000001:trip/a b"
    (made,) = notices([word("hi", session, "assistant")], True)
    assert made.path == "/chat/trip%2Fa%20b"


def test_the_length_tells_nothing() -> None:
    """Payloads are padded to one of few lengths, and still JSON."""
    for body in ("", "x", "ü" * 160):
        text = Notice("t", body, "/", "tag").text()
        assert len(text.encode()) % 512 == 0
        assert json.loads(text)["body"] == body
