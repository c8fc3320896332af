"""What a model wrote, as HTML that can do nothing: no script, no request to anybody, no disguise.

CommonMark with tables, without HTML; what comes out is cleaned once more, by what knows nothing of
Markdown. Pictures become links: to fetch one would tell whose it is that somebody reads, and what
(an address can carry any words). Characters that turn the direction of writing are taken out;
text that runs from the right does so by itself, each block for itself.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

_TAGS = set(
    "p br hr h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong s del a table thead tbody"  # noqa: SIM905
    " tr th td small".split()
)
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "code": {"class"}}
_SCHEMES = {"http", "https", "mailto"}
#: Embeddings, overrides and isolates (UAX 9), and marks nobody sees that split words.
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069\u061c\u200e\u200f\u2028\u2029]")
#: No text has a place for these; a terminal or a copy may.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LIKE_A_URL = re.compile(r"\s*(?:https?://)?((?:[\w-]+\.)+\w{2,})(?:[/?#:]\S*)?\s*", re.I)
_LANGUAGE = re.compile(r"language-[\w+#.-]{1,30}")


def harmless(text: str) -> str:
    """Without characters that change how others are read."""
    return _CONTROL.sub("\ufffd", _TURNS.sub("", text))


@lru_cache(maxsize=128)
def rendered(text: str) -> Markup:
    """As HTML."""
    plain = harmless(text)
    made = _markdown.render(plain)
    return Markup(
        nh3.clean(
            made, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes=_SCHEMES,
            link_rel="noopener noreferrer nofollow", attribute_filter=_attribute,
        )
    )  # fmt: skip


def _attribute(tag: str, name: str, value: str) -> str | None:
    if tag == "code":
        return value if _LANGUAGE.fullmatch(value) else None
    if tag == "a" and name == "href" and not urlsplit(value).scheme:
        return None  # of no page of ours: a model does not send its reader to buttons
    return value


class _Renderer(RendererHTML):
    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A link instead of the picture."""
        token = tokens[idx]
        source = str(token.attrs.get("src", ""))
        words = self.renderInlineAsText(token.children, options, env) if token.children else ""
        return (
            f'<a href="{html.escape(source)}">[picture{": " if words else ""}'
            f"{html.escape(words)}]</a>"
        )

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        """Says where it goes, where its words name another place."""
        token = tokens[idx]
        href = str(token.attrs.get("href", ""))
        token.attrSet("title", href)
        end = next(n for n in range(idx, len(tokens)) if tokens[n].type == "link_close")
        words = "".join(one.content for one in tokens[idx:end] if one.type != "link_open")
        named, host = _LIKE_A_URL.match(words), _host(href)
        if named and host and named[1].lower().removeprefix("www.") != host.removeprefix("www."):
            env.setdefault("hosts", []).append(host)
        else:
            env.setdefault("hosts", []).append("")
        return str(self.renderToken(tokens, idx, options, env))

    def link_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        hosts = env.get("hosts") or [""]
        host = hosts.pop()
        return f"</a> <small>({html.escape(host)})</small>" if host else "</a>"


def _host(href: str) -> str:
    try:
        return (urlsplit(href).hostname or "").lower()
    except ValueError:
        return ""


def _made() -> MarkdownIt:
    options: dict[str, Any] = {"html": False, "linkify": False, "breaks": True}
    made = MarkdownIt("commonmark", options, renderer_cls=_Renderer)
    return made.enable(["table", "strikethrough"])


_markdown = _made()
