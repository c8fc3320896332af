"""The profile for macOS, looked at as text: there is no such machine here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stead.sandbox.box import Box, Mount
from stead.sandbox.errors import BadBox
from stead.sandbox.seatbelt import profile, quoted


def read(text: str) -> list[object]:
    """The profile as lists of words; a string is a tuple. Fails on what does not balance."""
    words = _words(text)
    found: list[object] = []
    for word in words:
        found.append(_form(word, words))
    return found


def _form(word: object, words: Iterator[object]) -> object:
    if word == ")":
        raise AssertionError("a bracket too many")
    if word != "(":
        return word
    inner: list[object] = []
    for more in words:
        if more == ")":
            return inner
        inner.append(_form(more, words))
    raise AssertionError("a bracket that is not closed")


def _words(text: str) -> Iterator[object]:
    at = 0
    while at < len(text):
        sign = text[at]
        if sign.isspace():
            at += 1
        elif sign in "()":
            yield sign
            at += 1
        elif sign == '"':
            said, at = "", at + 1
            while text[at] != '"':
                at += text[at] == "\\"
                said, at = said + text[at], at + 1
            yield (said,)
            at += 1
        else:
            start = at
            while at < len(text) and not text[at].isspace() and text[at] not in '()"':
                at += 1
            yield text[start:at]


def rules(text: str, word: str, what: str) -> list[str]:
    """The paths of all rules such as ``(allow file-write* (subpath "...")...)``."""
    found = []
    for form in read(text):
        assert isinstance(form, list)
        if form[0] == word and what in form:
            found += [part[1][0] for part in form if isinstance(part, list) and len(part) == 2]
    return found


def test_the_golden_profile(tmp_path: Path) -> None:
    """Of a plain box: everything is denied first, only its folder is written, no network."""
    mine, scratch = tmp_path / "mine", tmp_path / "scratch"
    mine.mkdir()
    scratch.mkdir()
    text = profile(Box("t", (Mount(mine, write=True),)), scratch)
    lines = text.splitlines()
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert rules(text, "allow", "file-write*") == [str(mine), str(scratch)]
    assert "(deny network*)" in lines
    assert not any(line.startswith("(allow network") for line in lines)
    assert not any('subpath "/")' in line or "/Users" in line for line in lines)
    read(text)


@pytest.mark.parametrize("name", ['a"b', "a\\", 'x") (allow default) ("', "a (b) c", "ä ö"])
def test_a_hostile_name_stays_a_name(tmp_path: Path, name: str) -> None:
    """A folder's name cannot close its string and go on as a rule."""
    folder = tmp_path / name
    folder.mkdir()
    text = profile(Box("t", (Mount(folder, write=True),)), tmp_path)
    assert rules(text, "allow", "file-write*")[0] == str(folder)
    assert not any(form == ["allow", "default"] for form in read(text))


def test_a_line_break_in_a_name_is_refused(tmp_path: Path) -> None:
    """No literal can hold it for certain, so it is not tried."""
    with pytest.raises(BadBox, match="control characters"):
        quoted(tmp_path / "a\nb")


def test_what_is_read_only_inside_of_what_is_not(tmp_path: Path) -> None:
    """The later rule wins, so the inner one comes after the outer."""
    (tmp_path / "inner").mkdir()
    text = profile(Box("t", (Mount(tmp_path / "inner"), Mount(tmp_path, write=True))), tmp_path)
    outer = text.index(f'(allow file-write* (subpath "{tmp_path}")')
    inner = text.index(f'(deny file-write* (subpath "{tmp_path}/inner")')
    assert outer < inner
