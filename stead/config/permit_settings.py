"""Settings of permissions: rules over what the agent does, and how it asks (docs/permissions.md).

Annotations are evaluated here, by Python itself, as in :mod:`stead.config.settings`.
"""

from typing import Annotated, Literal

from stead.config.section import Section, help_


class PermitSection(Section, frozen=True):
    """One rule over calls of tools. Every condition given must hold; a rule that forbids goes
    before one that asks, and that before one that allows."""

    name: Annotated[str, help_("Shown wherever it decided")]
    say: Annotated[
        Literal["allow", "ask", "deny"], help_("Let it be done, ask you first, or never")
    ]
    tools: Annotated[list[str], help_("Names of tools, * for any part of one")] = []
    args: Annotated[
        list[str],
        help_("Arguments as they were read: NAME=PATTERN with *, or NAME~=REGULAR EXPRESSION"),
    ] = []
    commands: Annotated[
        list[str],
        help_("Commands of the shell, word by word: git log *; allowed is one plain command only"),
    ] = []
    paths: Annotated[
        list[str], help_("Files or folders with all below, read or written; links are followed")
    ] = []
    reads: Annotated[list[str], help_("The same, only where they are read")] = []
    writes: Annotated[list[str], help_("The same, only where they are written")] = []
    hosts: Annotated[
        list[str], help_("Names of hosts: example.com, *.example.com for those below it, *")
    ] = []
    credentials: Annotated[list[str], help_("Names of credentials")] = []
    sessions: Annotated[list[str], help_("Conversations, with *")] = []
    persons: Annotated[list[str], help_("Who asked: owner, or a person's name, with *")] = []
    channels: Annotated[
        list[str], help_("By which channel it was asked: cli, api, web, a name")
    ] = []
    lanes: Annotated[list[str], help_("chat or background")] = []
    origin: Annotated[
        list[str],
        help_(
            "What the run has read: foreign, private, or owner (nothing foreign);"
            " what allows holds with foreign text only where it says foreign"
        ),
    ] = []
    why: Annotated[str, help_("Told to you and to the agent")] = ""


class ApprovalsSection(Section, frozen=True):
    expire_h: Annotated[
        float, help_("A question that you do not answer for so long is taken as no", gt=0, le=8760)
    ] = 24.0
