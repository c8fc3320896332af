"""Which language a text is in, as far as a rule of routing needs to know.

By its script where that says it, else by the small words that every sentence has. It costs some
microseconds, needs nothing, and says nothing rather than guess.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache

_WORDS: Mapping[str, str] = {
    "cs": "a je se na že v to s z do jsem jak pro ale by jsou si co když jako tak už nebo který",
    "da": "og er det at en til på som af for ikke den med har jeg de et kan vi hvad hvor var også",
    "de": "der die das und ist nicht ich ein eine zu den mit auf für von dem wie was im auch es sie"
    " wir kannst bitte mir dass oder wenn nach bei",
    "en": "the and is of to in that it you for with this what how are on be can have not do was my"
    " please your from me a",
    "es": "el la los las que de y en un una es por con para no se lo del como qué está mi más pero"
    " cómo al puedes",
    "fi": "ja on ei se että en oli hän mutta mitä kun niin minä ole tämä miten kuin voi sen ovat",
    "fr": "le la les et est des un une que je pas dans pour du ce qui il vous sur avec au ne sont"
    " mon comment quel quelle peux",
    "hu": "a az és hogy nem egy is van ez meg csak de mit ha vagy mi ezt már el volt kell",
    "it": "il la che di e un una per non è con sono le del della mi come cosa i gli lo da più anche"
    " questo puoi",
    "nl": "de het een en van is dat niet ik in je op te met voor wat zijn hoe maar er aan ook mijn"
    " kun naar",
    "no": "og er det å en til på som av for ikke jeg med har de et kan vi hva hvor var også",
    "pl": "i w nie na się z jest to że do jak co a dla są od czy po ale tak mi jego już tym",
    "pt": "o a os as que de e em um uma é para não com por se do da no na como mais mas você meu"
    " está pode",
    "ro": "și în nu de la cu este pe un o că să din ce mai pentru sunt care am ca cum",
    "sv": "och är det att en till på som av för inte jag med har den ett kan vi vad var hur också",
    "tr": "ve bir bu da de için ne mi çok ile gibi ben var daha değil olan en kadar ama sen şu",
}
_SCRIPTS: Mapping[str, str] = {
    "ar": "\u0600-\u06ff",
    "el": "\u0370-\u03ff",
    "he": "\u0590-\u05ff",
    "hi": "\u0900-\u097f",
    "ja": "\u3040-\u30ff",
    "ko": "\uac00-\ud7af",
    "ru": "\u0400-\u04ff",
    "th": "\u0e00-\u0e7f",
    "zh": "\u4e00-\u9fff",
}
#: The codes (ISO 639-1) that :func:`language_of` can answer with.
LANGUAGES = frozenset({*_WORDS, *_SCRIPTS, "uk"})
_MOST = 2000


@cache  # not at import: every command reads the settings, few of them a text
def _word() -> re.Pattern[str]:
    return re.compile(r"[^\W\d_]+")


@cache
def _letters() -> dict[str, re.Pattern[str]]:
    return {code: re.compile(f"[{letters}]") for code, letters in _SCRIPTS.items()}


@cache
def _of_word() -> dict[str, tuple[str, ...]]:
    """The languages that have a word among their small ones."""
    out: dict[str, tuple[str, ...]] = {}
    for code, words in _WORDS.items():
        for word in words.split():
            out[word] = (*out.get(word, ()), code)
    return out


def language_of(text: str) -> str:
    """The code of its language; empty if that cannot be told. Only its beginning is looked at."""
    text = text[:_MOST].lower()
    words = _word().findall(text)
    letters = sum(map(len, words))
    if not letters:
        return ""
    if not text.isascii() and (code := _by_script(text, letters)):
        return code
    of_word = _of_word()
    votes: Counter[str] = Counter()
    for word in words:
        codes = of_word.get(word, ())
        for code in codes:
            votes[code] += 12 // len(codes)  # a word that many share says little
    first = votes.most_common(2)
    if not first or (len(first) > 1 and first[0][1] == first[1][1]):
        return ""
    return first[0][0]


def _by_script(text: str, letters: int) -> str:
    counts = {code: len(found.findall(text)) for code, found in _letters().items()}
    if counts["ja"] and (counts["ja"] + counts["zh"]) * 2 > letters:
        return "ja"  # Chinese has no kana
    code = max(counts, key=lambda one: counts[one])
    if counts[code] * 2 <= letters:
        return ""
    return "uk" if code == "ru" and re.search("[іїєґ]", text) else code
