"""Text of others, as it really is: what would hide, turn round or overlay a part of it is shown.

HTML is no matter here (templates escape it). What is left are characters that a reader does not
see: they can make a command read otherwise than it runs (Unicode Technical Report 36, section 3.7;
"trojan source"). https://www.unicode.org/reports/tr36/
"""

from __future__ import annotations

import re

#: Controls but tab and line break; bidirectional marks, embeddings, overrides, isolates; characters
#: of no width but the two joiners (scripts and pictures need them); line and paragraph
#: separators; tags; lone surrogates; what is for nobody's text.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
#: Marks that are laid over a letter; more of them than a script needs run over other lines.
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_PILED = re.compile(f"({_MARK}{{4}}){_MARK}+")


def plain(text: object) -> str:
    """``text`` with each such character as ``⟨U+202E⟩``; line ends as ``\\n``."""
    whole = str(text).replace("\r\n", "\n")
    whole = _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", whole)
    return _PILED.sub(lambda found: f"{found[1]}⟨…⟩", whole)


def line(text: object, most: int = 160) -> str:
    """As :func:`plain`, on one line and cut to so many characters."""
    flat = " ".join(plain(str(text)[: most * 8]).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def cut(text: object, most: int) -> str:
    """As :func:`plain`, of the first so many characters."""
    return plain(str(text)[:most])
