"""Names become models: what a :class:`~stead.inference.routing.rules.Setup` means, worked out once.

Nothing here looks at how things are at the moment; see ``routes.py`` for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate

from stead.core.errors import ConfigError
from stead.inference.backends import LOCAL, Backend, BackendModel
from stead.inference.routing.health import Health, Place
from stead.inference.routing.rules import AS_MAIN, BY_API, FAMILIAR, SHAPES, Lane, Setup
from stead.inference.seam import Api, Way

#: What the local model's server is asked for.
_LOCAL_APIS = frozenset({Api.CHAT})


@dataclass(slots=True, eq=False)
class Choice:
    """A model at a backend, with all instances of it."""

    label: str
    """``home/qwen``, or ``local``."""
    backend: str
    names: frozenset[str]
    """All that may mean it, for keys that are good for some models only."""
    model: BackendModel
    instances: tuple[Backend, ...]
    """Empty: the local model."""
    places: tuple[Place, ...]
    house: bool
    costs: bool
    apis: frozenset[str]
    index: dict[str, int] = field(default_factory=dict)
    """Of an instance, by its place."""
    _ways: dict[Api, tuple[Way, ...]] = field(default_factory=dict)

    def ways(self, api: Api) -> tuple[Way, ...]:
        """A way to each instance for a request of that shape; none if it cannot take it."""
        known = self._ways.get(api)
        if known is None:
            shape = next((shape for shape in SHAPES[api] if shape in self.apis), None)
            known = ()
            if shape is not None:
                known = tuple(Way(self.model, at, shape) for at in self.instances or (None,))
            self._ways[api] = known
        return known

    def lacks(self, api: Api, *, tools: bool, images: bool) -> str:
        """What such a request needs and it has not got, in words; empty if it fits."""
        if not self.ways(api):
            return f"it cannot be asked for {api.value}"
        if tools and self.model.tools == "none":
            return "it has no use for tools"
        if images and self.model.vision == "no":
            return "it sees no images"
        return ""


@dataclass(frozen=True, slots=True)
class Chain:
    """Choices in the order of trying, and what was left out of it, in words."""

    choices: tuple[Choice, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """What a name stands for."""

    name: str
    lane: str
    """Empty where a model was named."""
    why: str
    """The reason in words, to be followed by what it comes to."""
    chains: tuple[Chain, ...]
    """One for each model that a conversation may begin with."""
    bounds: tuple[float, ...] = ()
    """Where the share of each chain ends, the last at 1; empty: there is but one."""
    shadow: Choice | None = None
    shadow_share: float = 1.0
    paid: bool = False
    cloud: bool = False


class Table:
    """All names of one setup. ``local`` is the local model if there is to be one now.

    Raises ``ConfigError`` for a lane that names what is not there, or itself.
    """

    def __init__(self, setup: Setup, health: Health, local: Choice | None) -> None:
        self.setup = setup
        self.local = local
        self.choices: list[Choice] = _choices(setup.backends, health)
        self.judged = {
            rule.name: f"judged by the rule {rule.name} ({rule.words()})" for rule in setup.judges
        }
        """Why a rule's lane was taken, in words."""
        self.lanes: dict[str, Lane] = {lane.name: lane for lane in setup.lanes}
        self.services = {
            lane: _service(lane, backend, health) for lane, backend in setup.services.items()
        }
        self._by_name: dict[str, Choice] = {}
        for choice in self.choices:
            model, backend = choice.model, choice.instances[0].name
            for name in (
                f"{backend}/{model.called}", model.called, f"{backend}/{model.name}", model.name
            ):  # fmt: skip
                self._by_name.setdefault(name, choice)
        self.groups: dict[str, Group] = {lane.name: self._lane(lane) for lane in setup.lanes}
        for name in ("main", "light", *AS_MAIN):
            if name not in self.groups and (name not in self._by_name or name not in AS_MAIN):
                self.groups[name] = self._role(name)
        for name, choice in self.services.items():
            if name not in self.groups and name not in self._by_name:
                why = f"lane {name} is stead's own service"
                self.groups[name] = Group(name, name, why, (Chain((choice,)),))

    def find(self, name: str) -> Group | None:
        """What a name stands for that a request gives; not for ``auto`` and the local model."""
        group = self.groups.get(name)
        if group is None and (choice := self._by_name.get(name)) is not None:
            group = self.groups[name] = self.only(name, choice)
        return group

    def stand_in(self, api: Api, name: str) -> str:
        """The lane that answers to a name that is nobody's here but that many clients ask for;
        empty: none, or none that is free and in the house."""
        lane = BY_API.get(api, "")
        if name not in FAMILIAR.get(api, ()) or self.find(name) is not None:
            return ""
        group = self.find(lane)
        choices = [choice for chain in group.chains for choice in chain.choices] if group else []
        return lane if choices and not any(c.costs or not c.house for c in choices) else ""

    def only(self, name: str, choice: Choice) -> Group:
        """What one model's name stands for."""
        return Group(name, "", f"{name} was asked for", (Chain((choice,)),))

    def instead(self) -> Choice | None:
        """What ``auto`` means where there is no local model."""
        return self.local or (self.choices[0] if self.choices else None)

    def keys(self) -> Iterator[str]:
        """The places of all instances."""
        yield LOCAL
        for choice in (*self.choices, *self.services.values()):
            for place in choice.places:
                yield place.key

    def _model(self, name: str) -> Choice | None:
        """The model of that name, ``auto`` being the local one."""
        if name in ("auto", LOCAL):
            return self.local
        found = self._by_name.get(name) or self.services.get(name)
        if found is None and self.local is not None and name in self.local.names:
            return self.local
        return found

    # --- lanes ---

    def _lane(self, lane: Lane) -> Group:
        weights = lane.weights if any(lane.weights) else ()
        firsts = [i for i, weight in enumerate(weights) if weight > 0] or [0]
        chains = []
        for first in firsts:
            order = [first, *(i for i in range(len(lane.models)) if i != first)]
            names = [lane.models[i] for i in order]
            found = list(_once(self._expand(names, (lane.name,))))
            chains.append(_within_borders(lane, found))
        bounds: tuple[float, ...] = ()
        if len(chains) > 1:
            total = sum(weights)
            bounds = tuple(sum_ / total for sum_ in accumulate(w for w in weights if w > 0))
        shadow = self._model(lane.shadow) if lane.shadow else None
        if shadow is not None and _crosses(lane, [c for ch in chains for c in ch.choices], shadow):
            shadow = None
        return Group(
            lane.name, lane.name, f"lane {lane.name}", tuple(chains), bounds, shadow,
            lane.shadow_share, lane.paid, lane.cloud,
        )  # fmt: skip

    def _expand(self, names: Iterable[str], trail: tuple[str, ...]) -> Iterator[Choice]:
        for name in names:
            inner = self._inner(name)
            if inner is not None:
                if name in trail:
                    raise ConfigError(why=f"lane {trail[0]} goes round in a circle at {name}")
                yield from self._expand(inner, (*trail, name))
            elif (choice := self._model(name)) is not None:
                yield choice
            elif name not in ("auto", LOCAL):  # the local model may be off
                raise ConfigError(why=f"lane {trail[-1]} names {name}, which is not there")

    def _inner(self, name: str) -> tuple[str, ...] | None:
        """The models of a name that is a lane."""
        lane = self.lanes.get(name)
        if lane is not None:
            return lane.models
        if name in self._by_name:
            return None
        if name in AS_MAIN:
            return ("main",)
        if name not in ("main", "light"):
            return None
        target = self.setup.roles.get(name, "auto")
        if target == "auto" and (first := self.instead()) is not None:
            target = first.label
        return (target,)

    def _role(self, name: str) -> Group:
        """``main`` and ``light`` where no lane is called so, and what goes the way of ``main``."""
        if name in AS_MAIN:
            main = self.groups["main"]
            why = f"lane {name} is not set up, so as main: {main.why}"
            return replace(main, name=name, lane=name, why=why)
        target = self.setup.roles.get(name, "auto")
        lane = self.groups.get(target)
        if target in self.lanes and lane is not None:
            return replace(lane, name=name, lane=name, why=f"role {name} is lane {target}")
        inner = self._inner(target)
        if inner is not None:
            choices = tuple(_once(self._expand(inner, (name, target))))
        else:
            choice = self.instead() if target == "auto" else self._model(target)
            choices = (choice,) if choice is not None else ()
        why = f"role {name} is {target}"
        if target == "auto" and self.local is None:
            why += ", and there is no local model, so the first backend's"
        return Group(name, name, why, (Chain(choices),))


