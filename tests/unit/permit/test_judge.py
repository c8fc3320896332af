"""What holds for a call: each condition of a rule, their order, and what holds without any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stead.core.permits import ALWAYS, JOB, NO, ONCE, PermitRule
from stead.core.states import Effects
from stead.permit.judge import (
    Permits,
    always_scope,
    call_digest,
    exact_scope,
    offers,
    places_scope,
)
from stead.permit.words import Facts, Touches, Word

HOME = Path("/house/workspace")


def rule(say: str, name: str = "it", **conditions: Any) -> PermitRule:
    return PermitRule(name, say, **conditions)


def facts(tool: str = "shell", args: dict[str, Any] | None = None, **more: Any) -> Facts:
    touched = {k: more.pop(k) for k in list(more) if k in Touches.__dataclass_fields__}
    more.setdefault("effects", Effects.WORKSPACE)
    return Facts(
        tool=tool, args=args or {}, touches=Touches(**touched), workspace=HOME, version="v1", **more
    )


def shell(line: str, **more: Any) -> Facts:
    more.setdefault("writes", (HOME,))
    return facts("shell", {"command": line}, commands=(line,), code=True, **more)


def word(rules: list[PermitRule], one: Facts) -> Word:
    return Permits(tuple(rules)).judge(one).word


def test_deny_over_ask_over_allow() -> None:
    """Of the rules that are about a call the strictest counts, whatever their order."""
    one = facts("http")
    every = [rule(say, say, tools=("http",)) for say in ("allow", "ask", "deny")]
    for rules in (every, every[::-1]):
        assert word(rules, one) is Word.DENY
        assert word([r for r in rules if r.say != "deny"], one) is Word.ASK
        assert word([r for r in rules if r.say == "allow"], one) is Word.ALLOW
    assert word([], replace(one, default=Word.ASK)) is Word.ASK


def test_the_reason_names_the_rule() -> None:
    """Who is refused or asked learns by which rule, in the owner's own words."""
    held = Permits((rule("deny", "no web", tools=("web_*",), why="not in this house"),))
    ruling = held.judge(facts("web_fetch"))
    assert ruling.word is Word.DENY
    assert "no web" in ruling.why and "not in this house" in ruling.why


@pytest.mark.parametrize(
    ("conditions", "matching", "other"),
    [
        ({"tools": ("web_*",)}, facts("web_fetch"), facts("http")),
        ({"sessions": ("work*",)}, facts(session="work-1"), facts(session="main")),
        ({"persons": ("guest",)}, facts(person="guest"), facts(person="owner")),
        ({"channels": ("telegram",)}, facts(channel="telegram"), facts(channel="cli")),
        ({"lanes": ("background",)}, facts(lane="background"), facts(lane="chat")),
        ({"args": ("db=main.*",)}, facts(args={"db": "main.db"}), facts(args={"db": "x.db"})),
        ({"args": ("q~=(?i)drop .*",)}, facts(args={"q": "DROP t"}), facts(args={"q": "a drop "})),
        ({"args": ("n=3",)}, facts(args={"n": 3}), facts(args={"n": 33})),
        ({"args": ("on=true",)}, facts(args={"on": True}), facts(args={"on": False})),
        ({"args": ("a.b=x",)}, facts(args={"a": {"b": "x"}}), facts(args={"a": {"c": "x"}})),
        ({"args": ("to=bob",)}, facts(args={"to": ["ann", "bob"]}), facts(args={"to": ["ann"]})),
        ({"paths": ("docs",)}, facts(writes=(HOME / "docs/a",)), facts(writes=(HOME / "docs2",))),
        ({"reads": ("/etc",)}, facts(reads=(Path("/etc/x"),)), facts(writes=(Path("/etc/x"),))),
        ({"writes": ("/etc",)}, facts(writes=(Path("/etc/x"),)), facts(reads=(Path("/etc/x"),))),
        ({"paths": ("/s/*/x",)}, facts(reads=(Path("/s/a/x/y"),)), facts(reads=(Path("/s/a/y"),))),
        ({"hosts": ("*.a.com",)}, facts(hosts=("b.a.com",)), facts(hosts=("a.com",))),
        ({"hosts": ("a.com",)}, facts(hosts=("A.com.",)), facts(hosts=("ba.com",))),
        ({"credentials": ("git*",)}, facts(credentials=("github",)), facts(credentials=("mail",))),
        ({"commands": ("rm *",)}, shell("rm x"), shell("ls x")),
        ({"origin": ("foreign",)}, facts(has_foreign=True), facts(has_private=True)),
        ({"origin": ("private",)}, facts(has_private=True), facts(has_foreign=True)),
        ({"origin": ("owner",)}, facts(has_private=True), facts(has_foreign=True)),
    ],
)  # fmt: skip
def test_each_condition_of_what_is_forbidden(
    conditions: dict[str, Any], matching: Facts, other: Facts
) -> None:
    """Every condition is about what it says, and about nothing else."""
    held = [rule("deny", **conditions)]
    assert word(held, matching) is Word.DENY
    assert word(held, replace(other, default=Word.ALLOW)) is not Word.DENY


