"""A browser on the system's Chromium: pages that need one, forms, files both ways, pictures.

One browser for a job, in one sandbox; it ends with the job, or when it was asked to. What a page
shows is given as its accessibility tree, in which each element has a reference that stays.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from stead.agent.browser.lines import REF, called, page_of
from stead.agent.browser.messages import Order, Told
from stead.agent.files.change import Source
from stead.agent.files.tree import Refused, Tree, open_file, say
from stead.agent.tools import browser_session as sessions
from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.browser_session import Session
from stead.agent.tools.changing import changing, missing, speaking
from stead.agent.tools.urls import Url, read_url
from stead.agent.tools.workspace import one_place, size_words
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches
from stead.sandbox.box import Box, Host, Mount
from stead.sandbox.egress_hosts import WEB_PORTS

Action = Literal[
    "open", "snapshot", "click", "type", "select", "press", "upload", "download", "screenshot",
    "tabs", "back", "wait_for", "close",
]  # fmt: skip
_NEVER = ("file", "chrome", "data", "javascript", "about", "view-source", "blob")
_ACTS = frozenset({"click", "type", "select", "press", "upload", "download"})
"""They do something on a page, and so to whoever runs it."""
_SECONDS = {"open": 30.0, "back": 30.0, "wait_for": 30.0, "download": 90.0}
_USUAL_S = 12.0
_NOTE_ROOM = 700
_KEY = re.compile(r"[^\s\x00-\x1f]{1,30}")


class BrowserArgs(Args, frozen=True):
    action: Action
    url: Annotated[str, Meta(description="open: http:// or https:// address")] = ""
    ref: Annotated[str, Meta(description="Element of the snapshot, such as e12")] = ""
    text: Annotated[
        str,
        Meta(description="type: the text; select: the choice; press: Enter...; wait_for: words"),
    ] = ""
    fields: Annotated[
        dict[str, str], Meta(description="type: several at once, by ref; a box: yes or no")
    ] = field(default_factory=dict)
    enter: Annotated[bool, Meta(description="type: press Enter after it")] = False
    path: Annotated[
        str, Meta(description="File of the workspace: upload; new for download, screenshot")
    ] = ""
    start: Annotated[int, Meta(description="snapshot: go on from this line", ge=0)] = 0
    do: Annotated[Literal["list", "new", "switch", "close"], Meta(description="Of tabs")] = "list"
    tab: Annotated[int, Meta(description="Its number, for tabs", ge=0)] = 0
    accept: Annotated[bool, Meta(description="Say OK to what the page then asks")] = False
    profile: Annotated[
        str, Meta(description="open: a profile that is kept, with its logins, by name")
    ] = ""


async def browse(args: BrowserArgs, context: Context) -> str:
    """What the page shows after it, or what came of it."""
    _check(args)
    if args.action == "close":
        found = sessions.of(context)
        if found is not None:
            await found.stop()
        return "the browser is closed" if found is not None else "no browser was open"
    makes = args.action in ("download", "screenshot")
    if makes and (told := await asyncio.to_thread(_made_before, args, context)):
        return told
    session = await _session(args, context)
    if args.action == "snapshot" and args.start > 1:
        return _shown(session, session.told, context, args.start)
    order = Order(
        0, _do(args), _SECONDS.get(args.action, _USUAL_S), url=_url(args).text if args.url else "",
        ref=args.ref, text=args.text, fields=args.fields, tab=args.tab, accept=args.accept,
        enter=args.enter,
    )  # fmt: skip
    if args.action == "upload":
        brought = await asyncio.to_thread(_bring, args.path, context, session)
        order = msgspec.structs.replace(order, path=str(brought))
    came = await session.ask(order)
    if came.failed:
        raise ToolError(context.hide(" ".join([f"{came.failed}.", *_notes(came)])))
    if makes:
        return await asyncio.to_thread(_take, args, context, session, came)
    return _shown(session, came, context, 1)


def _do(args: BrowserArgs) -> str:
    if args.action != "tabs":
        return args.action
    return {"list": "tabs", "new": "new", "switch": "switch", "close": "close_tab"}[args.do]


def _check(args: BrowserArgs) -> None:
    """Raises ``ToolError`` for what cannot be meant."""
    needs = {
        "open": ("url",), "select": ("ref", "text"), "click": ("ref",), "press": ("text",),
        "upload": ("ref", "path"), "download": ("path",), "screenshot": ("path",),
        "wait_for": ("text",),
    }  # fmt: skip
    lacks = [name for name in needs.get(args.action, ()) if not getattr(args, name).strip()]
    if lacks:
        raise ToolError(f"{args.action} needs {' and '.join(lacks)}")
    if args.action == "type" and bool(args.ref) == bool(args.fields):
        raise ToolError("type needs ref and text, or fields with the text of each")
    for ref in (*args.fields, *([args.ref] if args.ref else [])):
        if not REF.fullmatch(ref):
            raise ToolError(f"{ref[:40]!r} is no reference, such as e12 in a snapshot")
    if args.action == "press" and not _KEY.fullmatch(args.text):
        raise ToolError("press takes one key, such as Enter, Tab, PageDown or Control+a")


def _url(args: BrowserArgs) -> Url:
    if args.url.strip().partition(":")[0].lower() in _NEVER:
        raise ToolError("only http:// and https:// addresses are opened")
    return read_url(args.url)


def _first(url: Url) -> Host:
    return Host(url.host, 0 if url.target.port in WEB_PORTS else url.target.port)


async def _session(args: BrowserArgs, context: Context) -> Session:
    """The browser of this job; a page to open starts one. Raises ``ToolError``."""
    session = sessions.of(context)
    if args.action != "open":
        if session is None:
            raise ToolError("no page is open (a browser ends with its job's attempt); use open")
        return session
    first = _first(_url(args))
    if session is not None and session.boxed.ended is not None:
        await session.stop(kill=True)
        session = None
    if session is None:
        if not sessions.reaches(sessions.hosts_of(context.web.browser, first), first):
            raise ToolError(f"{first.name} is not among the hosts that the browser may reach")
        return await sessions.start(context, args.profile, first)
    if args.profile and args.profile != session.profile:
        raise ToolError("another profile is open; close the browser first")
    if not sessions.reaches(session.hosts, first):
        raise ToolError(
            f"the browser that is open may not reach {first.name}"
            + (f" at port {first.port}; close it and open this page first" if first.port else "")
        )
    return session


# --- what is shown --------------------------------------------------------------------------


def _notes(told: Told) -> list[str]:
    return [f"[{_line(note, 400)}]" for note in told.notes]


def _line(text: str, most: int) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= most else f"{plain[:most]}..."


def _shown(session: Session, told: Told, context: Context, start: int) -> str:
    head = []
    if start == 1:
        head = [*_notes(told)]
        if len(told.tabs) > 1:
            head += [
                f"tab {number}{' (shown)' if number == told.tab else ''}: {_line(url, 200)}"
                for number, url in told.tabs[:20]
            ]
        head += [_line(told.title, 200), _line(told.url, 500), ""]
    lines = session.lines
    if told.tab == 0:
        return context.hide("\n".join([*_notes(told), "no tab is open"]))
    if start > len(lines):
        raise ToolError(f"the snapshot has only {len(lines)} lines")
    top = context.hide("\n".join(line for line in head if line or start == 1)).lstrip("\n")
    text, after = page_of(lines, start, max(400, context.limit - len(top) - _NOTE_ROOM))
    more = (
        f"\n[{len(lines)} lines in all; go on with action=snapshot start={after}]" if after else ""
    )
    return f"{top}\n{text or '(an empty page)'}{more}" if top else f"{text}{more}"


# --- files ------------------------------------------------------------------------------------


def _bring(path: str, context: Context, session: Session) -> Path:
    """Put a copy of the very file where the sandbox sees it."""
    with speaking():
        tree = Tree(context.workspace)
        parts = tree.find(path)
        if tree.look(parts) is None:
            raise Refused(missing(tree, path, parts))
        fd = tree.open(parts)
        try:
            folder = session.inside / str(len(os.listdir(session.inside)) + 1)
            folder.mkdir(mode=0o755)
            name = re.sub(r"[\x00-\x1f/\\]", "_", parts[-1].encode("utf-8", "replace").decode())
            to = folder / (name.encode()[:200].decode("utf-8", "ignore") or "file")
            with open(to, "xb") as file, os.fdopen(os.dup(fd), "rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
                os.fchmod(file.fileno(), 0o644)
        except IsADirectoryError:
            raise Refused(f"{say(parts)} is a folder") from None
        finally:
            os.close(fd)
    return to


def _made_before(args: BrowserArgs, context: Context) -> str:
    """Refuse early what could not be written; what this very call told, if it was made before."""
    with changing(context, "browser", args) as desk:
        if desk.before:
            return desk.before
        at = desk.tree.find(args.path)
        if desk.tree.look(at) is not None:
            raise Refused(f"{say(at)} is there already; give another name")
        if args.action == "screenshot" and not at[-1].lower().endswith(".png"):
            raise Refused("pictures are PNG; let the name end in .png")
    return ""


def _take(args: BrowserArgs, context: Context, session: Session, told: Told) -> str:
    """Put what lies in the session's folder into the workspace, as a change that can be undone."""
    if not told.file or "/" in told.file or told.file.startswith("."):
        raise ToolError("nothing came of it")
    with speaking():
        folder = os.open(session.out, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fd = -1
        try:
            fd = open_file(folder, told.file)
            with changing(context, "browser", args) as desk:
                at = desk.tree.find(args.path)
                if desk.tree.look(at) is not None:
                    raise Refused(f"{say(at)} is there already; give another name")
                size = size_words(os.fstat(fd).st_size)
                desk.write(at, Source(fd=fd), None)
                if args.action == "screenshot":
                    said = f"a picture of the page lies in {say(at)} ({size})"
                else:
                    name = _line(context.hide(told.name), 120)
                    said = f"downloaded {name!r} to {say(at)} ({size})"
                return desk.done("\n".join([said, *map(context.hide, _notes(told))]))
        finally:
            if fd >= 0:
                os.close(fd)
                os.unlink(told.file, dir_fd=folder)
            os.close(folder)


# --- what it touches --------------------------------------------------------------------------


def touches(args: BrowserArgs, context: Context) -> Touches:
    """The page it opens, or the one that is shown: pages are others' words; what is done on one
    may be carried anywhere by it."""
    _check(args)
    session = sessions.of(context)
    private = bool(args.profile or (session is not None and session.profile))
    if args.action == "open":
        return Touches(hosts=(_url(args).host,), foreign=True, private=private)
    file = (one_place(context, args.path),) if args.path else ()
    if args.action == "screenshot":
        return Touches(writes=file, private=private)
    if args.action not in _ACTS:
        return Touches(foreign=args.action != "close", private=private)
    if session is None:
        raise ToolError("no page is open (a browser ends with its job's attempt); use open")
    hosts = (session.host,) if session.host else ()
    if args.action == "upload":
        return Touches(reads=file, hosts=hosts, foreign=True, private=True, sends=True)
    writes = file if args.action == "download" else ()
    return Touches(writes=writes, hosts=hosts, foreign=True, private=private, sends=True)


def preview(args: BrowserArgs, context: Context) -> str:
    """What will happen on which page, in plain words."""
    session = sessions.of(context)
    kept = f" with the profile {args.profile!r}" if args.profile else ""
    if args.action == "open":
        return f"Open {_url(args).text} in a browser{kept}"
    known = session.elements if session is not None else {}
    where = f" on {session.host or 'an empty page'}" if session is not None else ""
    at = called(known.get(args.ref), args.ref) if args.ref else "the page"
    yes = "\nWhat the page then asks is answered with OK." if args.accept else ""
    if args.action == "type":
        fields = args.fields or {args.ref: args.text}
        secret = session.secret if session is not None else frozenset()
        lines = [
            f"- {_typed(text, ref in secret)} into {called(known.get(ref), ref)}"
            for ref, text in fields.items()
        ]
        enter = "\nand press Enter" if args.enter else ""
        return "\n".join([f"Type{where}:", *lines]) + enter + yes
    said = {
        "click": f"Click {at}{where}",
        "select": f"Choose {args.text!r} in {at}{where}",
        "press": f"Press {args.text} in {at}{where}",
        "upload": f"Give the file {args.path} to {at}{where}",
        "download": f"Click {at}{where}, and put what is downloaded into {args.path}"
        if args.ref else f"Put what was downloaded into {args.path}",
        "screenshot": f"Take a picture of the page{where} into {args.path}",
    }  # fmt: skip
    return said.get(args.action, f"Look at the page{where} ({args.action})") + yes


def _typed(text: str, secret: bool) -> str:
    return f"a password of {len(text)} characters" if secret else repr(text)


def reads_only(args: BrowserArgs) -> bool:
    """To look at pages changes nothing, by what HTTP says of GET (RFC 9110, 9.2.1)."""
    return args.action not in _ACTS


def box(args: BrowserArgs, context: Context) -> Box:
    """Of driver and browser together, for as long as they run."""
    first = _first(read_url(args.url)) if args.url else None
    top = sessions.keep_of(context) / "stage" / "SESSION"
    mounts: tuple[Mount, ...] = (Mount(top / "in"), Mount(top / "out", write=True))
    if args.profile:
        mounts += (Mount(sessions.profile_folder(context, args.profile), write=True),)
    return sessions.box(context, sessions.hosts_of(context.web.browser, first), mounts)


BROWSER = Tool(
    name="browser",
    about="Use web pages in a browser: open one, then act on its elements by their refs.",
    short="use web pages",
    args=BrowserArgs,
    run=browse,
    effects=Effects.OUTSIDE,
    on_unknown=OnUnknown.ASK,
    reads_only=reads_only,
    time_limit_s=300.0,
    output_limit=12_000,
    touches=touches,
    preview=preview,
    box=box,
    group="browser",
    fresh=True,
)
