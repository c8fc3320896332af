"""Whose words a text is, and whether a claim says what its quote says.

All of this is of words only: no model judges another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

#: Where a mail, or what was pasted from one, begins. What follows is not the owner's.
_FORWARDED = re.compile(
    r"^\W*(?:(?:begin )?forwarded message|original message|ursprüngliche nachricht|"
    r"weitergeleitete nachricht|message (?:transféré|d'origine)|mensaje (?:reenviado|original))\b"
    r"|^\s*(?:on|am|le|el|il)\b.{3,120}\b(?:wrote|schrieb|écrit|escribió|scritto)\b.{0,60}:\s*$",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"^\s*(?:from|to|cc|date|sent|subject|von|an|gesendet|betreff|datum|de|à|objet|para|asunto)"
    r"\s*:\s*\S",
    re.IGNORECASE,
)
_MAIL_QUOTE = re.compile(r"^\s*(?:>|\||┃)")
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]+(?:['\u2019.,:/@-][^\W_]+)*")
_NOT = _WORD.findall(
    "not no never none neither nor cannot without nicht kein keine keinen keiner nie niemals ohne"
    " pas jamais aucun aucune sans nunca ningún ninguna sin non mai nessun senza niet geen nooit"
    " zonder"
)
#: Words that carry nothing by themselves; a claim may have them though its quote has not.
_SMALL = _WORD.findall(
    "a an the and or of to in on at by for from with is are was were be been has have had will"
    " would do does did this that these those it its his her their my our your i we you he she"
    " they me us him them as than then so about into over owner stead said says wants prefers"
    " der die das den dem des ein eine einen einem einer und oder von zu zum zur im am an auf aus"
    " bei für mit ist sind war waren hat haben hatte wird werden er sie es wir ich mein meine"
    " sein ihre le la les un une des et ou de du au aux à en dans pour avec est sont était a ont"
    " el los las y o del al por con es son era ha han il lo gli e di da che una uno het een en"
    " van op te"
)
#: After these comes a value, of which there is mostly one.
_VALUE_NEXT = frozenset(
    _WORD.findall(
        "is are was by at on in ist sind war von bei am im est sont par chez es son en por è sono a"
        " da is zijn door op"
    )
)
#: What a claim about could cost the owner money, a key or his safety.
_DELICATE = re.compile(
    r"\b(?:iban|bic|swift|bank|account|konto|kontonummer|bankverbindung|card|credit|kreditkarte|"
    r"paypal|wallet|bitcoin|crypto|invoice|rechnung|transfer|überweis\w*|payment|zahlung\w*|pay|"
    r"password|passwort|passphrase|kennwort|mot de passe|contraseña|secret|token|api[ -]?key|"
    r"pin|tan|otp|2fa|login|credential\w*|ssn|passport|reisepass|"
    r"[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){3,7}(?: ?[a-z0-9]{1,3})?)\b",
    re.IGNORECASE,
)
#: What would tell stead how to behave: such a line is an instruction, and those are the owner's.
_ORDER = re.compile(
    r"\b(?:ignore|disregard|always (?:send|allow|approve|answer|run|trust|forward)|"
    r"never (?:ask|tell|warn|refuse|mention)|without asking|do not (?:ask|tell|warn)|"
    r"from now on,? (?:you|stead|always|never)|"
    r"instruction\w*|system prompt|you (?:must|should|are)|stead (?:must|should|shall)|"
    r"immer (?:senden|erlauben)|ohne (?:zu fragen|rückfrage)|forward (?:all|every))\b",
    re.IGNORECASE,
)


def flat(text: str) -> str:
    """White space as single spaces."""
    return _SPACE.sub(" ", text).strip()


def own_words(text: str) -> str:
    """What of a message its writer wrote himself: without what is quoted in it as mail programs
    do, what is pasted under a mail's head, and blocks of code."""
    kept: list[str] = []
    fenced, headers = False, 0
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if _FENCE.match(line):
            fenced = not fenced
            continue
        if fenced or _MAIL_QUOTE.match(line):
            continue
        if _FORWARDED.search(line):
            break
        headers = headers + 1 if _HEADER.match(line) else 0
        if headers == 2:  # the head of a mail, and all that comes after it
            del kept[-1:]
            break
        kept.append(lines[at])
    return "\n".join(kept).strip()