@pytest.mark.parametrize(
    ("conditions", "covered", "beyond"),
    [
        # Not all of what is touched is named.
        ({"hosts": ("a.com",)}, {"hosts": ("a.com",)}, {"hosts": ("a.com", "b.com")}),
        ({"hosts": ("a.com",)}, {"hosts": ("a.com",)}, {"hosts": ("*",)}),
        ({"hosts": ("a.com",)}, {"hosts": ("a.com",)}, {"hosts": ()}),
        ({"hosts": ("*",)}, {"hosts": ("x.org",)}, {"hosts": ("x.org",), "credentials": ("k",)}),
        ({}, {}, {"hosts": ("a.com",)}),
        ({}, {}, {"credentials": ("k",)}),
        ({}, {"writes": (HOME / "a",)}, {"writes": (Path("/etc/x"),)}),
        ({}, {"reads": (HOME / "a",)}, {"reads": (HOME / ".." / "secrets",)}),
        ({"paths": ("docs",)}, {"writes": (HOME / "docs/a",)}, {"writes": (HOME / "a",)}),
        ({"reads": ("/srv",)}, {"reads": (Path("/srv/a"),)}, {"writes": (Path("/srv/a"),)}),
        ({"paths": ("/srv",)}, {"reads": (Path("/srv/a"),)}, {"reads": (Path("/srv/../etc"),)}),
        ({"args": ("to=bob",)}, {"args": {"to": ["bob"]}}, {"args": {"to": ["bob", "eve"]}}),
        ({"args": ("to=bob",)}, {"args": {"to": "bob"}}, {"args": {}}),
        # Foreign text asks for nothing in the owner's name.
        ({}, {}, {"has_foreign": True}),
    ],
)
def test_what_is_allowed_reaches_no_further_than_it_says(
    conditions: dict[str, Any], covered: dict[str, Any], beyond: dict[str, Any]
) -> None:
    """A rule that allows covers all that a call touches, or none of it."""
    held = [rule("allow", tools=("http",), **conditions)]
    assert word(held, facts("http", default=Word.ASK, **covered)) is Word.ALLOW
    assert word(held, facts("http", default=Word.ASK, **beyond)) is Word.ASK