def local_choice(model: BackendModel, names: frozenset[str], health: Health) -> Choice:
    """The local model, as it is at the moment."""
    return Choice(
        LOCAL, LOCAL, names | {"auto", LOCAL}, model, (), (health.place(LOCAL),), True, False,
        _LOCAL_APIS, {LOCAL: 0},
    )  # fmt: skip


def _choices(backends: Iterable[Backend], health: Health) -> list[Choice]:
    by_name: dict[str, list[Backend]] = {}
    for backend in backends:
        by_name.setdefault(backend.name, []).append(backend)
    return [
        _choice(model, tuple(instances), health)
        for instances in by_name.values()
        for model in instances[0].models
    ]


def _choice(model: BackendModel, instances: tuple[Backend, ...], health: Health) -> Choice:
    first = instances[0]
    house = all(at.keeps(model) for at in instances)
    names = {model.name, model.called}
    names |= {f"{first.name}/{name}" for name in names} | {f"{first.name}/*"}
    return Choice(
        label=f"{first.name}/{model.called}",
        backend=first.name,
        names=frozenset(names),
        model=model,
        instances=instances,
        places=tuple(health.place(at.place) for at in instances),
        house=house,
        # What is in the cloud and has no price here is taken to have one there.
        costs=model.paid or (not house and not model.free),
        apis=first.apis & model.apis if model.apis else first.apis,
        index={at.place: number for number, at in enumerate(instances)},
    )


