"""Words for time in English, German, French, Spanish, Italian, Portuguese and Dutch, folded."""

from __future__ import annotations

import re
from collections.abc import Iterable

MONTHS: dict[str, int] = {}
for _index, _names in enumerate(
    (
        "january jan januar janner janvier enero gennaio janeiro januari",
        "february feb februar fevrier febrero febbraio fevereiro februari",
        "march mar marz marz maerz mars marzo marco maart",
        "april apr avril abril aprile",
        "may mai mayo maggio maio mei",
        "june jun juni juin junio giugno junho",
        "july jul juli juillet julio luglio julho",
        "august aug aout agosto augustus",
        "september sep sept septembre septiembre settembre setembro",
        "october oct oktober okt octobre octubre ottobre outubro",
        "november nov novembre noviembre novembro",
        "december dec dezember dez decembre diciembre dicembre dezembro",
    ),
    1,
):
    MONTHS.update(dict.fromkeys(_names.split(), _index))


def _table(**words: str) -> dict[str, str]:
    return {word: name for name, line in words.items() for word in line.split()}


DAYS = {
    word: -int(name[-1])
    for word, name in _table(
        back0="today tonight heute aujourd'hui hoy oggi hoje vandaag",
        back1="yesterday gestern hier ayer ieri ontem gisteren",
        back2="vorgestern avant-hier anteayer eergisteren anteontem",
    ).items()
}
"""Days from today."""

UNITS = _table(
    day="day days tag tage tagen jour jours dia dias giorno giorni dag dagen",
    week="week weeks woche wochen semaine semaines semana semanas settimana settimane weken",
    weekend="weekend wochenende week-end fim-de-semana",
    month="month months monat monate monaten monats mois mes meses mese mesi maand maanden",
    year="year years jahr jahre jahren jahres an ans annee annees ano anos anno anni jaar",
)

LAST = (
    r"last|the past|letzte[nmrs]?|vergangene[nmrs]?|vorige[nmrs]?|derniere?|la derniere|"
    r"el ultimo|la ultima|l'ultima|l'ultimo|afgelopen|vorige"
)
THIS = re.compile(r"this|the current|diese[nmrs]?|cette|cet|ce|esta|este|questa|questo|deze|dit")
AGO = r"ago|earlier|zuvor|atras|fa|geleden"
ON = (
    r"in|on|of|before|during|since|by|from|until|im|am|seit|vom|en|au mois de|el|nel|a|em|op|bis"
    r"|le|durante"
)
SINCE = re.compile(r"since|seit|depuis|desde|dal|da|sinds")
BEFORE = re.compile(r"before|avant|antes|prima|voor")
UNTIL = re.compile(r"until|till|bis|jusqu'a|jusqu'en|hasta|fino a|ate|tot")

NUMBERS = {
    word: number
    for number, words in enumerate(
        (
            "a an one ein eine einem einer un une uno una um uma een",
            "two zwei deux dos due dois duas twee",
            "three drei trois tres tre drie",
            "four vier quatre cuatro quattro quatro",
            "five funf cinq cinco cinque vijf",
            "six sechs seis sei zes",
            "seven sieben sept siete sette sete zeven",
            "eight acht huit ocho otto oito",
            "nine neun neuf nueve nove negen",
            "ten zehn dix diez dieci dez tien",
        ),
        1,
    )
    for word in words.split()
}

LATEST = re.compile(
    r"\b(latest|most recent(?:ly)?|newest|current(?:ly)?|(?:the )?last time|right now|nowadays|"
    r"zuletzt|neueste[nrs]?|aktuell\w*|derzeit|gerade|zur zeit|das letzte mal|"
    r"la derniere fois|actuellement|le plus recent|la plus recente|"
    r"la ultima vez|actualmente|mas reciente|l'ultima volta|attualmente|"
    r"a ultima vez|atualmente|laatste keer|momenteel)\b"
)

WEEKDAYS: dict[str, int] = {}
for _index, _names in enumerate(
    (
        "monday montag lundi lunes lunedi segunda-feira maandag",
        "tuesday dienstag mardi martes martedi terca-feira dinsdag",
        "wednesday mittwoch mercredi miercoles mercoledi quarta-feira woensdag",
        "thursday donnerstag jeudi jueves giovedi quinta-feira donderdag",
        "friday freitag vendredi viernes venerdi sexta-feira vrijdag",
        "saturday samstag sonnabend samedi sabado sabato zaterdag",
        "sunday sonntag dimanche domingo domenica zondag",
    )
):
    WEEKDAYS.update(dict.fromkeys(_names.split(), _index))


def any_of(words: Iterable[str]) -> str:
    """A pattern for one of these words, the longest first."""
    return "|".join(re.escape(one) for one in sorted(words, key=lambda one: (-len(one), one)))


_SHORT = {"a", "an", "ans", "set", "ago", "mar", "dec", "may", "march"}
TELLS_TIME = re.compile(
    rf"\b(?:{any_of((MONTHS.keys() | DAYS.keys() | UNITS.keys() | WEEKDAYS.keys()) - _SHORT)}"
    r"|tomorrow|morgen|demain|manana|domani|amanha|last|next|ago|since|recently|just"
    r"|letzte[nmrs]?|nachste[nmrs]?|seit|neulich|kurzlich|depuis|recemment|desde|hace"
    r"|(?:19|20)\d\d)\b"
)
"""A text that says when."""
