"""The usage in answers of each API, and what it is called in the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stead.core.nouns import Usage


@dataclass(slots=True)
class Tokens:
    """What was used, as any of the APIs tells it. ``prompt`` includes cached and written."""

    prompt: int = 0
    cached: int = 0
    """Read from the backend's cache."""
    written: int = 0
    """Written to it."""
    completion: int = 0
    """Includes reasoning."""
    reasoning: int = 0

    def usage(self) -> Usage:
        """As the ledger takes it."""
        return Usage(
            prompt_tokens=self.prompt,
            cached_tokens=self.cached,
            completion_tokens=self.completion,
        )

    def chat(self) -> dict[str, Any]:
        """As chat/completions has it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {
                "cached_tokens": self.cached,
                "cache_write_tokens": self.written,
            },
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }

    def messages(self) -> dict[str, Any]:
        """As Anthropic's messages have it: the three kinds of input stand side by side."""
        told: dict[str, Any] = {
            "input_tokens": max(0, self.prompt - self.cached - self.written),
            "cache_creation_input_tokens": self.written,
            "cache_read_input_tokens": self.cached,
            "output_tokens": self.completion,
        }
        if self.reasoning:
            told["output_tokens_details"] = {"thinking_tokens": self.reasoning}
        return told

    def responses(self) -> dict[str, Any]:
        """As the Responses API has it."""
        return {
            "input_tokens": self.prompt,
            "input_tokens_details": {
                "cached_tokens": self.cached,
                "cache_write_tokens": self.written,
            },
            "output_tokens": self.completion,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.prompt + self.completion,
        }


def of_chat(told: Any) -> Tokens | None:
    """Of a chat or legacy completion; None if that is no usage."""
    if not isinstance(told, dict):
        return None
    details = told.get("prompt_tokens_details")
    out = told.get("completion_tokens_details")
    return Tokens(
        prompt=_count(told, "prompt_tokens"),
        cached=_count(details, "cached_tokens"),
        written=_count(details, "cache_write_tokens"),
        completion=_count(told, "completion_tokens"),
        reasoning=_count(out, "reasoning_tokens"),
    )


def of_messages(told: Any) -> Tokens | None:
    """Of an Anthropic message."""
    if not isinstance(told, dict):
        return None
    cached = _count(told, "cache_read_input_tokens")
    written = _count(told, "cache_creation_input_tokens")
    return Tokens(
        prompt=_count(told, "input_tokens") + cached + written,
        cached=cached,
        written=written,
        completion=_count(told, "output_tokens"),
        reasoning=_count(told.get("output_tokens_details"), "thinking_tokens"),
    )


def of_responses(told: Any) -> Tokens | None:
    """Of a response."""
    if not isinstance(told, dict):
        return None
    details = told.get("input_tokens_details")
    return Tokens(
        prompt=_count(told, "input_tokens"),
        cached=_count(details, "cached_tokens"),
        written=_count(details, "cache_write_tokens"),
        completion=_count(told, "output_tokens"),
        reasoning=_count(told.get("output_tokens_details"), "reasoning_tokens"),
    )


def _count(told: Any, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
        return int(value)
    return 0
