"""A call of an API, with a credential that only the proxy knows."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

from msgspec import Meta, field

from stead.agent.tools.asking import Answer, Order, ask
from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.urls import Url, read_url
from stead.agent.tools.workspace import size_words
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches
from stead.sandbox.box import Host
from stead.sandbox.egress_hosts import WEB_PORTS, read_target
from stead.sandbox.secrets import Credential

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[\t\x20-\x7e]{0,4000}")
_OURS = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te",
    "proxy-authorization", "accept-encoding",
})  # fmt: skip
#: Of the head of an answer what a caller may need.
_TOLD = ("content-type", "location", "link", "retry-after", "etag", "x-ratelimit-remaining")


class HttpArgs(Args, frozen=True):
    url: Annotated[str, Meta(description="http:// or https:// address")]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Annotated[str, Meta(description="Text, such as JSON")] = ""
    credential: Annotated[
        str, Meta(description="Name of the owner's credential for it; the key is put in for you")
    ] = ""


async def call(args: HttpArgs, context: Context) -> str:
    """Status, the telling headers, and the text of the answer."""
    url, credential = read_url(args.url), _credential(args, context)
    answer = await ask(
        context,
        "http",
        _host(url, credential),
        Order(url, args.method, _headers(args), args.body.encode("utf-8", "replace")),
    )
    return _shown(answer)


def _host(url: Url, credential: Credential | None) -> Host:
    if credential is None:
        return Host(url.host, url.target.port)
    # The owner named its host, so it may be a machine in the house. Plain HTTP becomes HTTPS.
    port = 0 if url.target.port in WEB_PORTS else url.target.port
    return Host(url.host, port, (credential.name,), private=True)


def _credential(args: HttpArgs, context: Context) -> Credential | None:
    """The one that is named, if it is for this request. Raises ``ToolError``."""
    if not args.credential:
        return None
    usable = [one for one in context.web.credentials if "http" in one.tools]
    found = next((one for one in usable if one.name == args.credential), None)
    if found is None:
        names = ", ".join(one.name for one in usable) or "none"
        raise ToolError(
            f"there is no credential {args.credential[:60]!r} for http; there are: {names}"
        )
    url = read_url(args.url)
    for text in found.hosts:
        named = read_target(text, default_port=65535)
        ports = WEB_PORTS if named.port == 65535 else (named.port,)
        if named.host == url.host and url.target.port in ports:
            break
    else:
        raise ToolError(f"the credential {found.name!r} is for {', '.join(found.hosts)} only")
    if found.methods and args.method not in found.methods:
        raise ToolError(f"the credential {found.name!r} is for {', '.join(found.methods)} only")
    path = url.path.partition("?")[0]
    if not any(path == one or path.startswith(one.rstrip("/") + "/") for one in found.paths):
        raise ToolError(f"the credential {found.name!r} is for {', '.join(found.paths)} only")
    return found


def _headers(args: HttpArgs) -> list[tuple[str, str]]:
    headers = []
    for name, value in args.headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ToolError(f"the header {name[:60]!r} has characters that HTTP does not allow")
        if name.lower() in _OURS:
            raise ToolError(f"the header {name!r} is set by itself; leave it out")
        headers.append((name, value))
    given = {name.lower() for name, _ in headers}
    if "accept" not in given:
        headers.append(("Accept", "application/json, text/*;q=0.9, */*;q=0.5"))
    if args.body and "content-type" not in given:
        headers.append(("Content-Type", _kind(args.body)))
    return [*headers, ("Accept-Encoding", "gzip")]


def _kind(body: str) -> str:
    try:
        json.loads(body)
    except ValueError:
        return "text/plain; charset=utf-8"
    return "application/json"


def _shown(answer: Answer) -> str:
    lines = [f"HTTP {answer.status}"]
    lines += [f"{name}: {answer.headers[name][:500]}" for name in _TOLD if name in answer.headers]
    text = answer.text
    if answer.kind in ("pdf", "binary"):
        text = f"[{size_words(answer.size)} that are no text]"
    elif not answer.whole:
        text += f"\n[only the first {size_words(answer.size)} were read]"
    return "\n".join([*lines, "", text]).rstrip()


def touches(args: HttpArgs, context: Context) -> Touches:
    credential = _credential(args, context)
    return Touches(
        hosts=(read_url(args.url).host,),
        credentials=(credential.name,) if credential else (),
        private=credential is not None,
        foreign=True,
        sends=not reads_only(args),
    )


def reads_only(args: HttpArgs) -> bool:
    """Safe by what HTTP says of its method (RFC 9110, 9.2.1)."""
    return args.method in ("GET", "HEAD")


def preview(args: HttpArgs, context: Context) -> str:
    lines = [f"{args.method} {read_url(args.url).text}"]
    if args.credential:
        lines.append(f"with your credential {args.credential!r}")
    lines += [f"{name}: {value}" for name, value in args.headers.items()]
    if args.body:
        lines.append(f"sends {len(args.body.encode('utf-8', 'replace'))} bytes:\n{args.body}")
    return "\n".join(lines)


HTTP = Tool(
    name="http",
    about="Call an HTTP API: method, headers, body; with one of the owner's credentials by name.",
    short="call an HTTP API",
    args=HttpArgs,
    run=call,
    effects=Effects.OUTSIDE,
    on_unknown=OnUnknown.ASK,
    reads_only=reads_only,
    time_limit_s=90.0,
    output_limit=12_000,
    touches=touches,
    preview=preview,
    group="web",
)