def _service(lane: str, backend: Backend, health: Health) -> Choice:
    model = backend.models[0] if backend.models else BackendModel(lane)
    choice = _choice(model, (backend,), health)
    choice.label = lane
    choice.names |= {lane}
    return choice


def _once(choices: Iterable[Choice]) -> Iterator[Choice]:
    seen: set[int] = set()
    for choice in choices:
        if id(choice) not in seen:
            seen.add(id(choice))
            yield choice


def _crosses(lane: Lane, before: Iterable[Choice], choice: Choice) -> str:
    """Which border there is between those before and that one, in words; empty if none that
    ``lane`` does not open."""
    found = list(before)
    words = []
    if choice.costs and not lane.paid and not all(one.costs for one in found):
        words.append("it is paid for")
    if not choice.house and not lane.cloud and any(one.house for one in found):
        words.append("it is in the cloud")
    return " and ".join(words)


def _within_borders(lane: Lane, order: list[Choice]) -> Chain:
    """The order without what would follow something free, or something in the house, across a
    border that the lane does not open."""
    kept: list[Choice] = []
    left: list[str] = []
    for choice in order:
        words = _crosses(lane, kept, choice)
        if words:
            keys = [key for key, word in (("paid", "paid"), ("cloud", "cloud")) if word in words]
            says = " and ".join(f"{key} = true" for key in keys)
            left.append(f"{choice.label}: {words}, and lane {lane.name} does not say {says}")
        else:
            kept.append(choice)
    return Chain(tuple(kept), tuple(left))


def left_out(table: Table) -> Mapping[str, tuple[str, ...]]:
    """What lanes name and can never reach, by lane."""
    return {
        name: tuple(dict.fromkeys(word for chain in group.chains for word in chain.left_out))
        for name, group in table.groups.items()
        if name in table.lanes and any(chain.left_out for chain in group.chains)
    }
