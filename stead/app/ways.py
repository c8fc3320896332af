"""The way out of sandboxes and the secrets of this machine, as the configuration has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stead.agent.web import Browser, Search, Web
from stead.config import CredentialSection, Loaded, child_environment
from stead.sandbox.egress_terms import Terms
from stead.sandbox.known import Known
from stead.sandbox.secrets import Credential, Source

if TYPE_CHECKING:
    from stead.sandbox.egress import EgressProcess

SECRETS = "secrets"
"""Folder in the home directory."""


def egress_of(loaded: Loaded) -> EgressProcess:
    """The proxy; stead.toml is what it was at the start of this process."""
    from stead.sandbox.egress import EgressProcess  # late: the gateway does without

    return EgressProcess(lambda: terms_of(loaded))


def terms_of(loaded: Loaded) -> Terms:
    """What the process of the proxy is told."""
    egress, systemd = loaded.settings.egress, loaded.systemd_credentials
    return Terms(
        secrets=str(loaded.home / SECRETS),
        systemd=str(systemd) if systemd else "",
        environment=child_environment({}),
        credentials=tuple(credential_of(one) for one in loaded.settings.credential),
        private=tuple(egress.private),
        ca_file=str(loaded.path(egress.ca_file)) if egress.ca_file else "",
        offline=loaded.settings.offline,
        connections=egress.connections,
        up_bytes=int(egress.max_up_mb * 1_000_000),
        down_bytes=int(egress.max_down_mb * 1_000_000),
        idle_s=egress.idle_s,
    )


def credential_of(one: CredentialSection) -> Credential:
    """A credential as the proxy knows it."""
    file = "" if one.systemd or one.command else one.secret or one.name
    return Credential(
        name=one.name,
        source=Source(file, one.systemd, tuple(one.command)),
        hosts=tuple(one.hosts),
        paths=tuple(one.paths),
        methods=tuple(one.methods),
        tools=tuple(one.tools),
        how=one.how,
        field=one.field,
        user=one.user,
        plain=one.plain,
    )


def web_of(loaded: Loaded) -> Web:
    """What tools are told of credentials and of the search: names, and what they are for; and of
    the browser."""
    search, browser = loaded.settings.search, loaded.settings.browser
    return Web(
        credentials=tuple(credential_of(one) for one in loaded.settings.credential),
        search=Search(search.kind, search.url, search.credential, search.results),
        browser=Browser(
            program=browser.program,
            hosts=tuple(browser.hosts),
            at_once=browser.at_once,
            memory_mb=browser.memory_mb,
            max_download_mb=browser.max_download_mb,
            wait_s=browser.wait_s,
        ),
    )


def known_to(loaded: Loaded) -> Known:
    """All secrets whose values lie on this machine: keys of stead's own, of programs and of
    backends, and what credentials are made of."""
    systemd = loaded.systemd_credentials
    folders = [loaded.home / SECRETS, *([systemd] if systemd else [])]
    named = [loaded.owner_key_file, loaded.node_key_file]
    named += [loaded.path(one.key_file) for one in loaded.settings.backend if one.key_file]
    named += [loaded.path(one.secret_file) for one in loaded.settings.channel if one.secret_file]
    return Known(folders, [file for file in named if file.parent not in folders])
