"""What a question says about time: ``in March``, ``last week``, ``gestern``, ``le 7 mai 2024``.

Days are those of the machine's time zone, as in the names of the daily logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stead.memory.rank.timewords import (
    AGO,
    BEFORE,
    DAYS,
    LAST,
    LATEST,
    MONTHS,
    NUMBERS,
    ON,
    SINCE,
    THIS,
    UNITS,
    UNTIL,
    WEEKDAYS,
    any_of,
)
from stead.memory.rank.words import fold


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time that a question speaks of: from ``since`` up to, not with, ``until``
    (milliseconds since 1970; 0: open)."""

    since: int
    until: int
    words: str
    """How it stands in the question, folded."""
    month: int = 0
    """A month without a year was said: the last one that was is meant, and perhaps another."""
    day: int = 0
    """... and its day."""


@dataclass(frozen=True, slots=True)
class Times:
    """All that a question says about time."""

    spans: tuple[Span, ...] = ()
    latest: bool = False
    """It asks for what is now, or was the last time."""
    rest: str = ""
    """The question, folded, without these words."""

    @property
    def meant(self) -> str:
        """The spans in words: ``1 to 31 March 2026``."""
        return "; ".join(dict.fromkeys(said(span) for span in self.spans))


def read(text: str, now: int) -> Times:
    """``now``: milliseconds since 1970."""
    plain = fold(text)
    today = datetime.fromtimestamp(now / 1000).replace(hour=0, minute=0, second=0, microsecond=0)
    spans: list[Span] = []
    for pattern, meaning in _RULES:
        rest: list[str] = []
        end = 0
        for found in pattern.finditer(plain):
            span = meaning(found, today)
            if span is None:
                continue
            spans.append(_opened(span, plain[: found.start()]))
            rest += (plain[end : found.start()], " ")
            end = found.end()
        plain = "".join(rest) + plain[end:]
    return Times(tuple(spans), bool(LATEST.search(plain)), plain)


def said(span: Span) -> str:
    """A span in words, as people write it."""
    first = datetime.fromtimestamp(span.since / 1000) if span.since else None
    last = datetime.fromtimestamp((span.until - 1) / 1000) if span.until else None
    if first is None or last is None:
        day = first or last
        assert day is not None
        return f"{'since' if first else 'until'} {day.day} {day:%B %Y}"
    if first.date() == last.date():
        return f"{first.day} {first:%B %Y}"
    if (first.month, first.day, last.month, last.day) == (1, 1, 12, 31):
        return f"{first.year}" if first.year == last.year else f"{first.year} to {last.year}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {last.day} {last:%B %Y}"
    if first.year == last.year:
        return f"{first.day} {first:%B} to {last.day} {last:%B %Y}"
    return f"{first.day} {first:%B %Y} to {last.day} {last:%B %Y}"


# --- what the words mean -----------------------------------------------------------------------


def _ms(day: datetime) -> int:
    return int(day.timestamp() * 1000)


def _days(first: datetime, count: int, words: str) -> Span:
    return Span(_ms(first), _ms(first + timedelta(days=count)), words)


