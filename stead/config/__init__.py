"""Every setting, once; the only room that reads the environment.

``load`` reads and checks, ``prepare_home`` makes the home directory, ``edit``
changes one value of stead.toml, ``find`` only says where the gateway is.

Each name is loaded at its first use: most commands need but a few of them, and all together
take as long to load as such a command may run.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stead.config.address import (
        Address,
        dumb_terminal,
        editor,
        find,
        home_dir,
        local_url,
        no_color,
        parse_listen,
        path_at,
    )
    from stead.config.description import Setting, as_toml, describe, starter
    from stead.config.differences import Changes, changes, is_live, leaves, merged
    from stead.config.editing import (
        ConfigStale,
        Draft,
        checked_text,
        drafted,
        edit,
        file_text,
        prepare_home,
        value_of,
        write_draft,
    )
    from stead.config.egress_settings import CredentialSection, EgressSection, SearchSection
    from stead.config.hiding import hidden_value, hide
    from stead.config.loading import DEFAULT, Loaded, child_environment, load
    from stead.config.permit_settings import ApprovalsSection, PermitSection
    from stead.config.permits import permit_rule
    from stead.config.section import Section
    from stead.config.settings import (
        BackendModel,
        BackendSection,
        BudgetSection,
        ChannelSection,
        GatewaySection,
        JudgeSection,
        LaneSection,
        LimitsSection,
        LogSection,
        ModelSection,
        NodeSection,
        QueueSection,
        RouteSection,
        RuleSection,
        ServicesSection,
        Settings,
    )

#: In which file each name is; none of these files may be named like one of them.
_NAMES = {
    "address": (
        "Address",
        "dumb_terminal",
        "editor",
        "find",
        "home_dir",
        "local_url",
        "no_color",
        "parse_listen",
        "path_at",
    ),
    "description": ("Setting", "as_toml", "describe", "starter"),
    "differences": ("Changes", "changes", "is_live", "leaves", "merged"),
    "editing": (
        "ConfigStale", "Draft", "checked_text", "drafted", "edit", "file_text",
        "prepare_home", "value_of", "write_draft",
    ),
    "hiding": ("hidden_value", "hide"),
    "egress_settings": ("CredentialSection", "EgressSection", "SearchSection"),
    "permits": ("permit_rule",),
    "permit_settings": ("ApprovalsSection", "PermitSection"),
    "section": ("Section",),
    "loading": ("DEFAULT", "Loaded", "child_environment", "load"),
}  # fmt: skip
_FILES = {name: file for file, names in _NAMES.items() for name in names}

__all__ = [
    "DEFAULT",
    "Address",
    "ApprovalsSection",
    "BackendModel",
    "BackendSection",
    "BudgetSection",
    "Changes",
    "ChannelSection",
    "ConfigStale",
    "CredentialSection",
    "Draft",
    "EgressSection",
    "GatewaySection",
    "JudgeSection",
    "LaneSection",
    "LimitsSection",
    "Loaded",
    "LogSection",
    "ModelSection",
    "NodeSection",
    "PermitSection",
    "QueueSection",
    "RouteSection",
    "RuleSection",
    "SearchSection",
    "Section",
    "ServicesSection",
    "Setting",
    "Settings",
    "as_toml",
    "changes",
    "checked_text",
    "child_environment",
    "describe",
    "drafted",
    "dumb_terminal",
    "edit",
    "editor",
    "file_text",
    "find",
    "hidden_value",
    "hide",
    "home_dir",
    "is_live",
    "leaves",
    "load",
    "local_url",
    "merged",
    "no_color",
    "parse_listen",
    "path_at",
    "permit_rule",
    "prepare_home",
    "starter",
    "value_of",
    "write_draft",
]


if not TYPE_CHECKING:  # type checkers know the names from above, and would believe any by this

    def __getattr__(name):
        """PEP 562: what ``__all__`` names and ``_NAMES`` does not is a table of settings."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        file = import_module(f"{__name__}.{_FILES.get(name, 'settings')}")
        found = globals()[name] = getattr(file, name)
        return found
