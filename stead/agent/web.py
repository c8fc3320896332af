"""What the owner's settings say to tools that reach the network. No secret is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stead.sandbox.box import Host
from stead.sandbox.egress_hosts import WEB_PORTS, read_target
from stead.sandbox.secrets import Credential


@dataclass(frozen=True, slots=True)
class Search:
    """Who answers ``web_search``."""

    kind: str = "off"
    """``off``, ``searxng``, ``brave`` or ``tavily``."""
    url: str = ""
    """Empty: the service's own."""
    credential: str = ""
    results: int = 8


@dataclass(frozen=True, slots=True)
class Browser:
    """What the tool ``browser`` runs, and what it may use."""

    program: str = ""
    """Empty: the Chromium that is found."""
    hosts: tuple[str, ...] = ("*",)
    at_once: int = 2
    memory_mb: int = 2048
    max_download_mb: float = 200.0
    wait_s: float = 1800.0
    """How long it is kept for a job that waits for the owner's answer."""


@dataclass(frozen=True, slots=True)
class Web:
    """The credentials there are, by name only, the search, and the browser."""

    credentials: tuple[Credential, ...] = ()
    search: Search = Search()
    browser: Browser = Browser()


def with_credentials(web: Web, tool: str, hosts: Sequence[Host]) -> tuple[Host, ...]:
    """The hosts, each with the credentials that the owner lets this tool have for it."""
    return tuple(replace(host, credentials=_for(web, tool, host)) for host in hosts)


def _for(web: Web, tool: str, host: Host) -> tuple[str, ...]:
    ports = (host.port,) if host.port else WEB_PORTS
    return tuple(
        one.name
        for one in web.credentials
        if tool in one.tools and any(_fits(text, host.name, ports) for text in one.hosts)
    )


def _fits(text: str, name: str, ports: Sequence[int]) -> bool:
    target = read_target(text, default_port=65535)
    wanted = WEB_PORTS if target.port == 65535 else (target.port,)
    return target.host == name.strip("[]") and bool(set(wanted) & set(ports))
