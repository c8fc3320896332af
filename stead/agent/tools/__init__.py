"""The registry of tools: one file each, one line here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stead.agent.tools.archive import ARCHIVE
from stead.agent.tools.ask_owner import ASK_OWNER
from stead.agent.tools.base import Context, Tool, Toolbox
from stead.agent.tools.browser import BROWSER
from stead.agent.tools.clock import CLOCK
from stead.agent.tools.edit_file import EDIT_FILE
from stead.agent.tools.host_facts import HOST_FACTS
from stead.agent.tools.http import HTTP
from stead.agent.tools.image import IMAGE
from stead.agent.tools.list_files import LIST_FILES
from stead.agent.tools.manage_files import MANAGE_FILES
from stead.agent.tools.media import MEDIA
from stead.agent.tools.memory import MEMORY_READ, MEMORY_SEARCH, REMEMBER_TOOL
from stead.agent.tools.message import MESSAGE
from stead.agent.tools.more_tools import with_more
from stead.agent.tools.patch import PATCH
from stead.agent.tools.pdf import PDF
from stead.agent.tools.processes import PROCESSES
from stead.agent.tools.python import PYTHON
from stead.agent.tools.read_file import READ_FILE
from stead.agent.tools.read_output import READ_OUTPUT
from stead.agent.tools.search_files import SEARCH_FILES
from stead.agent.tools.shell import SHELL
from stead.agent.tools.sql import SQL
from stead.agent.tools.sql_change import SQL_CHANGE
from stead.agent.tools.ssh import SSH
from stead.agent.tools.web_fetch import WEB_FETCH
from stead.agent.tools.web_search import WEB_SEARCH
from stead.agent.tools.write_file import WRITE_FILE

#: The order is part of every prompt: add at the end.
TOOLS: tuple[Tool[Any], ...] = (
    HOST_FACTS,
    CLOCK,
    LIST_FILES,
    READ_FILE,
    SEARCH_FILES,
    WRITE_FILE,
    EDIT_FILE,
    SHELL,
    READ_OUTPUT,
    PROCESSES,
    PYTHON,
    PATCH,
    MANAGE_FILES,
    WEB_FETCH,
    WEB_SEARCH,
    HTTP,
    MEDIA,
    IMAGE,
    PDF,
    SQL,
    SQL_CHANGE,
    MESSAGE,
    ASK_OWNER,
    SSH,
    ARCHIVE,
    MEMORY_SEARCH,
    MEMORY_READ,
    REMEMBER_TOOL,
    BROWSER,
)


def toolbox(workspace: Path) -> Toolbox:
    """All tools, working in ``workspace``."""
    return Toolbox(with_more(TOOLS), Context(workspace=workspace))
