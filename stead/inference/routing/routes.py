"""The ways of a request: the table of names, and how the instances are at this moment.

It is asked for every request, so what can be worked out once a setup is: a request whose models
are well costs a look into a table.
"""

from __future__ import annotations

import itertools
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from stead.core.errors import (
    ModelNotReady,
    ModelsResting,
    NoModelFits,
    SteadError,
    UnknownModel,
)
from stead.core.nouns import ModelProfile
from stead.inference import modelstate
from stead.inference.backends import LOCAL, BackendModel, LocalModel
from stead.inference.modelstate import ModelState
from stead.inference.routing.health import Health
from stead.inference.routing.rules import AS_MAIN, BY_API, FAMILIAR, Setup, hint
from stead.inference.routing.sieve import NOTHING, Sieve, label
from stead.inference.routing.spread import Spread
from stead.inference.routing.table import Chain, Choice, Group, Table, local_choice
from stead.inference.seam import Api, Asked, Plan, Verdict, Way, Who

#: How long the state of the local model is taken as it was, in seconds.
_LOCAL_S = 0.05
#: Names that mean: whatever is right for this request.
_ANY = frozenset({"", "auto"})
#: Characters to a token: of a text that has fewer, some may need more room than there is (LIKELY),
#: or all surely do (SURELY).
_LIKELY = 4
_SURELY = 6
_MOST_READY = 4096
_MOST_PLANS = 256
#: The golden section: its multiples fill the unit interval evenly.
_EVEN = 0.6180339887498949
_TEXT = frozenset({Api.CHAT, Api.MESSAGES, Api.RESPONSES, Api.COMPLETIONS})


@dataclass(slots=True)
class _Line:
    """One chain for one kind of request."""

    choices: tuple[Choice, ...]
    reason: str
    room: int
    """Characters that fit into the context of every one of them."""
    local: bool
    """Whether the local model is among them."""
    plan: Plan | None
    """What it comes to when all is well; None where that depends on the load of instances."""
    places: frozenset[str]
    """Of all instances that may be asked."""
    many: tuple[Choice, ...] = ()
    """Those that have several instances."""
    plans: dict[tuple[int, ...], Plan] = field(default_factory=dict)
    """What it comes to when all is well, by the first instance of each of ``many``."""


@dataclass(slots=True)
class _Ready:
    """What a name comes to for one kind of request."""

    lines: list[_Line]
    bounds: tuple[float, ...]
    lane: str
    shadow: Choice | None
    shadow_share: float
    opens: tuple[bool, bool]
    """Whether its lane lets paid models follow free ones, and the cloud the house."""
    simple: _Line | None = field(init=False)
    """The only line, where there is nothing to weigh."""

    def __post_init__(self) -> None:
        self.simple = self.lines[0] if not self.bounds and self.shadow is None else None

    def line(self, share: float) -> _Line:
        """The chain of a conversation that lies there in the unit interval."""
        for line, bound in zip(self.lines, self.bounds, strict=False):
            if share < bound:
                return line
        return self.lines[0]

    def shadowed(self, share: float) -> bool:
        """Whether the shadow is asked about that conversation; not by the same share."""
        return (share * 997.0) % 1.0 < self.shadow_share


