"""Text of others is shown as it is: nothing in it hides, turns round or runs over."""

from __future__ import annotations

import unicodedata

import pytest

from stead.pages.plain import cut, line, plain


@pytest.mark.parametrize("code", [0x202E, 0x2066, 0x200B, 0xFEFF, 0xAD, 0x1B, 0xE0041, 0xD800])
def test_what_is_not_seen_is_shown(code: int) -> None:
    """An override, an isolate, a character of no width, an escape, a tag, half a character."""
    assert plain(f"rm{chr(code)}x") == f"rm⟨U+{code:04X}⟩x"


def test_no_hidden_character_is_left() -> None:
    """Of all there are: none that formats or controls, but the joiners, tab and line break."""
    every = "".join(map(chr, range(0x110000)))
    left = {
        char
        for char in plain(every)
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and unicodedata.bidirectional(char) not in ("AN",)  # signs of numbers, which are seen
    }
    allowed = {"\t", "\n", "\u200c", "\u200d", "\u070f"}  # the last one draws a line
    assert {char for char in left - allowed if ord(char) < 0x10000} == set()


def test_what_people_write_is_left_alone() -> None:
    """Scripts of either direction, their joiners, accents, pictures put together."""
    for text in ("שלום עולם", "نمی‌خواهم", "à la carte", "👩‍👩‍👧", "ยิ้ม", "a\tb\nc"):
        assert plain(text) == text


def test_piled_marks_are_cut() -> None:
    """Marks upon marks do not run over the lines above."""
    assert len(plain("o" + "\u0301" * 5000)) < 20


def test_lines_are_one_and_short() -> None:
    """However much there is; and a megabyte costs no more than what is shown."""
    assert line("a\n b\r\n\tc") == "a b c"
    assert len(line("x" * 1_000_000, 50)) == 50
    assert line("x " * 500_000, 10).endswith("…")
    assert cut("y" * 1_000_000, 100) == "y" * 100
