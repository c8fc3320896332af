"""A browser without JavaScript before a gateway of this process: pages, links, forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.unit.gateway.parts import Gate

#: What hides, turns round or breaks out of what is shown.
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe {{ 7*7 }} ' \" & %s"
_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


@dataclass
class Form:
    """A form as it stands in a page."""

    action: str
    method: str
    fields: dict[str, str]
    buttons: list[tuple[str, str]]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self._area = ""
        self._choice = ""
        self._ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "script" and not given.get("src"):
            self.wrong.append("a script in the page")
        self.wrong += [f"{name} of {tag}" for name in given if name == "style" or name[:2] == "on"]
        if (ident := given.get("id", "")) in self._ids and ident:
            self.wrong.append(f"two of the id {ident}")
        self._ids.add(ident)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        self._in_form(tag, given)

    def _in_form(self, tag: str, given: dict[str, str]) -> None:
        if tag == "form":
            method = given.get("method", "get")
            self.forms.append(Form(given.get("action", ""), method, {}, []))
        if not self.forms or "form" not in self._open:
            return
        fields, name = self.forms[-1].fields, given.get("name", "")
        if tag == "input" and name:
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                fields[name] = given.get("value", "")
        elif tag == "textarea":
            self._area = name
            fields[name] = ""
        elif tag == "select":
            self._choice = name
        elif tag == "option" and ("selected" in given or self._choice not in fields):
            fields[self._choice] = given.get("value", "")
        elif tag == "button":
            self.forms[-1].buttons.append((name, given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self._open[-3:]}")
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if tag == "textarea":
            self.forms[-1].fields[self._area] = self.forms[-1].fields[self._area].removeprefix("\n")
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.forms[-1].fields[self._area] += data
        elif "\u202e" in data:
            self.wrong.append(f"what turns round the text: {data[:100]!r}")
        self.words.append(data)


@dataclass
class Page:
    """What a browser has of an answer."""

    url: str
    status: int
    html: str
    words: str
    forms: list[Form]
    links: list[str]

    def form(self, *fields: str, button: str = "") -> Form:
        """The form with these fields, and a button of that value."""
        for one in self.forms:
            values = [value for _, value in one.buttons]
            if {*fields} <= {*one.fields} and (not button or button in values):
                return one
        raise AssertionError(f"{self.url} has no form with {fields} {button}: {self.forms}")


class Browsing:
    """Looks at the pages of a gateway; each of them is looked over."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def get(self, url: str, status: int = 200, **headers: str) -> Page:
        return await self._page("GET", url, b"", status, headers)

    async def send(
        self, form: Form, button: str = "", more: dict[str, str] | None = None, *,
        status: int = 200, **typed: str,
    ) -> Page:  # fmt: skip
        """Send a form with what was typed; the page it leads to."""
        fields = {**form.fields, **typed, **(more or {})}
        fields |= {name: value for name, value in form.buttons if value == button and name}
        raw = urlencode({name: value.replace("\n", "\r\n") for name, value in fields.items()})
        if form.method == "get":
            return await self.get(f"{form.action}?{raw}", status)
        return await self._page("POST", form.action, raw.encode(), status, {})

    async def _page(
        self, method: str, url: str, body: bytes, status: int, headers: dict[str, str]
    ) -> Page:
        kind = {"content_type": "application/x-www-form-urlencoded", "accept": "text/html"}
        asked: Any = {**kind, **headers}
        answer = await self._gate.ask(method, url.partition("#")[0], body, **asked)
        if answer.status == 303:
            return await self.get(answer.headers["location"], status)
        html = answer.raw.decode()
        assert answer.status == status, (answer.status, url, re.sub(r"<[^>]+>", " ", html)[-3000:])
        reader = _Reader()
        reader.feed(html)
        assert not reader.wrong, (url, reader.wrong)
        words = " ".join(" ".join(reader.words).split())
        return Page(url, answer.status, html, words, reader.forms, reader.links)

    async def every(self, *starts: str, most: int = 400) -> dict[str, Page]:
        """All pages that can be reached by links below these, each looked over."""
        found: dict[str, Page] = {}
        waiting = [*starts]
        while waiting and len(found) < most:
            url = waiting.pop(0).partition("#")[0]
            if url in found or not urlsplit(url).path.startswith(starts):
                continue
            found[url] = await self.get(url)
            waiting += found[url].links
        return found