def _month(year: int, month: int, words: str, *, said_year: bool = True) -> Span:
    first = datetime(year, month, 1)
    after = datetime(year + month // 12, month % 12 + 1, 1)
    return Span(_ms(first), _ms(after), words, 0 if said_year else month)


def _date(year: int, month: int, day: int, words: str, *, said_year: bool = True) -> Span | None:
    try:
        first = datetime(year, month, day)
    except ValueError:
        return None
    span = _days(first, 1, words)
    return span if said_year else Span(span.since, span.until, words, month, day)


def _iso(found: re.Match[str], today: datetime) -> Span | None:
    year, month, day = (int(one) for one in found.groups())
    return _date(year, month, day, found[0])


def _dotted(found: re.Match[str], today: datetime) -> Span | None:
    """``7.5.2024``, ``7/5/2024``: the day first, unless there is no such month."""
    day, month, year = (int(one) for one in found.groups())
    year += 2000 if year < 100 else 0
    return _date(year, month, day, found[0]) or _date(year, day, month, found[0])


def _named(found: re.Match[str], today: datetime) -> Span | None:
    """``7 May 2024``, ``May 7th``, ``in March``, ``March 2024``."""
    part = found.groupdict()
    month = MONTHS[part["month"]]
    day = part.get("d1") or part.get("d2")
    if part.get("year"):
        year = int(part["year"])
        return _date(year, month, int(day), found[0]) if day else _month(year, month, found[0])
    if not day and part["month"] in _DOUBTFUL and not part.get("on"):
        return None
    year = today.year - (month > today.month)
    if day:
        return _date(year, month, int(day), found[0], said_year=False)
    return _month(year, month, found[0], said_year=False)


def _only_year(found: re.Match[str], today: datetime) -> Span | None:
    year = int(found["year"])
    if not 1900 <= year <= today.year + 30:
        return None
    return Span(_ms(datetime(year, 1, 1)), _ms(datetime(year + 1, 1, 1)), found[0])


def _day_word(found: re.Match[str], today: datetime) -> Span | None:
    return _days(today + timedelta(days=DAYS[found[1]]), 1, found[0])


def _unit_before(found: re.Match[str], today: datetime) -> Span | None:
    """``last week``, ``this month``, ``letztes Jahr``."""
    back = 0 if THIS.fullmatch(found["which"]) else 1
    return _of_unit(UNITS[found["unit"]], back, today, found[0])


def _of_unit(unit: str, back: int, today: datetime, words: str) -> Span:
    if unit == "day":
        return _days(today - timedelta(days=back), 1, words)
    monday = today - timedelta(days=today.weekday())
    if unit == "week":
        return _days(monday - timedelta(days=7 * back), 7, words)
    if unit == "weekend":
        return _days(monday - timedelta(days=7 * back - 5), 2, words)
    if unit == "month":
        months = today.year * 12 + today.month - 1 - back
        return _month(months // 12, months % 12 + 1, words)
    year = today.year - back
    return Span(_ms(datetime(year, 1, 1)), _ms(datetime(year + 1, 1, 1)), words)


def _weekday_before(found: re.Match[str], today: datetime) -> Span | None:
    """``last Friday``, ``am Freitag``: the last one before today."""
    back = (today.weekday() - WEEKDAYS[found["day"]] - 1) % 7 + 1
    return _days(today - timedelta(days=back), 1, found[0])


def _ago(found: re.Match[str], today: datetime) -> Span | None:
    """``three weeks ago``, ``vor zwei Tagen``, ``il y a un mois``: that day, week or month."""
    part = found.groupdict()
    many = part.get("n1") or part.get("n2") or "1"
    count = NUMBERS.get(many) or (int(many) if many.isdigit() else 1)
    unit = UNITS[part.get("u1") or part.get("u2") or ""]
    if count > 1000:
        return None
    if unit in ("day", "week", "weekend"):
        slack = 0 if unit == "day" else 3
        day = today - timedelta(days=count * (1 if unit == "day" else 7) + slack)
        return _days(day, 1 + 2 * slack, found[0])
    return _of_unit(unit, count, today, found[0])


def _opened(span: Span, before: str) -> Span:
    """``since March``: from then on; ``before 2024``: up to then."""
    word = (f"{before} {span.words}").rsplit(span.words, 1)[0].split()[-1:] or [""]
    for one in (word[0], span.words.split()[0]):
        if SINCE.fullmatch(one):
            return Span(span.since, 0, span.words)
        if BEFORE.fullmatch(one):
            return Span(0, span.since, span.words)
        if UNTIL.fullmatch(one):
            return Span(0, span.until, span.words)
    return span


# --- how they are written ----------------------------------------------------------------------


_DOUBTFUL = frozenset({"may", "march", "mar", "dec", "sept", "set", "mai", "ago", "abril", "jun"})
"""Months that are other words too: only with a day, a year or a word before them."""
_M = any_of(MONTHS)
_U = any_of(UNITS)
_N = rf"\d{{1,4}}|{any_of(NUMBERS)}"
_Y = r"(?P<year>(?:19|20)\d\d)"
_D = r"(\d{1,2})"
_OF = r"(?:of |de |del |di |do |van |d')?"
_PRE = rf"(?:(?P<on>{ON}) )?"

_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], datetime], Span | None]], ...] = (
    (re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b"), _iso),
    (re.compile(r"\b(\d{1,2})[./](\d{1,2})[./](\d{4}|\d\d)\b"), _dotted),
    (
        re.compile(
            rf"\b{_PRE}(?:the )?(?P<d1>\d{{1,2}})(?:st|nd|rd|th|er|\.|º|o)? {_OF}"
            rf"(?P<month>{_M})\b\.?(?:,? {_OF}{_Y})?"
        ),
        _named,
    ),
    (
        re.compile(
            rf"\b{_PRE}(?P<month>{_M})\b\.?"
            rf"(?: (?:the )?(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\b(?! ?%))?(?:,? {_OF}{_Y})?"
        ),
        _named,
    ),
    (re.compile(rf"\b(?:vor|hace|il y a|ha|fa) (?P<n1>{_N}) (?P<u1>{_U})\b"), _ago),
    (re.compile(rf"\b(?P<n2>{_N}) (?P<u2>{_U}) (?:{AGO})\b"), _ago),
    (re.compile(rf"\b(?P<which>{LAST}|{THIS.pattern}) (?P<unit>{_U})\b"), _unit_before),
    (
        re.compile(
            r"\b(?P<unit>semaine|mois|annee|week-end|semana|mes|ano|settimana|mese|anno) "
            r"(?P<which>derniere?|passee?|pasada|pasado|passada|passado|scorsa|scorso|dernier)\b"
        ),
        _unit_before,
    ),
    (re.compile(rf"\b({any_of(DAYS)})\b"), _day_word),
    (
        re.compile(
            rf"\b(?:{LAST}|on|am|le|el|los|op|na|afgelopen) (?P<day>{any_of(WEEKDAYS)})"
            r"(?: (?:dernier|pasado|scorso|passad[oa]))?\b"
        ),
        _weekday_before,
    ),
    (re.compile(rf"\b(?:{ON}|year|annee|jahr|ano|anno|jaar) {_Y}\b"), _only_year),
    (re.compile(rf"\b{_Y}\b"), _only_year),
)
