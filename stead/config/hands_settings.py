"""Settings of what tools may use by name: databases, machines, the browser
(docs/tools.md).

Annotations are evaluated here, by Python itself, as in :mod:`stead.config.settings`.
"""

from typing import Annotated

import msgspec

from stead.config.section import Section, help_


class DatabaseSection(Section, frozen=True):
    """A PostgreSQL database that the tools sql and sql_change may ask."""

    name: Annotated[str, help_("Its name, for tools and rules")]
    secret: Annotated[
        str,
        help_(
            "`stead secret set NAME` keeps how to connect, postgresql://user:password@host/db;"
            " empty: that of the database"
        ),
    ] = ""
    ca_file: Annotated[str, help_("Certificate of the CA of its server, for sslmode")] = ""
    foreign: Annotated[bool, help_("Others may have written what is in it")] = True


class PeripheralSection(Section, frozen=True):
    """A machine that the tool ssh may work on."""

    name: Annotated[str, help_("Its name, for tools and rules")]
    host: Annotated[str, help_("Its host name or address")]
    user: Annotated[str, help_("Who logs in there; a user with few rights")]
    port: Annotated[int, help_("Of its ssh server", ge=1, le=65535)] = 22
    key_file: Annotated[
        str, help_("The private key; empty: ssh-NAME.key in the folder of secrets")
    ] = ""
    known_hosts: Annotated[
        str, help_("The file with its host key; empty: ssh-NAME.known_hosts beside the key")
    ] = ""
    foreign: Annotated[bool, help_("Others may have written what it says")] = True


class BrowserSection(Section, frozen=True):
    """The Chromium of this machine that the tool browser uses."""

    program: Annotated[
        str, help_("Name or path of the browser; empty: chromium, or what else is found")
    ] = ""
    hosts: Annotated[
        list[str],
        help_("What its pages may reach: names, *.example.com, name:port, or * for all public"),
    ] = msgspec.field(default_factory=lambda: ["*"])
    at_once: Annotated[int, help_("Browsers at once, each for one job", ge=1, le=16)] = 2
    memory_mb: Annotated[int, help_("Memory of one, with all its pages", ge=512)] = 2048
    max_download_mb: Annotated[float, help_("Largest download", gt=0, le=1000)] = 200.0
    wait_s: Annotated[
        float, help_("How long one is kept for a job that waits for your answer", ge=0)
    ] = 1800.0
