"""What holds for a call: the owner's rules, his grants, and what holds where they say nothing.

In this order; the first that has something to say decides::

    a rule that forbids                       -> deny (ask, where it only may be meant)
    private data read, foreign text read,
    and this would carry something out        -> ask, unless a rule names just that (origin)
    a grant ("always") for this very call     -> allow (the owner's jobs only)
    a rule that asks                          -> ask
    a rule that allows all that it touches    -> allow (others than the owner: if it names them)
    what the tool itself declares, made
    stricter for what is sent, lies outside
    the workspace, or foreign text may want   -> allow, ask or deny
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from stead.core.people import OWNER
from stead.core.permits import ALWAYS, JOB, NO, ONCE, PermitRule
from stead.core.states import Effects
from stead.permit.match import Fit, fit, lines_of, outside
from stead.permit.words import Facts, Ruling, Word

_ORDER = (Word.ALLOW, Word.ASK, Word.DENY)


@dataclass(frozen=True, slots=True)
class Permits:
    """The rules that hold for a run. ``own``: the node's, which can only make it stricter."""

    rules: tuple[PermitRule, ...] = ()
    own: tuple[PermitRule, ...] = ()

    def judge(self, facts: Facts) -> Ruling:
        """What holds for a call, and why."""
        ruling = _judge(self.rules, facts)
        for rule in self.own:
            found = fit(rule, facts) if rule.say != Word.ALLOW and not rule.scope else Fit.NO
            if found is Fit.NO:
                continue
            word = Word(rule.say) if found is Fit.YES else Word.ASK
            if _ORDER.index(word) > _ORDER.index(ruling.word):
                ruling = Ruling(word, f"{_named(rule)} (of the node itself)")
        return ruling


def _judge(rules: Sequence[PermitRule], facts: Facts) -> Ruling:
    maybe: PermitRule | None = None
    for rule in _saying(rules, Word.DENY):
        found = fit(rule, facts)
        if found is Fit.YES:
            return Ruling(Word.DENY, _named(rule))
        if found is Fit.MAYBE:
            maybe = maybe or rule
    if maybe is not None:
        return Ruling(
            Word.ASK, f"{_named(maybe)} may be meant; the command cannot be read for sure"
        )
    allowing = [
        rule
        for rule in _saying(rules, Word.ALLOW)
        # What the owner allows he allows himself, unless he names who.
        if (facts.person == OWNER or rule.persons) and fit(rule, facts) is Fit.YES
    ]
    if carries_out(facts):
        named = [rule for rule in allowing if {"private", "foreign"} <= {*rule.origin}]
        if not named:
            return Ruling(
                Word.ASK,
                "this run has read private data and foreign text, and this may carry something out",
            )
        allowing = named
    scopes = {exact_scope(facts), places_scope(facts)} if any(r.scope for r in rules) else set()
    for rule in rules:
        if rule.scope and rule.scope in scopes and not carries_out(facts):
            if facts.person != OWNER:
                continue
            if rule.scope != exact_scope(facts) and facts.has_foreign:
                continue
            return Ruling(Word.ALLOW, _named(rule))
    for rule in _saying(rules, Word.ASK):
        if fit(rule, facts) is not Fit.NO:
            return Ruling(Word.ASK, _named(rule))
    if allowing:
        return Ruling(Word.ALLOW, _named(allowing[0]))
    return _default(facts)


def _saying(rules: Sequence[PermitRule], word: Word) -> list[PermitRule]:
    return [rule for rule in rules if rule.say == word and not rule.scope]


def _named(rule: PermitRule) -> str:
    if rule.scope:
        return f"your answer “always” ({rule.name})"
    return f"the rule “{rule.name}”" + (f": {rule.why}" if rule.why else "")


def carries_out(facts: Facts) -> bool:
    """Whether a call could hand private data to whoever wrote the foreign text: the one
    combination that no general rule allows."""
    touches = facts.touches
    private = facts.has_private or facts.heard_private or touches.private
    foreign = facts.has_foreign or facts.heard_foreign
    return private and foreign and (touches.sends or bool(touches.hosts))


def _default(facts: Facts) -> Ruling:
    """What holds where no rule says anything."""
    if facts.default is not Word.ALLOW:
        return Ruling(facts.default, f"the tool {facts.tool} does so, and no rule says otherwise")
    touches = facts.touches
    changes = facts.effects != Effects.NONE
    why = ""
    if touches.sends:
        why = "it sends something to others"
    elif touches.hosts and changes:
        why = f"it reaches {', '.join(touches.hosts)}"
    elif touches.credentials and changes:
        why = f"it uses the credential {', '.join(touches.credentials)}"
    elif facts.person != OWNER and (touches.reads or touches.writes or touches.credentials):
        why = "it reaches files or credentials of the owner's, for somebody else"
    elif away := outside((*touches.writes, *touches.reads), facts.workspace):
        why = f"{away[0]} lies outside of the workspace"
    elif facts.has_foreign and (touches.code or lines_of(facts)):
        why = "it runs commands, and this run has read foreign text"
    elif facts.has_foreign and facts.effects == Effects.OUTSIDE and not touches.owner_only:
        why = "it has effects outside, and this run has read foreign text"
    if why:
        return Ruling(Word.ASK, f"{why}; no rule says otherwise")
    return Ruling(Word.ALLOW, "it is harmless by its kind, and no rule says otherwise")


# --- what an answer is bound to -----------------------------------------------------


def call_digest(facts: Facts, seq: int) -> str:
    """Of this very call at this place of its job."""
    return _digest(["call", seq, exact_scope(facts)])


def exact_scope(facts: Facts) -> str:
    """Of this call, wherever it is made: tool, version, arguments and what they touch, links
    followed. A link that leads elsewhere now makes it another call."""
    return _digest(["exact", facts.tool, facts.version, facts.args, *_places(facts)])


def places_scope(facts: Facts) -> str:
    """Of all calls of this tool that reach the same places."""
    return _digest(["places", facts.tool, facts.version, *_places(facts)])


def always_scope(facts: Facts) -> tuple[str, str]:
    """What ``always`` would allow, as a digest and in words: what only reads from the network by
    its hosts, anything else call by call."""
    touches = facts.touches
    looks = facts.effects == Effects.NONE and not touches.sends and not touches.credentials
    if looks and touches.hosts and not touches.reads and not touches.writes:
        return places_scope(facts), f"{facts.tool} of {', '.join(touches.hosts)}"
    return exact_scope(facts), f"{facts.tool} with just these arguments"


def offers(facts: Facts) -> tuple[str, ...]:
    """What the owner may answer: the more foreign text may be behind it, the less at once."""
    if carries_out(facts) or (facts.has_foreign and facts.touches.sends):
        return (ONCE, NO)
    if facts.has_foreign or facts.person != OWNER:
        return (ONCE, JOB, NO)
    return (ONCE, JOB, ALWAYS, NO)


def _places(facts: Facts) -> list[object]:
    touches = facts.touches
    return [
        sorted({os.path.realpath(path) for path in touches.reads}),
        sorted({os.path.realpath(path) for path in touches.writes}),
        sorted({*touches.hosts}),
        sorted({*touches.credentials}),
        touches.sends,
    ]


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
