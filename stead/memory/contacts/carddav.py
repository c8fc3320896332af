"""A small client of CardDAV (RFC 6352) with collection synchronisation (RFC 6578).

Blocking; for the command line and processes of their own, never for the gateway's loop.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit
from xml.sax.saxutils import escape

from stead.core.errors import SteadError

_DAV, _CARD = "{DAV:}", "{urn:ietf:params:xml:ns:carddav}"
_MOST_BYTES = 200_000_000
_MANY = 100
_TIMEOUT_S = 60.0


class CardDavFailed(SteadError):
    """The address book {url} cannot be synchronised: {why}"""

    status = 502
    code = "carddav_failed"


class Changed(Exception):
    """The resource is not what it was when it was read (412)."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened on the server since a token."""

    token: str
    """For the next time; empty: this server has no such thing."""
    there: dict[str, str]
    """Path -> etag, of what is new or changed (of all there is, where ``whole``)."""
    gone: frozenset[str]
    whole: bool
    """All there is was listed; what is not in ``there`` is gone."""


class AddressBook:
    """One collection on a server. ``url`` may be the server's or the person's; it is searched."""

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        parts = urlsplit(url if "//" in url else f"https://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CardDavFailed(url=url, why="it is no http or https address")
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme == "http" and password and not local:
            why = "a password would go over the net in the open. Use https"
            raise CardDavFailed(url=url, why=why)
        self.url = url
        self._parts = parts
        self.path = parts.path or "/"
        self._headers = {"user-agent": "stead"}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["authorization"] = f"Basic {token}"
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- asking

    def _ask(
        self,
        method: str,
        path: str,
        body: str | bytes = b"",
        headers: dict[str, str] | None = None,
        again: int = 4,
    ) -> Answer:
        data = body.encode() if isinstance(body, str) else body
        sent = {**self._headers, **(headers or {})}
        if data:
            sent.setdefault("content-type", "application/xml; charset=utf-8")
        try:
            answer = self._once(method, path, data, sent)
        except (http.client.HTTPException, ConnectionError):
            self.close()  # it had closed what was kept open
            try:
                answer = self._once(method, path, data, sent)
            except (OSError, http.client.HTTPException) as error:
                raise self._failed(str(error) or type(error).__name__) from error
        except OSError as error:
            raise self._failed(str(error)) from error
        if answer.status in (301, 302, 307, 308) and again and "location" in answer.headers:
            target = urlsplit(urljoin(self._whole(path), answer.headers["location"]))
            if (target.scheme, target.netloc) != (self._parts.scheme, self._parts.netloc):
                raise self._failed(f"it sends us to another server, {target.netloc}. Name that one")
            return self._ask(method, target.path, data, headers, again - 1)
        if answer.status == 401:
            raise self._failed("user or password is wrong (401)")
        return answer

    def _once(self, method: str, path: str, data: bytes, headers: dict[str, str]) -> Answer:
        if self._connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            if self._parts.scheme == "https":
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(
                    host, port, timeout=_TIMEOUT_S, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        self._connection.request(method, path, data or None, headers)
        answer = self._connection.getresponse()
        body = answer.read(_MOST_BYTES + 1)
        if len(body) > _MOST_BYTES:
            raise self._failed("it answers with more than 200 MB")
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, body)

    def _whole(self, path: str) -> str:
        return f"{self._parts.scheme}://{self._parts.netloc}{path}"

    def _failed(self, why: str) -> CardDavFailed:
        return CardDavFailed(url=self.url, why=why)

    def _multi(self, answer: Answer) -> Iterator[tuple[str, str, ET.Element]]:
        """(path, status, element) of a multistatus answer."""
        if answer.status != 207:
            raise self._failed(f"it answered {answer.status}, not a list")
        for response in self._xml(answer).findall(f"{_DAV}response"):
            href = response.findtext(f"{_DAV}href") or ""
            status = (response.findtext(f"{_DAV}status") or "").split()
            yield self._same_form(href), status[1] if len(status) > 1 else "", response

    def _xml(self, answer: Answer) -> ET.Element:
        if b"<!ENTITY" in answer.body:
            raise self._failed("its answer defines entities, which no address book needs")
        try:
            return ET.fromstring(answer.body)
        except ET.ParseError as error:
            raise self._failed(f"its answer is no XML ({error})") from error

    def _same_form(self, href: str) -> str:
        """The path of a link, whatever the server escapes in it."""
        return quote(unquote(urlsplit(urljoin(self._whole(self.path), href)).path), safe="/@:+~")

    # --- finding

    def find(self) -> None:
        """Make ``path`` that of an address book: the one named, or the first of the person."""
        for path in dict.fromkeys((self.path, "/.well-known/carddav")):
            if found := self._search(path, 3):
                self.path = found
                return
        raise self._failed("there is no address book. Name it by its whole address")

    def _search(self, path: str, deep: int) -> str:
        body = (
            '<propfind xmlns="DAV:"><prop><resourcetype/><current-user-principal/>'
            '<addressbook-home-set xmlns="urn:ietf:params:xml:ns:carddav"/></prop></propfind>'
        )
        answer = self._ask("PROPFIND", path, body, {"depth": "1"})
        if answer.status != 207:
            return ""
        onward: list[str] = []
        for href, _, response in self._multi(answer):
            if response.find(f".//{_DAV}resourcetype/{_CARD}addressbook") is not None:
                return href
            for name in (f"{_CARD}addressbook-home-set", f"{_DAV}current-user-principal"):
                onward += [
                    self._same_form(one.text)
                    for one in response.findall(f".//{name}/{_DAV}href")
                    if one.text
                ]
        others = [one for one in dict.fromkeys(onward) if one.rstrip("/") != path.rstrip("/")]
        found = (self._search(one, deep - 1) for one in others if deep)
        return next((one for one in found if one), "")

    # --- reading

    def changes(self, token: str) -> Changes:
        """What happened since ``token`` (empty: all there is)."""
        body = (
            f'<sync-collection xmlns="DAV:"><sync-token>{escape(token)}</sync-token>'
            "<sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"
        )
        answer = self._ask("REPORT", self.path, body, {"depth": "0"})
        if answer.status != 207:
            if token:  # too old, or of another life of the server
                return self.changes("")
            return self._listed()
        there, gone = {}, set()
        for href, status, response in self._multi(answer):
            if href.rstrip("/") == self.path.rstrip("/"):
                continue
            if status == "404":
                gone.add(href)
            else:
                there[href] = response.findtext(f".//{_DAV}getetag") or ""
        fresh = self._xml(answer).findtext(f"{_DAV}sync-token") or ""
        return Changes(fresh, there, frozenset(gone), whole=not token)

    def _listed(self) -> Changes:
        body = '<propfind xmlns="DAV:"><prop><getetag/><resourcetype/></prop></propfind>'
        there = {}
        for href, _, response in self._multi(
            self._ask("PROPFIND", self.path, body, {"depth": "1"})
        ):
            if response.find(f".//{_DAV}collection") is None and href != self.path:
                there[href] = response.findtext(f".//{_DAV}getetag") or ""
        return Changes("", there, frozenset(), whole=True)

    def get(self, paths: Iterable[str]) -> Iterator[tuple[str, str, str]]:
        """(path, etag, vCard) of each that is there."""
        wanted = list(paths)
        for at in range(0, len(wanted), _MANY):
            links = "".join(f"<D:href>{escape(one)}</D:href>" for one in wanted[at : at + _MANY])
            body = (
                '<C:addressbook-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">'
                f"<D:prop><D:getetag/><C:address-data/></D:prop>{links}</C:addressbook-multiget>"
            )
            answer = self._ask("REPORT", self.path, body, {"depth": "1"})
            for href, _, response in self._multi(answer):
                data = response.findtext(f".//{_CARD}address-data")
                if data:
                    yield href, response.findtext(f".//{_DAV}getetag") or "", data

    # --- writing

    def put(self, path: str, text: str, etag: str = "") -> str:
        """Write one; ``etag`` of what is replaced, empty for a new one. Returns the new etag, if
        the server says it. Raises :class:`Changed`."""
        condition = {"if-match": etag} if etag else {"if-none-match": "*"}
        headers = {"content-type": "text/vcard; charset=utf-8", **condition}
        answer = self._ask("PUT", path, text, headers)
        if answer.status in (409, 412):
            raise Changed(path)
        if answer.status not in (200, 201, 204):
            said = answer.body[:200].decode(errors="replace")
            raise self._failed(f"it refused {path} ({answer.status}: {said})")
        return answer.headers.get("etag", "")

    def delete(self, path: str, etag: str) -> None:
        """Raises :class:`Changed`; one that is gone already is no error."""
        answer = self._ask("DELETE", path, headers={"if-match": etag} if etag else {})
        if answer.status == 412:
            raise Changed(path)
        if answer.status not in (200, 204, 404, 410):
            raise self._failed(f"it would not delete {path} ({answer.status})")

    def path_for(self, uid: str) -> str:
        """Where a new card goes: named by its UID, whatever stands in that."""
        return f"{self.path.rstrip('/')}/{quote(uid, safe='')}.vcf"
