"""The chat room: conversations, what is said in them, and the answer as it is written."""

from stead.pages.chat.room import room

__all__ = ["room"]
