"""Reading a command line as a shell would, as far as that can be done for certain.

What a line of shell does cannot be told from its text in general (expansions, substitutions,
``eval``), so nothing here guesses: either a line is one plain command whose words are all there,
or it is not known what it does. Grammar: POSIX.1-2024, Shell Command Language, 2.2 to 2.10.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

#: Characters that, outside of quotes, make more of a line than one command of plain words.
_SPECIAL = frozenset(";&|<>()$`\n*?[]{}#~!=\r")
_ONLY_AT_START = frozenset("#~!")
_ESCAPED_IN_QUOTES = frozenset('$`"\\')

#: Words that begin something else than a command.
_RESERVED = frozenset(
    (
        "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac",
        "in", "function", "select", "time", "coproc", "[[", "]]",
    )
)  # fmt: skip
#: Commands whose arguments are commands, or that change what later words mean.
_ODD = frozenset(
    (
        "eval", "exec", "source", ".", "command", "builtin", "alias", "unalias", "set", "shopt",
        "trap", "enable", "hash", "export", "declare", "typeset", "local", "readonly", "unset",
    )
)  # fmt: skip
_DEPTH = 4


def simple_command(line: str) -> list[str] | None:
    """The words of a line that is one simple command without anything to expand, redirect or
    substitute; None: it is something else, or it is not certain.

    ``=`` is refused in the first word only (an assignment), a glob, a brace or a tilde anywhere
    outside of quotes.
    """
    words: list[str] = []
    word: list[str] | None = None
    at, text = 0, line.strip(" \t\n")
    while at < len(text):
        one = text[at]
        if one in " \t":
            if word is not None:
                words.append("".join(word))
                word = None
            at += 1
            continue
        started = word is not None
        word = [] if word is None else word
        taken = _piece(text, at, word, started=started, first=not words)
        if taken < 0:
            return None
        at = taken
    if word is not None:
        words.append("".join(word))
    if not words or not words[0] or words[0] in _RESERVED or words[0] in _ODD:
        return None
    return words


def _piece(text: str, at: int, word: list[str], *, started: bool, first: bool) -> int:
    """Read a quoted part or one character of a word; where it ends, or -1."""
    one = text[at]
    if one == "'":
        end = text.find("'", at + 1)
        word.append(text[at + 1 : end])
        return end + 1 if end >= 0 else -1
    if one == '"':
        return _quoted(text, at + 1, word)
    if one == "\\":
        if at + 1 >= len(text) or text[at + 1] in "\r\n":
            return -1
        word.append(text[at + 1])
        return at + 2
    if one == "=":
        if first:
            return -1
    elif one in _ONLY_AT_START:
        # A tilde is also expanded behind a colon or an equals sign.
        if not started or (one == "~" and word and word[-1][-1:] in ("=", ":", "")):
            return -1
    elif one in _SPECIAL or not (one.isprintable() or one == "\t"):
        return -1
    word.append(one)
    return at + 1


def _quoted(text: str, at: int, word: list[str]) -> int:
    """Read up to the closing double quote; where it ends, or -1."""
    while at < len(text):
        one = text[at]
        if one == '"':
            word.append("")
            return at + 1
        if one in "$`":
            return -1
        if one == "\\" and at + 1 < len(text):
            if text[at + 1] in _ESCAPED_IN_QUOTES:
                at += 1
                one = text[at]
            elif text[at + 1] in "\r\n":
                return -1
        word.append(one)
        at += 1
    return -1


@dataclass
class Found:
    """The commands that were found in a line."""

    commands: list[list[str]] = field(default_factory=list)
    whole: bool = True
    """These are all; else there may be others."""


def commands_in(line: str, depth: int = 0) -> Found:
    """Every command that can be seen in a line: in lists, pipes, substitutions and in arguments
    that are lines themselves (``sh -c '...'``). For what is forbidden or asked about, where one
    too many does no harm.
    """
    plain = simple_command(line)
    found = Found()
    if plain is not None:
        found.commands.append(plain)
    else:
        found.whole = False
        found.commands += _torn(line)
    for words in list(found.commands):
        if depth >= _DEPTH:
            break
        for word in words:
            if word != line and re.search(r"[\s;&|()<>$`]", word):
                found.commands += commands_in(word, depth + 1).commands
    return found


def _torn(line: str) -> Iterator[list[str]]:
    """Pieces of a line between operators, as good as they can be had."""
    lexer = shlex.shlex(line.replace("\\\n", ""), posix=True, punctuation_chars=";&|<>()\n`${}")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    words: list[str] = []
    try:
        for token in lexer:
            if token and all(one in ";&|<>()\n`${}" for one in token):
                if words:
                    yield words
                words = []
            else:
                words.append(token)
    except ValueError:  # a quote without an end
        words += line.split()
    if words:
        yield words


def is_command(words: list[str], pattern: str) -> bool:
    """Whether a command's words are those of a pattern: word by word, ``*`` within a word stands
    for any part of it, a last ``*`` for any further words."""
    wanted = _words(pattern)
    if not wanted:
        return False
    if wanted[-1] == "*" and len(wanted) > 1:
        wanted = wanted[:-1]
        words = words[: len(wanted)]
    if len(words) != len(wanted):
        return False
    return all(fnmatchcase(word, one) for word, one in zip(words, wanted, strict=True))


def has_command(found: Found, pattern: str) -> bool:
    """Whether any of these commands, or what one of them starts (``sudo``, ``xargs``, ``env``),
    is what the pattern says, by whatever path it is called."""
    for words in found.commands:
        for at in range(len(words)):
            named = [words[at].rpartition("/")[2] or words[at], *words[at + 1 :]]
            if is_command(named, pattern) or is_command(words[at:], pattern):
                return True
    return False


def _words(pattern: str) -> list[str]:
    try:
        return shlex.split(pattern)
    except ValueError:
        return pattern.split()
