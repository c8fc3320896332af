"""Settings of the way out of sandboxes: what may be reached, and with which keys (docs/egress.md).

Annotations are evaluated here, by Python itself, as in :mod:`stead.config.settings`.
"""

from typing import Annotated, Literal

import msgspec

from stead.config.section import Section, help_


class CredentialSection(Section, frozen=True):
    """A key that the proxy puts into requests of tools; its value is never in this file."""

    name: Annotated[str, help_("Its name, for tools, rules and logs")]
    hosts: Annotated[list[str], help_("Exact names, or name:port; HTTPS only, unless plain")]
    paths: Annotated[
        list[str], help_("What the path begins with, whole parts: /v1 is for /v1 and below")
    ] = msgspec.field(default_factory=lambda: ["/"])
    methods: Annotated[list[str], help_("Such as GET; empty: any")] = []
    tools: Annotated[list[str], help_("Tools whose requests may get it")] = msgspec.field(
        default_factory=lambda: ["http"]
    )
    how: Annotated[
        Literal["bearer", "header", "query", "basic"],
        help_("Authorization: Bearer, a header or parameter named by field, or user and password"),
    ] = "bearer"
    field: Annotated[str, help_("Name of the header, or of the parameter in the query")] = ""
    user: Annotated[str, help_("Its user, for basic")] = ""
    secret: Annotated[
        str, help_("Name of its value in `stead secret set NAME`; empty: that of the credential")
    ] = ""
    systemd: Annotated[
        str, help_("Its value is a credential of the systemd unit (LoadCredential=)")
    ] = ""
    command: Annotated[
        list[str], help_("Its value is what this command prints, such as pass show NAME")
    ] = []
    plain: Annotated[
        bool, help_("It may be sent unencrypted: to a device in the house that knows no TLS")
    ] = False


class EgressSection(Section, frozen=True):
    """What tools in sandboxes can reach in the network at all."""

    private: Annotated[
        list[str],
        help_(
            "Places that are not public and may be reached all the same: nas.home,"
            " 192.168.1.0/24, 127.0.0.1:8080 (this machine only with a port)"
        ),
    ] = []
    ca_file: Annotated[
        str, help_("Certificates of a CA of your own, trusted beside the system's")
    ] = ""
    connections: Annotated[int, help_("Connections of one sandbox at once", ge=1)] = 64
    max_up_mb: Annotated[float, help_("What one sandbox may send", gt=0)] = 1000.0
    max_down_mb: Annotated[float, help_("What one sandbox may fetch", gt=0)] = 4000.0
    idle_s: Annotated[float, help_("A connection is cut when silent for so long", gt=0)] = 300.0


class SearchSection(Section, frozen=True):
    """Who answers web_search."""

    kind: Annotated[
        Literal["off", "searxng", "brave", "tavily"],
        help_("A SearXNG server of yours (with its JSON format on), or a service with a key"),
    ] = "off"
    url: Annotated[str, help_("Of the SearXNG server; empty: that of the service")] = ""
    credential: Annotated[
        str, help_("Name of the credential with its key (tools must name web_search)")
    ] = ""
    results: Annotated[int, help_("Results asked for", ge=1, le=20)] = 8