def parts(text: str, most: int) -> Iterator[str]:
    """A text in pieces of at most ``most`` characters, cut between sentences where that goes."""
    while len(text) > most:
        cut = max(text.rfind(mark, most // 2, most) for mark in ("\n", ". ", "! ", "? ", "; "))
        cut = cut + 1 if cut > 0 else most
        yield text[:cut].strip()
        text = text[cut:].strip()
    if text:
        yield text


def words(text: str) -> list[str]:
    """The words of a text, folded: lower case, without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))


def telling(text: str) -> frozenset[str]:
    """The words that carry something, cut to their beginnings so that endings do not matter."""
    return frozenset(
        _stem(word) for word in words(text) if word not in _SMALL_FOLDED and word not in _NOT_FOLDED
    )


def negated(text: str) -> bool:
    return any(word in _NOT_FOLDED or word.endswith(("n't", "n\u2019t")) for word in words(text))


def figures(text: str) -> frozenset[str]:
    """What has a digit in it: numbers, dates, addresses, versions."""
    return frozenset(word for word in words(text) if any(c.isdigit() for c in word))


def certain(text: str, quote: str, topic: str) -> bool:
    """Whether every word of a claim that carries something stands in its quote (or its topic),
    with nothing denied that is not denied there, and nothing left out that is."""
    said = telling(quote)
    return (
        telling(text) <= said | telling(topic)
        and bool(telling(text) & said)
        and figures(text) <= figures(quote)
        and negated(text) == negated(quote)
    )


def grounded(text: str, line: str, topic: str) -> bool:
    """Whether a claim may come from a line at all: its figures stand there, and most of what it
    says."""
    claim, said = telling(text), telling(line)
    if not claim or not figures(text) <= figures(line):
        return False
    return len(claim & (said | telling(topic))) >= 0.7 * len(claim) and bool(claim & said)


def question(text: str) -> bool:
    return text.rstrip(" \"')\u201d\u2019").endswith(("?", "\uff1f"))


def delicate(text: str) -> bool:
    """Whether it is about money, keys or papers."""
    return bool(_DELICATE.search(text))


def order(text: str) -> bool:
    """Whether it would tell stead how to behave."""
    return bool(_ORDER.search(text))


def alike(one: str, other: str) -> float:
    """How much two statements share of what they say, from 0 to 1."""
    mine, theirs = telling(one), telling(other)
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0


def same(one: str, other: str) -> bool:
    """Whether two statements say the same: the same words, figures and denials."""
    return (
        telling(one) == telling(other)
        and figures(one) == figures(other)
        and negated(one) == negated(other)
    )


def rivals(one: str, other: str, topic: str = "") -> bool:
    """Whether two statements are about the same and may not both hold: they begin alike and end in
    another value (``the gate code is 1234``, ``serviced by Karl``), they say the same of their
    ``topic`` with another at the beginning (``Karl services the boiler``), or most words are
    shared."""
    if same(one, other):
        return False
    first, second = words(one), words(other)
    shared = _shared(first, second)
    if shared >= 2 and first[shared - 1] in _VALUE_NEXT:
        return True
    ending = _shared(first[::-1], second[::-1])
    if ending >= 3 and telling(" ".join(first[-ending:])) & telling(topic):
        return True
    if alike(one, other) >= 0.5:
        return True
    mine, theirs = telling(one), telling(other)
    smaller = min(len(mine), len(theirs))
    return smaller >= 3 and len(mine & theirs) >= 0.75 * smaller


def _shared(first: list[str], second: list[str]) -> int:
    """How many words they begin with together."""
    for at, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return at
    return min(len(first), len(second))


def _stem(word: str) -> str:
    if any(c.isdigit() for c in word):
        return word
    return word[:6].rstrip("s") if len(word) > 3 else word


_SMALL_FOLDED = frozenset(word for one in _SMALL for word in words(one))
_NOT_FOLDED = frozenset(word for one in _NOT for word in words(one))
