"""Which of what was found an agent is shown: few, short, each of another kind and meaning.

Pure: from a message, what is visible of its conversation, and what the index has found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stead.core.recall import Recalled
from stead.memory.nouns import Entry, Found, Hit, Layer, Question
from stead.memory.recall.words import age, alike, content, day, fold

#: An answer of stead's that itself was made of what was remembered: never new material.
RECALLED_TAG = "recalled"

_FOLLOW_UP = 3
"""With fewer words that mean something, a message is a follow-up: what went before helps."""
_FITS_WORDS = 0.3
"""Of the words of the question, so much must an entry have..."""
_FITS_COSINE = 0.87
"""...or be so near in meaning (multilingual E5-small: unrelated texts lie around 0.75 to 0.82)."""
_WORTH = 0.3
"""What scores less than this part of the best is left out."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much an agent may be shown."""

    chars: int
    items: int
    longest: int
    """Characters of one entry; the rest is cut off, its source says where to read on."""


#: By the ``prompt`` of a model's profile: those that read slowly get very little.
BUDGETS = {"full": Budget(3000, 8, 700), "small": Budget(500, 3, 240)}


@dataclass(frozen=True, slots=True)
class Visible:
    """What the agent sees of the conversation anyway."""

    session: str = ""
    since: int = 0
    """When the first turn that is shown was said (ms)."""
    texts: tuple[str, ...] = ()
    """Of the turns shown, the last one last."""
    jobs: frozenset[str] = frozenset()
    last: str = ""
    """What the owner said last before this message."""
    folded: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folded", tuple(" ".join(fold(one).split()) for one in self.texts))

    def has(self, entry: Entry) -> bool:
        """Whether an entry is part of it."""
        if self.session and entry.session == self.session and entry.at >= self.since > 0:
            return True
        said = entry.layer is Layer.DAILY and entry.ident
        if said and any(job.endswith(entry.ident) for job in self.jobs):
            return True
        text = " ".join(fold(entry.text).split())
        return len(text) > 12 and any(text in one for one in self.folded)


def question(text: str, last: str = "", *, now: int = 0, limit: int = 30) -> Question | None:
    """What to look for; None: the message means nothing that could be remembered."""
    words = content(text)
    if not any(len(word) > 2 or word.isdigit() for word in words):
        return None
    asked = text if len(words) >= _FOLLOW_UP or not last else f"{text}\n{last[:300]}"
    return Question(asked[:2000], limit=limit, now=now)


def chosen(found: Found, text: str, seen: Visible, budget: Budget) -> list[Hit]:
    """The hits that are shown, the best first."""
    wanted = frozenset(content(text)) or frozenset(content(seen.last))
    context = wanted | frozenset(content(seen.last)) if len(wanted) < _FOLLOW_UP else wanted
    fit = [hit for hit in found.hits if _fits(hit, wanted, context) and not seen.has(hit.entry)]
    # What others wrote binds the hands of the run that is shown it: it comes unasked only where
    # nothing of the owner's own fits. Who wants it can search for it.
    fit = [hit for hit in fit if not hit.entry.foreign] or fit
    if not fit:
        return []
    best = max(hit.score for hit in fit)
    fit = [hit for hit in fit if hit.score >= best * _WORTH or best <= 0]
    taken: list[Hit] = []
    said: list[frozenset[str]] = []
    left = budget.chars
    for hit in _in_turn(fit, best):
        words = frozenset(content(hit.entry.text))
        if any(alike(words, one) for one in said):
            continue
        size = len(clipped(hit.entry.text, budget.longest)) + len(hit.entry.source) + 30
        if size > left or len(taken) >= budget.items:
            continue
        taken.append(hit)
        said.append(words)
        left -= size
    return taken


def _fits(hit: Hit, wanted: frozenset[str], context: frozenset[str]) -> bool:
    """Whether it has to do with the question at all: the ranker always finds a best."""
    entry = hit.entry
    if not entry.text.strip() or (entry.layer is Layer.DAILY and not entry.speaker):
        return False  # a line on a step or a notice: nobody said it
    if hit.signals.get("cosine", 0.0) >= _FITS_COSINE:
        return True
    has = {*content(" ".join((entry.text, entry.title, *entry.tags, *entry.people)))}
    least = max(1.0, _FITS_WORDS * len(wanted)) if len(wanted) <= 8 else 3.0
    if len(wanted & has) >= least:
        return True
    return wanted != context and len(context & has) >= max(2.0, _FITS_WORDS * len(context))


def _in_turn(hits: Sequence[Hit], best: float) -> list[Hit]:
    """The best of each layer first, then the others by score; what was made of memory last."""
    fresh = [hit for hit in hits if RECALLED_TAG not in hit.entry.tags]
    fresh.sort(key=lambda hit: -hit.score)
    first: list[Hit] = []
    layers: set[Layer] = set()
    for hit in fresh:
        if hit.entry.layer not in layers and hit.score >= best / 2:
            layers.add(hit.entry.layer)
            first.append(hit)
    made = [hit for hit in hits if RECALLED_TAG in hit.entry.tags]
    return [*first, *(hit for hit in fresh if hit not in first), *made]


def clipped(text: str, most: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def told(hit: Hit, budget: Budget, now: int, checked: str = "") -> Recalled:
    """An entry as it is kept with the job and shown."""
    entry = hit.entry
    return Recalled(
        text=clipped(entry.text, budget.longest),
        source=entry.source,
        key=entry.key,
        layer=entry.layer.value,
        title=entry.title,
        speaker=entry.speaker,
        age=age(entry.at, now),
        held_until=day(entry.until) if entry.until else "",
        checked=checked,
        foreign=entry.foreign,
        private=entry.private,
        score=round(hit.score, 4),
        signals={name: round(value, 4) for name, value in hit.signals.items() if value},
    )
