"""Reading command lines: what is certain, and what is not."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.permit.shell import commands_in, has_command, is_command, simple_command


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("git status", ["git", "status"]),
        ("  git   log -n 3\n", ["git", "log", "-n", "3"]),
        ("grep -r 'a b; c' src", ["grep", "-r", "a b; c", "src"]),
        ('echo "it\'s \\"so\\" \\$5"', ["echo", 'it\'s "so" $5']),
        ("echo a\\ b\\;c", ["echo", "a b;c"]),
        ("make CC=gcc -j2", ["make", "CC=gcc", "-j2"]),
        ("ls 'x'\"y\"z", ["ls", "xyz"]),
        ("git commit -m 'wip: #1 done!'", ["git", "commit", "-m", "wip: #1 done!"]),
        ("git show HEAD~2", ["git", "show", "HEAD~2"]),
        ("echo ''", ["echo", ""]),
    ],
)
def test_one_plain_command(line: str, words: list[str]) -> None:
    """A command whose words are all there is read as the shell reads it."""
    assert simple_command(line) == words


@pytest.mark.parametrize(
    "line",
    [
        "git status; rm -rf /", "git status && rm x", "git status & rm x", "git status | sh",
        "git log\nrm x", "git log\r\nrm x", "git $(rm x)", "git `rm x`", "git ${x}", "git $x",
        'git "$(rm x)"', 'git "`rm x`"', "git <(rm x)", "git >x", "git <x", "git 2>x",
        "FOO=bar git status", "LD_PRELOAD=./x.so git status", "git {a,b}", "git *", "git ?",
        "git [a]", "ls ~", "ls ~root", "make x=~/y", "git a # b", "! git status", "(git status)",
        "{ git status; }", "if git status", "while true", "eval git", "exec git", ". ./x",
        "source x", "command git", "builtin cd", "alias git=rm", "git 'unfinished",
        'git "unfinished', "git \\", "git \\\nstatus", "", "   ", "''", "git \x00x", "git \x1b[0m",
        "git \u00a0status", "function git", "time git", "export PATH=.", "hash -p ./x git",
    ],
)  # fmt: skip
def test_what_is_not_one_plain_command(line: str) -> None:
    """Lists, pipes, redirections, substitutions, expansions, assignments, reserved words and what
    changes the meaning of later words are never taken for one command."""
    assert simple_command(line) is None


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab -'\"\\$`;&|<>(){}*?[]~#!=\n \t\u00e9"), max_size=14))
def test_what_is_taken_for_plain_is_what_a_shell_runs(rest: str) -> None:
    """A real shell comes to the same words wherever the reader is certain of them."""
    line = "printf %s\\\\n " + rest
    words = simple_command(line)
    if words is None:
        return
    said = f"set -f; {line.replace('printf %s', 'printf %s', 1)}"
    done = subprocess.run(["sh", "-c", said], capture_output=True, text=True, check=False, cwd="/")
    expected = "".join(f"{word}\n" for word in words[2:]) or "\n"
    assert (done.returncode, done.stdout) == (0, expected), (line, done.stderr)


@pytest.mark.parametrize(
    ("line", "pattern", "is_it"),
    [
        ("git status", "git status", True), ("git status", "git", False),
        ("git log -n 3", "git log *", True), ("git log", "git log *", True),
        ("git push", "git log *", False), ("./git log", "git log *", False),
        ("pytest -q a b c", "pytest *", True), ("cat notes.txt", "cat *.txt", True),
        ("cat notes.txt x", "cat *.txt", False), ("git", "", False),
    ],
)  # fmt: skip
def test_patterns_are_words(line: str, pattern: str, is_it: bool) -> None:
    """A pattern is met word by word; only a last star stands for more of them."""
    assert is_command(shlex.split(line), pattern) is is_it


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf x", "/bin/rm -rf x", "true; rm x", "true && rm x", "true | xargs rm", "sudo rm x",
        "env A=b rm x", "sh -c 'rm x'", "sh -c \"true; rm x\"", "(rm x)", "true\nrm x",
        "echo $(rm x)", "echo `rm x`", "find . -exec rm {} +", "if true; then rm x; fi",
        "bash -c \"sh -c 'rm x'\"", "r\\m x", "'rm' x",
    ],
)  # fmt: skip
def test_a_forbidden_command_is_found_wherever_it_stands(line: str) -> None:
    """In lists, pipes, substitutions, wrappers and lines within lines."""
    assert has_command(commands_in(line), "rm *")


def test_what_cannot_be_read_is_not_called_whole() -> None:
    """A line that hides its command says that there may be others."""
    found = commands_in("$x -rf y")
    assert not has_command(found, "rm *")
    assert not found.whole
    assert commands_in("ls x").whole