class Routes:
    """The ``Routing`` of the model door (see :mod:`stead.inference.seam`).

    ``local``: the local model of this home, None if there is none. ``gives``: whether the light
    service of a lane can be started here. Not for more than one thread.
    """

    def __init__(
        self,
        setup: Setup,
        local: LocalModel | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        gives: Callable[[str], bool] = lambda lane: True,
    ) -> None:
        self.health = Health(clock)
        self._clock = clock
        self._gives = gives
        self.local = local
        self._spread = Spread()
        self._turn = itertools.count(1)
        self._looked_at = clock()
        self._state = local.state() if local is not None else None
        self._shape = _shape(self._state)
        self._ready: dict[tuple[object, ...], _Ready] = {}
        self._judged: frozenset[str] = _ANY
        self._take(self._make(setup))

    # --- the setup ---

    @property
    def setup(self) -> Setup:
        return self.table.setup

    def prepare(self, setup: Setup) -> Callable[[], None]:
        """Work out a new setup; what is returned takes it over, at once and without fail.

        Requests under way end on the ways that they have. Raises ``ConfigError``.
        """
        self._make(setup)  # made again when it is taken: the local model may change in between

        def take() -> None:
            self._take(self._make(setup))

        return take

    def _make(self, setup: Setup) -> Table:
        return Table(setup, self.health, self._local_choice())

    def _take(self, table: Table) -> None:
        self.table = table
        self._ready = {}
        rules = (rule.models for rule in table.setup.judges)
        self._judged = _ANY.union(*FAMILIAR.values(), *rules)
        self.health.keep(table.keys())

    def _local_choice(self) -> Choice | None:
        state = self._state
        if self.local is None or state is None or state.phase == "off":
            return None
        vision = "auto" if state.model == "scripted" else "no"
        model = BackendModel(
            state.model, tools=state.tools, prompt=state.prompt, context=state.context,
            vision=vision,
        )  # fmt: skip
        return local_choice(model, self.local.names(), self.health)

    def _look(self, now: float) -> None:
        """Take notice of the local model, which may have become another."""
        assert self.local is not None
        self._looked_at = now
        state = self.local.state()
        if state is self._state:
            return
        self._state = state
        if (shape := _shape(state)) != self._shape:
            self._shape = shape
            self._take(self._make(self.table.setup))

    # --- a plan ---

    def plan(self, who: Who, asked: Asked, verdict: Verdict) -> Plan:
        """See :class:`~stead.inference.seam.Routing`. Raises ``UnknownModel``, ``NoModelFits``,
        ``StaysInHouse``, ``ModelsResting``, ``ModelNotReady``, ``Forbidden``."""
        if self.local is not None:
            now = self._clock()
            if now - self._looked_at > _LOCAL_S:
                self._look(now)
        name, why = asked.model, ""
        if name in self._judged:
            name, why = self._judge(who, asked)
        key = (
            name, why, asked.api._value_, asked.tools, asked.images,
            verdict.local_only, verdict.local_lanes, verdict.models,
        )  # fmt: skip
        ready = self._ready.get(key)
        if ready is None:
            ready = self._prepare(name, why, asked, verdict)
            if len(self._ready) >= _MOST_READY:
                self._ready.clear()
            self._ready[key] = ready
        line, share = ready.simple, 0.0
        if line is None:
            share = self._share(asked.session)
            line = ready.line(share)
        troubled = self.health.troubled
        if (
            (not troubled or troubled.isdisjoint(line.places))
            and asked.chars <= line.room
            and (ready.shadow is None or not ready.shadowed(share))
            and (not line.local or self._local_words() == "")
        ):
            return line.plan or self._spread_out(line, asked, ready.lane)
        return self._weigh(ready, line, share, asked)

    def began(self, way: Way) -> None:
        """A call was sent there."""
        self.health.began(way.backend.place if way.backend is not None else LOCAL)

    def ended(self, way: Way, *, status: int, retry_after_s: float = 0.0) -> None:
        """That call ended; 0 is no answer at all."""
        key = way.backend.place if way.backend is not None else LOCAL
        self.health.ended(key, way.model.name, status, retry_after_s)

    def _judge(self, who: Who, asked: Asked) -> tuple[str, str]:
        """The lane or model for a request that leaves the choice to us, and why."""
        table = self.table
        wanted = asked.model or "auto"
        for rule in table.setup.judges:
            if wanted in rule.models and rule.holds(who, asked):
                return rule.lane, table.judged[rule.name]
        if asked.model not in _ANY:
            lane = table.stand_in(asked.api, asked.model)
            return lane or asked.model, f"{asked.model} is no model here" if lane else ""
        lane = BY_API.get(asked.api, "")
        if lane and table.find(lane) is not None:
            return lane, f"for {asked.api.value} that names no model"
        if asked.images and "vision" in table.lanes:
            return "vision", "it holds images"
        if "main" in table.lanes:
            return "main", "no rule says otherwise"
        return "auto", ""

    def _group(self, name: str, api: Api = Api.CHAT) -> Group:
        """What a name stands for. Raises ``UnknownModel``."""
        group = self.table.find(name)
        if group is not None:
            return group
        if name == "auto" or (self.local is not None and self.local.has(name)):
            choice = self.table.instead() if name == "auto" else self.table.local
            chains = (Chain((choice,) if choice is not None else ()),)
            why = f"{name} was asked for"
            if choice is not None and choice.instances:
                why += ", and there is no local model, so the first backend's"
            return Group(name, "", why, chains)
        if name == LOCAL:
            return Group(name, "", f"{name} was asked for", (Chain(()),))
        known = ", ".join(self.known())
        more = hint(name, api)
        raise UnknownModel(model=name, known=known or "none", hint=more, param="model")

    def _prepare(self, name: str, why: str, asked: Asked, verdict: Verdict) -> _Ready:
        """All that can be said of a kind of request without knowing how things are just now."""
        group = self._group(name, asked.api)
        sieve = Sieve(group, asked, verdict)
        lines = [self._line(group, why, sieve, chain) for chain in group.chains]
        found = next((line for line in lines if line.choices), None)
        if found is None:
            raise sieve.error()
        lines = [line if line.choices else found for line in lines]
        shadow = group.shadow
        if shadow is not None and sieve.objection(shadow):
            shadow = None
        opens = (group.paid, group.cloud)
        return _Ready(lines, group.bounds, group.lane, shadow, group.shadow_share, opens)

    def _line(self, group: Group, why: str, sieve: Sieve, chain: Chain) -> _Line:
        choices, out = sieve.sift(chain)
        labels = ", then ".join(label(choice) for choice in choices)
        reason = f"{why}: {group.why}" if why else group.why
        reason = f"{reason}: {labels}" + (f"; left out: {'; '.join(out)}" if out else "")
        room = 1 << 62
        if sieve.asked.api in _TEXT and choices:
            room = min(choice.model.context for choice in choices) * _LIKELY
        plan = None
        ways = [choice.ways(sieve.asked.api) for choice in choices]
        if all(len(one) == 1 for one in ways):
            plan = Plan(tuple(one[0] for one in ways), group.lane, reason)
        local = any(not choice.instances for choice in choices)
        many = tuple(choice for choice in choices if len(choice.places) > 1)
        places = frozenset(place.key for choice in choices for place in choice.places)
        return _Line(choices, reason, room, local, plan, places, many)

    # --- how things are just now ---

    def _spread_out(self, line: _Line, asked: Asked, lane: str) -> Plan:
        """The plan where all is well and only the load of instances decides."""
        key = tuple([self._spread.first(choice, asked.session) for choice in line.many])
        plan = line.plans.get(key)
        if plan is None:
            ways: list[Way] = []
            firsts = iter(key)
            for choice in line.choices:
                found = choice.ways(asked.api)
                first = next(firsts) if len(found) > 1 else 0
                ways += found[first:] + found[:first]
            if len(line.plans) >= _MOST_PLANS:
                line.plans.clear()
            plan = line.plans[key] = Plan(tuple(ways), lane, line.reason)
        return plan

    def _weigh(self, ready: _Ready, line: _Line, share: float, asked: Asked) -> Plan:
        """The plan where something is not well, or may not fit, or is asked beside."""
        now = self._clock()
        good: list[tuple[Choice, Way]] = []
        later: list[tuple[Choice, Way]] = []
        notes: list[str] = []
        waits: list[float] = []
        for choice in line.choices:
            words = _too_long(choice, asked, _SURELY)
            if words:
                notes.append(f"{label(choice)}: {words}")
                continue
            words = _too_long(choice, asked, _LIKELY) or (
                "" if choice.instances else self._local_words()
            )
            ways = choice.ways(asked.api)
            well = self._well(choice, now, notes, waits)
            if well.now:
                order = self._spread.order(choice, asked.session, well.now)
                (later if words else good).extend((choice, ways[i]) for i in order)
                if words:
                    notes.append(f"{label(choice)}: {words}")
            later.extend((choice, ways[i]) for i in well.later)
        if not good and not later:
            raise self._nothing(ready, asked, notes, waits)
        if later and good:
            later = [one for one in later if not _beyond(ready, one[0], good, notes)]
        reason = f"{line.reason}; but {'; '.join(notes)}" if notes else line.reason
        shadow = None
        if ready.shadow is not None and ready.shadowed(share):
            shadow = ready.shadow.ways(asked.api)[0]
        return Plan(tuple(way for _, way in (*good, *later)), ready.lane, reason, shadow)

    def _well(self, choice: Choice, now: float, notes: list[str], waits: list[float]) -> _Well:
        """Which instances of a choice may be asked, and which only if all else fails."""
        if not self.health.troubled:
            return _Well(list(range(len(choice.places))))
        found = _Well([])
        for index, place in enumerate(choice.places):
            words, strict = place.objection(choice.model.name, now)
            if not words:
                found.now.append(index)
                continue
            at = f" at {_shown(choice, index)}" if len(choice.places) > 1 else ""
            notes.append(f"{label(choice)}{at}: {words}")
            if strict:
                waits.append(place.wait_s(choice.model.name, now))
            else:
                found.later.append(index)
        return found

    def _nothing(
        self, ready: _Ready, asked: Asked, notes: list[str], waits: list[float]
    ) -> SteadError:
        wanted = f"lane {ready.lane}" if ready.lane else asked.model or "auto"
        why = "; ".join(notes)
        if not waits:
            return NoModelFits(wanted=wanted, why=why)
        return ModelsResting(wanted=wanted, why=why).after(min(waits))

    def _share(self, session: str) -> float:
        """Where in the unit interval a conversation lies: always the same place."""
        if session:
            return zlib.crc32(session.encode()) / 4294967296.0
        return next(self._turn) * _EVEN % 1.0

    def _local_words(self) -> str:
        """What keeps the local model from answering at once."""
        state = self._state
        return "" if state is None or state.phase == "ready" else modelstate.words(state)

    # --- what there is ---

    def known(self) -> list[str]:
        """The names of all models and lanes, without those that stand for others only."""
        table = self.table
        names = [choice.model.called for choice in table.choices]
        if self._state is not None and self._state.phase != "off":
            names.append(self._state.model or LOCAL)
        return list(dict.fromkeys([*names, *table.lanes, "main", "light", *table.services]))

    def entries(self) -> list[dict[str, object]]:
        """The models as ``/v1/models`` lists them: those of backends, the local one, lanes; of the
        lanes that are there by themselves those that can answer."""
        owners: dict[str, str] = {}
        for choice in self.table.choices:  # in the order of stead.toml; of a name the first counts
            owners.setdefault(choice.model.called, choice.backend)
        if self._state is not None and self._state.phase != "off":
            owners.setdefault(self._state.model or LOCAL, LOCAL)
        for lane in (*self.table.lanes, *filter(self._answers, self._built_in())):
            owners[lane] = "stead"
        return [
            {"id": name, "object": "model", "created": 0, "owned_by": owner}
            for name, owner in owners.items()
        ]

    def _built_in(self) -> Iterator[str]:
        table = self.table
        for name in ("main", "light", *AS_MAIN, *table.services):
            group = table.groups.get(name)
            if name not in table.lanes and group is not None and group.lane == name:
                yield name

    def _answers(self, lane: str) -> bool:
        """Whether a built-in lane has a model that is there."""
        lost = self._state is None or self._state.phase in _LOST
        for choice in self.table.groups[lane].chains[0].choices:
            if choice is self.table.services.get(lane):
                if self._gives(lane):
                    return True
            elif (choice.instances or not lost) and (
                lane != "vision" or choice.model.vision != "no"
            ):
                return True
        return False

    def plays_local(self, name: str) -> bool:
        """Whether the local model is the first that is asked for that name."""
        if self.local is not None:
            self._look(self._clock())
        choices = self._group(name).chains[0].choices
        return bool(choices) and not choices[0].instances

    def profile(self, name: str) -> ModelProfile:
        """How to talk to what plays a role or has a name: the first that is there of a lane."""
        if self.local is not None:
            self._look(self._clock())
        chain = self._group(name if name not in _ANY else "auto").chains[0]
        if not chain.choices:
            raise ModelNotReady(NOTHING)
        now = self._clock()
        usable = (
            choice
            for choice in chain.choices
            if any(not place.objection(choice.model.name, now)[0] for place in choice.places)
            and (choice.instances or self._state is None or self._state.phase not in _LOST)
        )
        choice = next(usable, chain.choices[0])
        model = choice.model
        called = LOCAL if not choice.instances and not model.name else model.called
        seeing = "vision" if "vision" in self.table.lanes else ""
        if model.vision != "no":
            seeing = called
        elif any(one.model.vision != "no" for one in chain.choices):
            seeing = name
        return ModelProfile(called, model.tools, model.prompt, model.context, seeing)


