"""Secrets and card numbers are taken out of what is to be remembered, before it is written.

A file of memory is read by models, copied, kept in a history and in backups: what should be in none
of them must not come into the file. Known are the forms of keys of many services, private keys,
passwords that are said as such, card numbers (by brand, length and check digit), and the values
under ``secrets/``. A password that nothing tells from a word cannot be known.
"""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Mask = Callable[[str], str]

_LOOK_S = 2.0
_LEAST = 6
"""Known values shorter than this are left: they would black out half of every text."""
_MOST = 65_536

#: What looks like a key by its beginning; the beginnings are those that the services document.
_KEYS = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-(?:ant-|proj-|svcacct-|or-v1-)?[A-Za-z0-9_-]{20,}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{20,}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"
    r"|gl(?:pat|ptt|dt|rt|cbt|soat)-[A-Za-z0-9_.-]{18,}"
    r"|xox[abceoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{20,}"
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{50,}|gsk_[A-Za-z0-9]{30,}"
    r"|do[opr]_v1_[a-f0-9]{60,}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{30,}|SG\.[\w-]{20,}\.[\w-]{30,}"
    r"|sq0(?:csp|atp)-[A-Za-z0-9_-]{20,}|dapi[a-f0-9]{32}|lin_api_[A-Za-z0-9]{30,}"
    r"|xai-[A-Za-z0-9]{40,}|pplx-[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{30,}|tskey-[A-Za-z0-9-]{20,}"
    r"|s[ojnpr]_[A-Za-z0-9_-]{40,}|AGE-SECRET-KEY-1[A-Z0-9]{50,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|\d{8,10}:AA[A-Za-z0-9_-]{32,34}|[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[\w-]{27,40}"
    r")",
    re.ASCII,
)
_PRIVATE = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|.*)",
    re.DOTALL,
)
_HOOKS = re.compile(
    r"(https://(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks)/)"
    r"[\w/+-]{20,}"
)
_IN_URL = re.compile(r"(?<=://)([^/\s:@'\"<>]{0,200}):([^/\s@'\"<>]{1,200})@")
_HEADER = re.compile(
    r"(?i)\b((?:bearer|basic|token)\s+)(?=[^\s]*\d)[A-Za-z0-9._~+/-]{16,}={0,2}(?![A-Za-z0-9])"
)
_PASSWORD = (
    r"pass(?:word|wort|wd|code|phrase)|(?<=[_-])pass|pwd|kennwort|zugangscode|mot de passe|mdp"
    r"|contrase[nñ]a|clave (?:de acceso|secreta|wifi|del wifi)|wachtwoord|senha"
    r"|parola d['\u2019]ordine|has[lł]o|passkey"
)
_SECRET = (
    r"(?:api|access|secret|private|account|client|auth|signing|encryption|master|license|lizenz)"
    r"[ _-]?(?:key|token|secret|schl(?:ü|ue)ssel)s?|secret|token|api[ _-]?schl(?:ü|ue)ssel"
)
_SIGN = r"[\"'`*]{0,3}[ \t]{0,9}(?:=>|:=|[:=])[ \t]{0,9}"
_QUOTED = r"[\"'`\u201c\u201e\u00ab]?"
_WORD = r"[^\s\"'`,;<>\u201d\u00bb]"
#: Said with a sign that gives something a value: whatever follows is the value.
_GIVEN = re.compile(
    rf"(?i)((?<![a-z])(?:{_PASSWORD}){_SIGN})(\"[^\"\n]{{4,200}}\"|'[^'\n]{{4,200}}'"
    rf"|{_QUOTED}{_WORD}{{4,200}})"
)
_KEY_GIVEN = re.compile(rf"(?i)((?<![a-z])(?:{_SECRET}){_SIGN}{_QUOTED})({_WORD}{{8,500}})")
#: Said in words: what follows must look like more than a word.
_TOLD = re.compile(
    rf"(?i)((?<![a-z])(?:{_PASSWORD}|{_SECRET})\b[^\n.:=]{{0,40}}?[ \t]"
    rf"(?:is|ist|lautet|wurde|est|es|[eè]|war|was|to|auf|now|jetzt)[ \t]?:?[ \t]{{1,9}}{_QUOTED})"
    rf"({_WORD}{{4,200}})"
)
_PIN = re.compile(
    r"(?i)(\b(?:pin|puk|cvv2?|cvc2?|tan)\b[^\n\d]{0,24}?(?:is|ist|lautet|est|es|[:=]|code|nummer)\s*)"
    r"(\d{3,8})(?!\d)"
)
_RUN = re.compile(r"(?<![\w+.])\d(?:[ \u00a0\u202f-]{0,2}\d|\n {0,2}\d){12,70}(?![\w])")
_GROUP = re.compile(r"\d+")
_ABROAD = re.compile(r"\+\d{1,3}[ -]?$")
"""Before it: a number of a telephone."""
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}[ ]?$")


