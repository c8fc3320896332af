"""The request every conversation begins with, to be read once before anyone asks."""

from __future__ import annotations

from stead.agent import prompt
from stead.agent.choose import choose
from stead.agent.tools.base import Toolbox
from stead.core.nouns import ModelProfile, Turn
from stead.core.ports import ModelRequest


def opening(profile: ModelProfile, role: str, tools: Toolbox) -> ModelRequest:
    """A first turn that asks for one token: it fills the runtime's prompt cache with the
    beginning that all turns of this role share."""
    way = choose(profile, role, tools)
    return ModelRequest(
        model=profile.name,
        messages=way.opening(prompt.conversation([], Turn("user", "ping"), "")),
        tools=way.tools(final=False),
        schema=way.schema(final=False),
        max_tokens=1,
        temperature=way.temperature,
    )