def test_links_are_followed(tmp_path: Path) -> None:
    """A link in an allowed folder that leads out of it is judged by where it leads."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "a").touch()
    held = [rule("allow", tools=("edit",), paths=(str(tmp_path / "in"),))]
    good = facts("edit", writes=(tmp_path / "in" / "a",), default=Word.ASK)
    bad = facts("edit", writes=(tmp_path / "in" / "link" / "b",), default=Word.ASK)
    assert (word(held, good), word(held, bad)) == (Word.ALLOW, Word.ASK)
    held = [rule("deny", paths=(str(tmp_path / "out"),))]
    assert word(held, bad) is Word.DENY


def test_stars_in_names_of_files_are_no_stars(tmp_path: Path) -> None:
    """A folder that is called [a] or * is itself and nothing else."""
    for name in ("*", "[a]", "a"):
        (tmp_path / name).mkdir()
    inside = replace(facts("edit", default=Word.ALLOW), workspace=tmp_path / "*")
    away = replace(inside, touches=Touches(writes=(tmp_path / "a" / "x",)))
    assert word([], away) is Word.ASK


def test_commands_that_are_allowed() -> None:
    """Only one plain command, for certain; all else is asked about, never guessed."""
    held = [rule("allow", tools=("shell",), commands=("git status", "git log *"))]
    for line in ("git status", "git log -n 2 'a b'"):
        assert word(held, shell(line, default=Word.ASK)) is Word.ALLOW
    for line in (
        "git status; rm x", "git log $(rm x)", "git log > /etc/x", "git push", "X=1 git status",
        "git log *", "/tmp/git status", "git\tstatus\nrm x",
    ):  # fmt: skip
        assert word(held, shell(line, default=Word.ASK)) is Word.ASK, line


def test_commands_that_are_forbidden() -> None:
    """Found wherever they stand; a line that may hide one is asked about."""
    held = [rule("deny", commands=("rm *",))]
    assert word(held, shell("true && sudo rm -rf x")) is Word.DENY
    assert word(held, shell("$cmd x")) is Word.ASK
    assert word(held, shell("ls x")) is Word.ALLOW


def test_a_place_within_what_is_touched_may_be_meant() -> None:
    """What could reach a forbidden place, but need not, is asked about."""
    assert word([rule("deny", writes=("keep",))], shell("make")) is Word.ASK
    assert word([rule("deny", hosts=("evil.com",))], facts(hosts=("*",))) is Word.ASK


# --- where no rule says anything ------------------------------------------------


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (facts("list_files", effects=Effects.NONE, reads=(HOME,)), Word.ALLOW),
        (facts("write_file", writes=(HOME / "a",)), Word.ALLOW),
        (facts("write_file", writes=(HOME / "a",), has_foreign=True), Word.ALLOW),
        (facts("write_file", writes=(Path("/etc/a"),)), Word.ASK),
        (facts("read_file", effects=Effects.NONE, reads=(Path("/etc/a"),)), Word.ASK),
        (shell("make"), Word.ALLOW),
        (shell("make", has_private=True), Word.ALLOW),
        (shell("make", has_foreign=True), Word.ASK),
        (shell("curl x", hosts=("x.org",)), Word.ASK),
        (facts("web_fetch", effects=Effects.NONE, hosts=("x.org",), foreign=True), Word.ALLOW),
        (facts("mail", effects=Effects.OUTSIDE, default=Word.ASK), Word.ASK),
        (facts("mail", effects=Effects.OUTSIDE, sends=True), Word.ASK),
        (facts("odd", effects=Effects.OUTSIDE, has_foreign=True), Word.ASK),
        (facts("http", credentials=("k",)), Word.ASK),
        (facts("ssh", default=Word.DENY), Word.DENY),
    ],
)
def test_defaults(one: Facts, expected: Word) -> None:
    """Reading and changing the workspace is allowed; what leaves the house, reaches beyond the
    workspace, or runs what foreign text may want, is asked about."""
    assert word([], one) is expected


@pytest.mark.parametrize("way", [{"sends": True}, {"hosts": ("x.org",)}])
def test_private_and_foreign_together_send_nothing_unasked(way: dict[str, Any]) -> None:
    """Whatever is allowed: a run that has read both asks before anything leaves the house, unless
    a rule names just that. What is forbidden stays forbidden."""
    one = facts("http", has_foreign=True, has_private=True, **way)
    wide: dict[str, Any] = {"tools": ("http",), "hosts": ("*",) if "hosts" in way else ()}
    some = [
        rule("allow", "a", **wide),
        rule("allow", "b", origin=("foreign",), **wide),
        rule("allow", "c", origin=("private",), **wide),
        PermitRule("grant", "allow", scope=exact_scope(one)),
    ]
    assert word(some, one) is Word.ASK
    assert "private data and foreign text" in Permits(tuple(some)).judge(one).why
    named = rule("allow", "named", origin=("private", "foreign"), **wide)
    assert word([*some, named], one) is Word.ALLOW
    assert word([named, rule("deny", tools=("http",))], one) is Word.DENY
    reads_now = facts("http", has_foreign=True, private=True, **way)
    assert word(some, reads_now) is Word.ASK, "what the call itself reads counts as well"
    assert word(some[1:2], replace(one, has_private=False)) is Word.ALLOW


# --- grants ------------------------------------------------------------------------


def grant(scope: str) -> PermitRule:
    return PermitRule("always 1", "allow", scope=scope)


def test_a_grant_is_of_exactly_one_call() -> None:
    """It goes before rules that ask, never before one that forbids; another argument, version or
    place is another call."""
    one = facts("mail", {"to": "bob"}, default=Word.ASK, writes=(HOME / "a",))
    held = [grant(exact_scope(one)), rule("ask", tools=("mail",))]
    assert word(held, one) is Word.ALLOW
    assert word([*held, rule("deny", tools=("mail",))], one) is Word.DENY
    others = [
        replace(one, args={"to": "eve"}), replace(one, version="v2"), replace(one, tool="post"),
        replace(one, touches=Touches(writes=(HOME / "b",))),
    ]  # fmt: skip
    for other in others:
        assert word(held, other) is Word.ASK
    assert len({exact_scope(o) for o in [one, *others]}) == 5
    assert call_digest(one, 1) != call_digest(one, 2)


def test_always_of_a_page_is_of_its_host() -> None:
    """What only reads from the network is granted by host, anything else call by call; such a
    grant does not hold once foreign text was read."""
    page = facts(
        "web_fetch", {"url": "a"}, effects=Effects.NONE, hosts=("x.org",), default=Word.ASK
    )
    scope, words = always_scope(page)
    assert scope == places_scope(page) and "x.org" in words
    other = replace(page, args={"url": "b"})
    assert word([grant(scope)], other) is Word.ALLOW
    assert word([grant(scope)], replace(other, has_foreign=True)) is Word.ASK
    assert always_scope(shell("make"))[0] == exact_scope(shell("make"))


def test_what_is_offered() -> None:
    """The more foreign text may be behind a question, the less is allowed at once."""
    assert offers(facts()) == (ONCE, JOB, ALWAYS, NO)
    assert offers(facts(has_foreign=True)) == (ONCE, JOB, NO)
    assert offers(facts(has_foreign=True, sends=True)) == (ONCE, NO)


# --- the node's own ------------------------------------------------------------------


def test_a_node_can_only_be_stricter() -> None:
    """Its rules forbid and ask; what they allow does not count."""
    one = facts("http", default=Word.ASK)
    allow, ask, deny = (rule(say, tools=("http",)) for say in ("allow", "ask", "deny"))
    assert Permits((), (allow,)).judge(one).word is Word.ASK
    assert Permits((allow,), ()).judge(one).word is Word.ALLOW
    assert Permits((allow,), (ask,)).judge(one).word is Word.ASK
    assert Permits((allow,), (deny,)).judge(one).word is Word.DENY
    assert Permits((deny,), (allow, ask)).judge(one).word is Word.DENY


def test_what_the_owner_allows_he_allows_himself() -> None:
    """A rule that allows is for others only if it names them, and a grant never is; what forbids
    or asks holds for all. An answer to somebody else's question is never one for ever."""
    mine, hers = facts("http", default=Word.ASK), facts("http", default=Word.ASK, person="anna")
    for say in ("deny", "ask"):
        assert word([rule(say, tools=("http",))], hers) is Word(say)
    allow = rule("allow", tools=("http",))
    assert (word([allow], mine), word([allow], hers)) == (Word.ALLOW, Word.ASK)
    for persons in (("anna",), ("*",), ("bert", "an*")):
        assert word([replace(allow, persons=persons)], hers) is Word.ALLOW
    assert word([replace(allow, persons=("owner",))], hers) is Word.ASK
    grant = rule("allow", tools=("http",), scope=exact_scope(mine))
    assert exact_scope(mine) == exact_scope(hers)
    assert (word([grant], mine), word([grant], hers)) == (Word.ALLOW, Word.ASK)
    assert ALWAYS in offers(mine) and offers(hers) == (ONCE, JOB, NO)


def test_for_others_the_owners_files_are_asked_about() -> None:
    """What reads, writes or uses a credential for somebody else waits for the owner's word, also
    in the workspace, unless a rule lets that person; what touches nothing is as it is."""
    for touched in ({"reads": (HOME / "a",)}, {"writes": (HOME / "a",)}, {"credentials": ("k",)}):
        mine, hers = facts("read_file", **touched), facts("read_file", person="anna", **touched)
        assert word([], hers) is Word.ASK
        assert word([], mine) is Word.ALLOW or touched == {"credentials": ("k",)}
    hers = facts("read_file", reads=(HOME / "b" / "c",), person="anna")
    own = rule("allow", tools=("read_file",), reads=("b/c",), persons=("anna",))
    assert word([own], hers) is Word.ALLOW
    assert word([own], replace(hers, touches=Touches(reads=(HOME / "b" / "d",)))) is Word.ASK
    assert word([], facts("clock", person="anna", effects=Effects.NONE)) is Word.ALLOW