def mask(text: str) -> str:
    """The text with ``[masked: ...]`` in place of what should not be remembered; the same text, if
    there is nothing. Masking twice changes nothing more."""
    text = _PRIVATE.sub("[masked: private key]", text)
    text = _HOOKS.sub(r"\1[masked: key]", text)
    text = _KEYS.sub("[masked: key]", text)
    text = _IN_URL.sub(_of_url, text)
    text = _HEADER.sub(r"\1[masked: key]", text)
    text = _GIVEN.sub(_password, text)
    text = _KEY_GIVEN.sub(_if_key, text)
    text = _TOLD.sub(_if_odd, text)
    text = _PIN.sub(r"\1[masked: code]", text)
    return _RUN.sub(_cards, text)


def _of_url(found: re.Match[str]) -> str:
    return found[0] if found[2].startswith("[masked") else f"{found[1]}:[masked: password]@"


def _password(found: re.Match[str]) -> str:
    bare = found[2].strip("\"'`\u201c\u201e\u00ab")
    if bare.startswith("[masked") or (bare[0] in "[${*" and not _odd(bare.strip("[]${}*"))):
        return found[0]  # masked already, or the name of a variable
    return f"{found[1]}[masked: password]"


def _if_odd(found: re.Match[str]) -> str:
    value = found[2].rstrip(".!?)")
    if found[2].startswith("[masked") or not _odd(value):
        return found[0]
    return f"{found[1]}[masked: password]{found[2][len(value) :]}"


def _if_key(found: re.Match[str]) -> str:
    value = found[2]
    whole = len(value) >= 8 and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    if value.startswith(("[masked", "$", "{")) or not whole:
        return found[0]
    return f"{found[1]}[masked: key]"


def _odd(value: str) -> bool:
    """Whether it looks like more than a word or a number of a few digits."""
    if len(value) < 4:
        return False
    letters = any(c.isalpha() for c in value)
    digits = any(c.isdigit() for c in value)
    signs = any(not c.isalnum() and c not in "-'\u2019._/:" for c in value[:-1])
    mixed = value != value.lower() and value[1:] != value[1:].lower() and value != value.upper()
    return (letters and digits) or (letters and signs) or mixed or (digits and len(value) >= 6)


# --- card numbers ----------------------------------------------------------------------------


def _cards(found: re.Match[str]) -> str:
    """A run of digits in groups, with those that make up a card number taken out."""
    run = found[0]
    before = found.string[max(0, found.start() - 6) : found.start()]
    if _IBAN.search(before) or _ABROAD.search(before):
        return run
    groups = [(one.start(), one.end()) for one in _GROUP.finditer(run)]
    out, at, first = [], 0, 0
    while first < len(groups):
        last = _card_from(run, groups, first)
        if last is not None:
            start, end = groups[first][0], groups[last][1]
            four = "".join(filter(str.isdigit, run[start:end]))[-4:]
            out += [run[at:start], f"[masked: card number ending in {four}]"]
            at, first = end, last
        first += 1
    return "".join((*out, run[at:]))


def _card_from(run: str, groups: list[tuple[int, int]], first: int) -> int | None:
    digits = ""
    for last in range(first, len(groups)):
        digits += run[slice(*groups[last])]
        if len(digits) > 19:
            return None
        if is_card(digits):
            return last
    return None


def is_card(digits: str) -> bool:
    """Whether digits are the number of a payment card: ISO/IEC 7812, the ranges of the big brands,
    and the check digit."""
    size = len(digits)
    if not 13 <= size <= 19 or len(set(digits)) == 1:
        return False
    four = int(digits[:4])
    brand = (
        (digits[0] == "4" and size in (13, 16, 19))
        or ((5100 <= four <= 5599 or 2221 <= four <= 2720) and size == 16)
        or (four // 100 in (34, 37) and size == 15)
        or ((3000 <= four <= 3059 or four // 100 in (36, 38, 39)) and 14 <= size <= 19)
        or ((3528 <= four <= 3589) and 16 <= size <= 19)
        or (four // 100 in (50, 56, 57, 58, 60, 61, 62, 63, 64, 65, 67, 68, 69) and size >= 16)
    )
    return brand and _luhn(digits)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


# --- values that are known -------------------------------------------------------------------


class Masking:
    """:func:`mask`, and the values of the files in a folder (``secrets/``) as they are now.

    A value that cannot be read is passed over: this process has not got it either.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looked = -_LOOK_S
        self._seen: list[tuple[str, int, int]] | None = None
        self._values: list[tuple[str, str]] = []

    def __call__(self, text: str) -> str:
        self._look()
        for value, name in self._values:
            if value in text:
                text = text.replace(value, f"[masked: secret {name}]")
        return mask(text)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        seen: list[tuple[str, int, int]] = []
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.iterdir()):
                info = path.stat()
                seen.append((path.name, info.st_mtime_ns, info.st_size))
        if seen != self._seen:
            self._seen = seen
            self._values = sorted(self._known(), key=lambda one: -len(one[0]))

    def _known(self) -> Iterator[tuple[str, str]]:
        assert self._seen is not None
        for name, _, size in self._seen:
            if size > _MOST:
                continue
            try:
                value = (self._folder / name).read_text().strip()
            except (OSError, UnicodeDecodeError):
                continue
            if len(value) >= _LEAST:
                title = name.removesuffix(".secret")
                yield value, title
                yield base64.b64encode(value.encode()).decode().rstrip("="), title
                for line in value.splitlines()[1:-1]:
                    if len(line.strip()) >= 16:
                        yield line.strip(), title
