"""Asks a server through the proxy of its sandbox, and reads what comes: run as a file, inside.

It gets one order as JSON on stdin and tells what came of it as JSON on stdout. It needs the
standard library alone, so it starts at once; ``trafilatura`` is loaded late, for a page.
All that others wrote is read here, where nothing of the owner's can be reached.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import http.client
import json
import re
import sys
import time
import zlib
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE = 65536
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset",
    "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main",
    "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul",
})  # fmt: skip
_HIDDEN = frozenset({"script", "style", "noscript", "template", "svg", "head", "iframe", "object"})


class _Failed(Exception):
    """It could not be asked; in words."""


def main() -> int:
    """``{"url", "method", "headers": [[name, value]], "body" (base64), "port" of the proxy, "most"
    (bytes), "seconds", "redirects", "as" (page, text)}`` on stdin."""
    order = json.load(sys.stdin)
    try:
        told = _ask(order)
    except _Failed as failed:
        told = {"failed": str(failed)}
    except (OSError, http.client.HTTPException) as failed:
        told = {"failed": f"the connection broke: {failed or type(failed).__name__}"}
    json.dump(told, sys.stdout)
    return 0


# --- asking ---------------------------------------------------------------------------


def _ask(order: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + order["seconds"]
    url, method = order["url"], order["method"]
    body = base64.b64decode(order.get("body", ""))
    for _ in range(order["redirects"] + 1):
        answer = _once(order, url, method, body, until)
        there = answer["headers"].get("location", "")
        if answer["status"] not in _REDIRECTS or not there or not order["redirects"]:
            return answer
        new = urljoin(url, there)
        if _place(new) != _place(url) and not _same_but_safer(url, new):
            return {**answer, "elsewhere": new}
        if answer["status"] == 303 and method != "HEAD":
            method, body = "GET", b""
        url = new
    raise _Failed(f"more than {order['redirects']} redirects, the last one to {url[:300]}")


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def _same_but_safer(old: str, new: str) -> bool:
    return _place(old)[0] == "http" and _place(new) == ("https", _place(old)[1])


def _once(
    order: dict[str, Any], url: str, method: str, body: bytes, until: float
) -> dict[str, Any]:
    connection = http.client.HTTPConnection(
        "127.0.0.1", order["port"], timeout=max(0.1, until - time.monotonic())
    )
    connection.putrequest(method, url.partition("#")[0], skip_accept_encoding=True)
    for name, value in order["headers"]:
        connection.putheader(name, value)
    if body or method in ("POST", "PUT", "PATCH"):
        connection.putheader("content-length", str(len(body)))
    with contextlib.suppress(OSError):  # refused before all was sent: the answer says why
        connection.endheaders(body or None)
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    answer: dict[str, Any] = {"url": url, "status": response.status, "headers": headers}
    if own := headers.get("x-stead-egress"):
        text = response.read(4000).decode("utf-8", "replace").strip().removeprefix("stead: ")
        raise _Failed(text if own == "failed" else f"not let out: {text}")
    if response.status in _REDIRECTS and headers.get("location") and order["redirects"]:
        return answer
    data, whole = _body(response, headers, order["most"], until, method == "HEAD")
    return {
        **answer,
        "bytes": len(data),
        "whole": whole,
        **_read(data, response.status, headers, order, url),
    }


def _body(
    response: http.client.HTTPResponse,
    headers: dict[str, str],
    most: int,
    until: float,
    no_body: bool,
) -> tuple[bytes, bool]:
    """So much of it, unpacked; and whether that is all."""
    coding = headers.get("content-encoding", "").strip().lower()
    unpack = zlib.decompressobj(47) if coding in ("gzip", "x-gzip", "deflate") else None
    if coding not in ("", "identity") and unpack is None:
        raise _Failed(f"the answer is packed as {coding[:40]!r}, which was not asked for")
    data, came = b"", 0
    while len(data) < most:
        if time.monotonic() > until:
            raise _Failed("the answer took too long")
        try:
            piece = response.read1(_PIECE)
        except http.client.IncompleteRead:
            raise _Failed("the answer broke off") from None
        came += len(piece)
        if not piece:
            # The library takes the end of a connection for the end of the body.
            if came < int(headers.get("content-length", "0")) and not no_body:
                raise _Failed("the answer broke off")
            return data, True
        try:
            data += unpack.decompress(piece, most - len(data) + 1) if unpack else piece
        except zlib.error:
            raise _Failed("the packed answer cannot be unpacked") from None
    return data[:most], False


# --- reading --------------------------------------------------------------------------


def _read(
    data: bytes, status: int, headers: dict[str, str], order: dict[str, Any], url: str
) -> dict[str, Any]:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if data[:5] == b"%PDF-" or kind == "application/pdf":
        return {"kind": "pdf"}
    if _is_binary(data, kind):
        return {"kind": "binary"}
    text = _decoded(data, headers.get("content-type", ""))
    html = kind in ("text/html", "application/xhtml+xml") or (
        not kind and re.match(r"\s*<(!doctype html|html)", text, re.IGNORECASE)
    )
    if not html or order["as"] != "page":
        return {"kind": "text", "text": text}
    if status >= 400:
        return {"kind": "page", "text": _plain(text), "by": "plain"}
    title = re.search(r"<title[^>]*>(.*?)</title>", text[:200_000], re.IGNORECASE | re.DOTALL)
    markdown, by = _markdown(text, url)
    return {
        "kind": "page", "text": markdown, "by": by,
        "title": " ".join(_plain(title[1]).split())[:300] if title else "",
    }  # fmt: skip


def _is_binary(data: bytes, kind: str) -> bool:
    if kind.startswith(("image/", "audio/", "video/", "font/")) and kind != "image/svg+xml":
        return True
    head = data[:4096]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE)):
        return False
    return b"\0" in head


def _decoded(data: bytes, content_type: str) -> str:
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
    ):  # fmt: skip
        if data.startswith(mark):
            return data.decode(name, "replace")
    named = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    within = re.search(rb"<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*[\"']?([\w.:-]+)",
                       data[:4096], re.IGNORECASE)  # fmt: skip
    names = [named[1] if named else "", within[1].decode("ascii") if within else "", "utf-8"]
    for name in names:
        try:
            # What browsers take latin-1 for (WHATWG Encoding, 4.2).
            latin = name.lower() in ("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii")
            return data.decode("cp1252" if latin else name)
        except (LookupError, UnicodeDecodeError):
            continue
    if len(data) > 4 and _cut_within_a_letter(data):
        return data.decode("utf-8", "replace")
    return data.decode("cp1252", "replace")


def _cut_within_a_letter(data: bytes) -> bool:
    """UTF-8 but for its last bytes, as where only so much was read."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _markdown(html: str, url: str) -> tuple[str, str]:
    plain = _plain(html)
    try:
        import trafilatura  # late: an extra, and half a second
    except ImportError:
        return plain, "plain"
    found = trafilatura.extract(
        html, url=url, output_format="markdown", include_links=True, include_tables=True,
        include_images=False, include_comments=True, favor_recall=True, deduplicate=False,
    )  # fmt: skip
    # Of a page that is no article (a list, a form) it may find next to nothing.
    if found and len(found) * 20 > len(plain):
        return str(found), "trafilatura"
    return plain, "plain"


class _Text(HTMLParser):
    """The words of a page, a line a block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _BLOCKS:
            self.out.append("\n")
            if tag == "li":
                self.out.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BLOCKS:
            self.out.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.out.append(re.sub(r"\s+", " ", data))


def _plain(html: str) -> str:
    reader = _Text()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.out).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


if __name__ == "__main__":
    sys.exit(main())