@dataclass(slots=True)
class _Well:
    """Instances by index: those that may be asked now, and those that only might answer."""

    now: list[int]
    later: list[int] = field(default_factory=list)


#: A local model in these phases does not come by itself.
_LOST = frozenset({"failed", "missing", "off"})


def _shape(state: ModelState | None) -> tuple[object, ...]:
    """What of the local model's state decides about names and what it is good for."""
    if state is None or state.phase == "off":
        return ()
    return state.model, state.tools, state.prompt, state.context


def _shown(choice: Choice, index: int) -> str:
    """An instance for people: its address without what may be a password."""
    return choice.instances[index].url.rpartition("@")[2].removeprefix("http://")


def _beyond(
    ready: _Ready, choice: Choice, before: list[tuple[Choice, Way]], notes: list[str]
) -> bool:
    """Whether a choice that was put last would now be reached across a closed border."""
    paid, cloud = ready.opens
    crosses = (choice.costs and not paid and not all(one.costs for one, _ in before)) or (
        not choice.house and not cloud and any(one.house for one, _ in before)
    )
    if crosses and (words := f"{label(choice)} is not gone back to") not in notes:
        notes.append(words)
    return crosses


def _too_long(choice: Choice, asked: Asked, to_a_token: int) -> str:
    context = choice.model.context
    if asked.api not in _TEXT or asked.chars <= context * to_a_token:
        return ""
    verb = "are" if to_a_token == _SURELY else "may be"
    return f"about {asked.chars // _LIKELY} tokens {verb} too long for its context of {context}"
