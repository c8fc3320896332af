"""The pieces of `stead chat`: rows, pastes, questions, what is a command."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stead.cli.common import harmless
from stead.cli.talk.commands import is_command, meant
from stead.cli.talk.folds import Folds
from stead.cli.talk.questions import Question
from stead.cli.talk.rows import Rows, clipped, columns

CALL = {
    "id": "0199aaaa-0000-7000-8000-0000000000c3", "kind": "call", "offers": ["once", "job", "no"],
    "state": "open", "preview": "rm\x1b[2K -rf\u202e build", "tool": "shell", "args": "{}",
    "why": "the rule x", "foreign": False, "asked_at": 0, "expires_at": 0, "seq": 2,
    "job_id": "0199aaaa-0000-7000-8000-0000000000a1", "always": "",
}  # fmt: skip


def rows_of(pieces: list[str], width: int) -> list[str]:
    rows = Rows(lambda: width)
    out: list[str] = []
    for piece in pieces:
        out += rows.add(piece)
    return out + rows.end()


@given(
    st.text(st.sampled_from("ab -|`.~>1)\n\t日本、。「é👩\u200d"), max_size=200),
    st.lists(st.integers(1, 9), min_size=1),
    st.integers(1, 40),
)
def test_rows_do_not_depend_on_pieces(text: str, sizes: list[int], width: int) -> None:
    """However the text of an answer is cut, the rows are the same, and none of its words is
    lost."""
    pieces, at, n = [], 0, 0
    while at < len(text):
        pieces.append(text[at : at + sizes[n % len(sizes)]])
        at += len(pieces[-1])
        n += 1
    rows = rows_of(pieces, width)
    assert rows == rows_of([text], width)
    assert "".join("".join(rows).split()) == "".join(text.split())


def test_rows_of_lists_and_code() -> None:
    """The rows of an entry of a list stand under each other; code is left as it is."""
    text = "- an entry that is long\n```\nx = 'a long line of code'\n```\n"
    assert rows_of([text], 14) == [
        "- an entry", "  that is long", "```", "x = 'a long line of code'", "```",
    ]  # fmt: skip


def test_a_large_answer_in_one_line() -> None:
    """A megabyte without a break is given out as it comes."""
    rows = Rows(lambda: 80)
    out = rows.add("x" * 1_000_000)
    assert len("".join(out)) > 990_000 and len(rows.tail) < 10_000
    assert clipped(rows.tail + "日", 10).endswith("x日")
    assert columns(clipped("日" * 20, 10)) <= 10


def test_long_pastes_are_folded() -> None:
    """What is long is shown in short and sent whole; what only looks like it is left alone."""
    folds, long = Folds(), "line\n" * 50
    assert folds.fold("short") == "short"
    shown = folds.fold(long)
    assert shown == "[pasted 1: 51 lines]" == folds.fold(long)
    assert folds.unfold(f"a {shown} b") == f"a {long} b"
    for other in ("[pasted 2: 51 lines]", "[pasted 1: 9 lines]", "[pasted x: 1 lines]"):
        assert folds.unfold(other) == other


def test_answers_to_a_question() -> None:
    """Only what says so plainly allows a call, and only as it was offered."""
    asked = Question("j", dict(CALL))
    for said, word in {
        "yes": ("once", ""), "Y": ("once", ""), "job": ("job", ""), "no": ("no", ""),
        "No, not now": ("no", "not now"), "always": None, "yes please delete it": None,
        "nothing": None, "": None, "yesterday": None,
    }.items():  # fmt: skip
        assert asked.meant(said) == word, said
    own = Question("j", {**CALL, "kind": "question", "offers": []})
    assert own.meant("the blue one") == ("answer", "the blue one")
    cut = Question("j", None, "Was it sent?")
    assert cut.meant("Done") == ("done", "") and cut.meant("yes") is None


def test_a_question_hides_nothing() -> None:
    """What is to be allowed is shown with all that is in it."""
    shown = "\n".join(Question("j", dict(CALL)).shown())
    assert "rm␛[2K -rf� build" in shown and "always" not in shown


def test_what_is_a_command() -> None:
    """A word behind a slash is; a path is not, and // says a slash."""
    assert is_command("/stop") and is_command("/odd word")
    assert not is_command("/etc/hosts what is it?") and not is_command("and/or")
    assert not is_command("//stop") and meant("//stop") == "/stop"


def test_harmless() -> None:
    """Nothing that a terminal acts on is left, and nothing that turns text around."""
    text = harmless("a\r\nb\tc\x1b]0;x\x07\x9b\u202e\u2066\u200f\ud800\u2028d")
    assert text == "a\nb\tc␛]0;x␇�����"[:-1] + "\nd"
    text.encode()
