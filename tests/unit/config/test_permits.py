"""Rules of permission in stead.toml: what is checked, and what is meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from stead.cli.main import cli
from stead.config import load, permit_rule
from stead.core.errors import ConfigError
from stead.core.permits import PermitRule

RULE = '[[permit]]\nname = "a"\nsay = "{say}"\n{more}\n'


@pytest.mark.parametrize(
    ("say", "more", "place", "words"),
    [
        ("perhaps", "", "permit[0].say", "one of allow, ask, deny"),
        ("allow", "", "permit[0].tools", "must name its tools"),
        ("allow", 'tools = ["*"]', "permit[0].tools", "everything"),
        ("deny", "", "permit[0].tools", "would deny everything"),
        ("deny", 'tools = [""]', "permit[0].tools[0]", "is empty"),
        ("deny", 'tool = ["x"]', "permit[0].tool", "did you mean permit[0].tools"),
        ("deny", 'args = ["path"]', "permit[0].args[0]", "is not NAME=PATTERN"),
        ("deny", 'args = ["q~=("]', "permit[0].args[0]", "not a regular expression"),
        ("deny", 'hosts = ["http://a.com"]', "permit[0].hosts[0]", "without http://"),
        ("deny", 'hosts = ["a.com:80"]', "permit[0].hosts[0]", "without a port"),
        ("deny", 'hosts = ["a.*.com"]', "permit[0].hosts[0]", "is not a host"),
        ("deny", 'lanes = ["fast"]', "permit[0].lanes[0]", "chat, background"),
        ("deny", 'origin = ["web"]', "permit[0].origin[0]", "owner, foreign, private"),
        ("ask", 'origin = ["owner", "foreign"]', "permit[0].origin", "stands alone"),
        ("allow", 'tools = ["shell"]\ncommands = ["* x"]', "permit[0].commands[0]", "be named"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, say: str, more: str, place: str, words: str) -> None:
    """A fault names its place and says what is wrong."""
    (tmp_path / "stead.toml").write_text(RULE.format(say=say, more=more))
    with pytest.raises(ConfigError) as fault:
        load(tmp_path)
    assert place in fault.value.message and words in fault.value.message


def test_two_of_a_name(tmp_path: Path) -> None:
    """Reasons name rules, so no two may have one name."""
    (tmp_path / "stead.toml").write_text(2 * RULE.format(say="deny", more='tools = ["x"]'))
    with pytest.raises(ConfigError, match="two rules named 'a'"):
        load(tmp_path)


def test_a_rule_as_it_is_meant(tmp_path: Path) -> None:
    """What stands in the file is what travels with the jobs."""
    more = 'tools = ["shell"]\ncommands = ["git log *"]\norigin = ["owner", "foreign"]\nwhy = "so"'
    (tmp_path / "stead.toml").write_text(RULE.format(say="allow", more=more))
    (section,) = load(tmp_path).settings.permit
    assert permit_rule(section) == PermitRule(
        "a",
        "allow",
        tools=("shell",),
        commands=("git log *",),
        origin=("owner", "foreign"),
        why="so",
    )


def test_the_examples_of_the_page_are_valid(tmp_path: Path) -> None:
    """What docs/permissions.md shows can be copied as it is."""
    page = Path(__file__).parents[3] / "docs" / "permissions.md"
    (example,) = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "stead.toml").write_text(example)
    assert [one.say for one in load(tmp_path).settings.permit] == [
        "allow", "deny", "allow", "ask", "allow",
    ]  # fmt: skip


def test_what_rules_are_taken_to_mean(tmp_path: Path) -> None:
    """`stead config check` says it in words, so that a slip is seen before it matters."""
    more = 'tools = ["shell"]\ncommands = ["git log *"]\norigin = ["foreign"]'
    (tmp_path / "stead.toml").write_text(RULE.format(say="allow", more=more))
    done = CliRunner().invoke(cli, ["--home", str(tmp_path), "config", "check"])
    assert done.exit_code == 0, done.output
    assert "allows shell for the commands git log *; also when foreign text" in done.output
    done = CliRunner().invoke(
        cli, ["--home", str(tmp_path), "permit", "check", "shell", "command=git log -3", "--json"]
    )
    assert '"word": "allow"' in done.output
