"""What the owner is shown by a run that has read foreign text, made so that showing it sends
nothing.

Foreign text may have a model put private words into the address of a picture or a link: a page, a
chat program or a preview fetches it, and the words have left the house. So of such a run

- pictures are not pictures any more (``![`` of Markdown, tags of HTML that name another place);
- where it has read private data as well, an address that did not stand as it is in what was read,
  or in what the owner said, is written so that no program takes it for one: ``https[:]//``.

Works on a stream: what was given out never changes later. Nothing is held back longer than a word,
or a tag.
"""

from __future__ import annotations

import re

_LONGEST = 4000
_TAG = re.compile(r"<(?=[A-Za-z/!?])[^<>]*>?")
_ADDRESS = re.compile(r"(?i)\b(?:[a-z][a-z0-9+.-]{1,20}:(?=//|[^\s\d/])|www\.)[^\s<>\"'`]*")
#: Without two slashes only these are addresses; ``note: this`` is not.
_SCHEMES = frozenset({"mailto", "tel", "sms", "data", "javascript"})
_AUTOLINK = re.compile(r"(?i)<[a-z][a-z0-9+.-]{1,31}:[^\s<>]*>")
_OPEN_TAG = re.compile(r"<(?=[A-Za-z/!?]|\Z)[^<>]*\Z")
_BARE = re.compile(r"(?<=[(\[\"'=\s])//(?=[^\s/])")
_CLOSING = ".,;:!?)]}*_~"
_AWAY = re.compile(r"(?i)//|\\\\|&#|url\s*\(|data:|src|href|background|poster|style")


def addresses_in(text: str) -> set[str]:
    """The addresses that stand in a text, each with and without what may only close it."""
    found: set[str] = set()
    for one in _ADDRESS.findall(text):
        found |= {one, one.rstrip(_CLOSING)}
    return found


class Shown:
    """Makes a stream harmless; switched on when foreign text was read."""

    def __init__(self) -> None:
        self.foreign = False
        self.private = False
        self._known: set[str] = set()
        self._held = ""

    def knows(self, text: str) -> None:
        """A text that the run was given: the addresses in it carry nothing that is new."""
        self._known |= addresses_in(text)

    def feed(self, text: str) -> str:
        """More of the answer; what may be shown of it now."""
        if not self.foreign:
            return text
        self._held += text
        cut = _whole(self._held)
        ready, self._held = self._held[:cut], self._held[cut:]
        if len(self._held) > _LONGEST:  # no word is so long, no tag either: broken, it is two
            held = self._held
            ready, self._held = f"{ready}{'&lt;' * (held[:1] == '<')}{held.lstrip('<')}\n", ""
        return self._harmless(ready)

    def whole(self, text: str) -> str:
        """A text that is shown all at once."""
        return self._harmless(text) if self.foreign else text

    def end(self) -> str:
        """What was still held back."""
        ready, self._held = self._held, ""
        return self._harmless(ready)

    def _harmless(self, text: str) -> str:
        text = text.replace("![", "[picture: ")
        text = _TAG.sub(_tag, text)
        if self.private:
            text = _ADDRESS.sub(self._address, text)
            text = _BARE.sub("[:]//", text)
        return text

    def _address(self, found: re.Match[str]) -> str:
        one = found[0]
        if one in self._known or one.rstrip(_CLOSING) in self._known:
            return one
        scheme, colon, rest = one.partition(":")
        if one.lower().startswith("www."):
            return f"www[.]{one[4:]}"
        if not rest.startswith("//") and scheme.lower() not in _SCHEMES:
            # No address, such as ``background:url(...)``; but one may stand in it.
            return f"{scheme}:{_ADDRESS.sub(self._address, rest)}"
        return f"{scheme}[{colon}]{rest}"


def _tag(found: re.Match[str]) -> str:
    """A tag that could have something fetched is shown as it is written."""
    if _AUTOLINK.fullmatch(found[0]) or not _AWAY.search(found[0]):
        return found[0]
    return found[0].replace("<", "&lt;", 1)


def _whole(text: str) -> int:
    """Up to where a text can be judged: an open tag, and a word that goes on, are held back."""
    if tag := _OPEN_TAG.search(text):
        return tag.start()
    cut = max((text.rfind(one) for one in " \n\t\r"), default=-1) + 1
    last = text.rfind("<", 0, cut)
    if last >= 0 and text.find(">", last) >= cut and _TAG.match(text, last):
        return last
    return cut
