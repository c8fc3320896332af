"""What is taken for the owner's word on a question, and what is not."""

from __future__ import annotations

import pytest

from stead.core.approvals import Decided
from stead.core.errors import AlreadyAnswered, NotFound
from stead.core.nouns import Inbound
from stead.flow.said import answered


class Asked:
    """Takes words down."""

    def __init__(self) -> None:
        self.words: list[tuple[str, str, str, str]] = []

    async def decide(self, ident: str, word: str, text: str, by: str) -> Decided:
        if ident.startswith("0000"):
            raise NotFound(what="question")
        if ident.startswith("dead"):
            raise AlreadyAnswered(ident=ident, what="you said 'once'")
        self.words.append((ident, word, text, by))
        return Decided({"preview": "write to bob"}, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("approve 1a2b3c4d", ("1a2b3c4d", "once", "")),
        ("  Approve 1A2B3C4D  Job ", ("1a2b3c4d", "job", "")),
        ("/approve 1a2b3c4d always\n", ("1a2b3c4d", "always", "")),
        ("deny 1a2b3c4d", ("1a2b3c4d", "no", "")),
        ("deny 1a2b3c4d: not\ntoday", ("1a2b3c4d", "no", "not\ntoday")),
        ("answer 1a2b3c4d blue", ("1a2b3c4d", "answer", "blue")),
    ],
)
async def test_a_word_on_a_question(text: str, word: tuple[str, str, str]) -> None:
    """In any case and with any white space; by whom is told by the channel."""
    asked = Asked()
    assert await answered(Inbound("phone", "1", text), asked.decide) is not None
    assert asked.words == [(*word, "owner (phone)")]


@pytest.mark.parametrize(
    "text",
    [
        "approve", "approve the budget", "approve 1a2b3c4d perhaps", "please approve 1a2b3c4d",
        "approve 1a2b", "approve 00001111", "I approve 1a2b3c4d", "approved 1a2b3c4d",
        "deny everything", "answer me", "",
    ],
)  # fmt: skip
async def test_anything_else_is_a_message(text: str) -> None:
    """Also what names a question that is not there."""
    asked = Asked()
    assert await answered(Inbound("cli", "1", text), asked.decide) is None
    assert asked.words == []


async def test_others_have_no_say() -> None:
    """What comes by a channel that others write to approves nothing."""
    asked = Asked()
    message = Inbound("shop", "1", "approve 1a2b3c4d", foreign=True)
    assert await answered(message, asked.decide) is None
    assert asked.words == []


async def test_too_late_is_told() -> None:
    """A word on a question that is over is answered with what became of it."""
    told = await answered(Inbound("cli", "1", "approve deadbeef"), Asked().decide)
    assert told is not None and "you said 'once'" in told
