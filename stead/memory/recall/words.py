"""Words of texts, only as far as recall needs them: is there anything to look for, does a thing
fit at all, do two things say the same. How well it fits is the ranker's work."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
_JOINT = re.compile(r"['\u2019.-]")
_STEM = 5

#: Words by which nothing is looked for: greetings, thanks, and the commonest small words of the
#: languages that stead is spoken to in. Whoever says only these means no remembered thing.
_EMPTY = """
ping pong hi hey hello hallo hola salut bonjour moin servus thanks thank thx danke merci gracias
grazie bye ciao ok okay yes no ja nein oui non si good morning evening night guten morgen abend
please bitte stead test great fine cool super well
a an the this that these those and or but if then so of in on at to from by for with about as is
are was were be been am do does did done have has had can could will would should may might must
shall i you he she it we they me him her us them my your his its our their what which who whom
when where why how there here not too very just also any some all more most other tell say show
give make get know think want need let go going one now today
der die das ein eine einen einem einer und oder aber wenn dann von im in am an zu zum zur aus bei
für mit über als ist sind war waren sein bin habe hat hatte haben kann können will wird werden
soll ich du er sie es wir ihr mich dich mir dir uns mein meine dein deine was welche wer wann wo
warum wie da hier nicht auch nur noch mehr sag sage zeig gib mach heute jetzt
le la les un une des et ou mais si de du dans sur à au aux par pour avec est sont était je tu il
elle nous vous ils mon ma mes ton ta tes que quel quelle qui quand où pourquoi comment ici ne pas
aussi plus el los las uno una y o pero en con para es son era yo tú él ella mi mis tus qué cuál
quién cuándo dónde cómo también más lo gli i di che chi quando dove come sono het een van maar op
met voor ik jij hij zij wij wat wie waar hoe niet ook
"""


def fold(text: str) -> str:
    """Small letters without accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))


_EMPTY_FOLDED = frozenset(map(fold, _EMPTY.split()))


def content(text: str) -> list[str]:
    """The words that mean something, cut to their beginnings, each once, in their order."""
    found: dict[str, None] = {}
    for match in _WORD.finditer(fold(text)):
        word = match[0]
        if word in _EMPTY_FOLDED or (len(word) < 2 and not word.isdigit()):
            continue
        for part in (word, *(_JOINT.split(word) if not word.isalnum() else ())):
            if part and part not in _EMPTY_FOLDED:
                found[part if any(map(str.isdigit, part)) else part[:_STEM]] = None
    return list(found)


def share(wanted: frozenset[str] | set[str], text: str) -> float:
    """How many of the wanted words a text has, of all of them."""
    return len(wanted & {*content(text)}) / len(wanted) if wanted else 0.0


def alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two texts say the same, by their words."""
    if not one or not other:
        return one == other
    both = len(one & other)
    return both / len(one | other) >= 0.7 or both / min(len(one), len(other)) >= 0.9


def age(at: int, now: int) -> str:
    """How long ago a time (ms) was, in words; empty where it is not known."""
    if at <= 0:
        return ""
    days = (
        datetime.fromtimestamp(now / 1000).date() - datetime.fromtimestamp(at / 1000).date()
    ).days
    minutes = (now - at) // 60_000
    if minutes < 0:
        return f"on {day(at)}"
    if minutes < 2:
        return "just now"
    if minutes < 90:
        return f"{minutes} minutes ago"
    if days == 0 or minutes < 18 * 60:
        return f"{round(minutes / 60)} hours ago"
    if days <= 1:
        return "yesterday"
    for length, unit, most in ((1, "days", 13), (7, "weeks", 60), (30.44, "months", 700)):
        if days <= most:
            return f"{round(days / length)} {unit} ago"
    return f"{days / 365.25:.1f} years ago".replace(".0 ", " ")


def day(at: int) -> str:
    return datetime.fromtimestamp(at / 1000).strftime("%Y-%m-%d")
