"""Every setting, once; the only room that reads the environment.

``load`` reads and checks, ``prepare_home`` makes the home directory, ``edit``
changes one value of stead.toml.
"""

from stead.config.changes import Changes, changes, is_live, leaves, merged
from stead.config.checks import parse_listen
from stead.config.describe import Setting, as_toml, describe, starter
from stead.config.edit import edit, prepare_home, value_of
from stead.config.loading import (
    DEFAULT,
    Loaded,
    child_environment,
    home_dir,
    load,
    load_loosely,
    no_color,
    path_at,
)
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
    Section,
    ServicesSection,
    Settings,
)

__all__ = [
    "DEFAULT",
    "BackendModel",
    "BackendSection",
    "BudgetSection",
    "Changes",
    "ChannelSection",
    "GatewaySection",
    "JudgeSection",
    "LaneSection",
    "LimitsSection",
    "Loaded",
    "LogSection",
    "ModelSection",
    "NodeSection",
    "QueueSection",
    "RouteSection",
    "RuleSection",
    "Section",
    "ServicesSection",
    "Setting",
    "Settings",
    "as_toml",
    "changes",
    "child_environment",
    "describe",
    "edit",
    "home_dir",
    "is_live",
    "leaves",
    "load",
    "load_loosely",
    "merged",
    "no_color",
    "parse_listen",
    "path_at",
    "prepare_home",
    "starter",
    "value_of",
]
