"""What a kind of request can go to, and what it cannot, with the reasons in words."""

from __future__ import annotations

from stead.core.errors import Forbidden, ModelNotReady, NoModelFits, StaysInHouse, SteadError
from stead.inference.routing.table import Chain, Choice, Group
from stead.inference.seam import Asked, Verdict

NOTHING = (
    "No model is set up: the local model is off, and what was asked for is no other. "
    'Set local = "auto" under [model] in stead.toml, add a [[backend]], or name another model.'
)


class Sieve:
    """Holds back what a kind of request cannot go to, and remembers why."""

    def __init__(self, group: Group, asked: Asked, verdict: Verdict) -> None:
        self.group = group
        self.asked = asked
        self._only_house = verdict.local_only or group.lane in verdict.local_lanes
        scope = verdict.models
        named = scope is None or group.name in scope or asked.model in scope
        self._scope = None if named else scope
        self._words: list[str] = []
        self._kinds: set[str] = set()

    def objection(self, choice: Choice) -> str:
        """Why a choice is none for this kind of request; empty if it is one."""
        asked = self.asked
        if self._scope is not None and not (choice.names & self._scope):
            self._kinds.add("scope")
            return "this key may not use it"
        words = choice.lacks(asked.api, tools=asked.tools, images=asked.images)
        if words:
            self._kinds.add("fit")
        elif self._only_house and not choice.house:
            self._kinds.add("house")
            words = "it is in the cloud, and this may not leave the house"
        return words

    def sift(self, chain: Chain) -> tuple[tuple[Choice, ...], list[str]]:
        out = []
        kept = []
        for choice in chain.choices:
            words = self.objection(choice)
            if words:
                out.append(f"{label(choice)}: {words}")
            else:
                kept.append(choice)
        out += chain.left_out
        self._words = out
        return tuple(kept), out

    def error(self) -> SteadError:
        """Nothing passed."""
        group, why = self.group, "; ".join(self._words)
        wanted = f"lane {group.lane}" if group.lane else group.name
        if not self._words:
            return ModelNotReady(NOTHING)
        if "house" in self._kinds:
            return StaysInHouse(wanted=wanted, why=why)
        if self._kinds == {"scope"}:
            return Forbidden(why=f"{wanted} is not among the models and lanes it is good for")
        return NoModelFits(wanted=wanted, why=why)


def label(choice: Choice) -> str:
    """A choice for people."""
    if choice.instances:
        return choice.label
    return f"the local model {choice.model.name}".rstrip()
