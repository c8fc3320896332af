"""The usage in answers of each API, and what it is called in the others."""

from __future__ import annotations

from typing import Any

from stead.core.nouns import Usage


def as_chat(used: Usage) -> dict[str, Any]:
    """As chat/completions has it."""
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.tokens,
        "prompt_tokens_details": {
            "cached_tokens": used.cached_tokens,
            "cache_write_tokens": used.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
    }


def as_messages(used: Usage) -> dict[str, Any]:
    """As Anthropic's messages have it: the three kinds of input stand side by side."""
    plain = used.prompt_tokens - used.cached_tokens - used.cache_write_tokens
    told: dict[str, Any] = {
        "input_tokens": max(0, plain),
        "cache_creation_input_tokens": used.cache_write_tokens,
        "cache_read_input_tokens": used.cached_tokens,
        "output_tokens": used.completion_tokens,
    }
    if used.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": used.reasoning_tokens}
    return told


def as_responses(used: Usage) -> dict[str, Any]:
    """As the Responses API has it."""
    return {
        "input_tokens": used.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": used.cached_tokens,
            "cache_write_tokens": used.cache_write_tokens,
        },
        "output_tokens": used.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
        "total_tokens": used.tokens,
    }


def of_chat(told: Any) -> Usage | None:
    """Of a chat or legacy completion; None if that is no usage."""
    if not isinstance(told, dict):
        return None
    details = told.get("prompt_tokens_details")
    out = told.get("completion_tokens_details")
    return Usage(
        prompt_tokens=_count(told, "prompt_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
        cache_write_tokens=_count(details, "cache_write_tokens"),
        completion_tokens=_count(told, "completion_tokens"),
        reasoning_tokens=_count(out, "reasoning_tokens"),
    )


def of_messages(told: Any) -> Usage | None:
    """Of an Anthropic message."""
    if not isinstance(told, dict):
        return None
    cached = _count(told, "cache_read_input_tokens")
    written = _count(told, "cache_creation_input_tokens")
    return Usage(
        prompt_tokens=_count(told, "input_tokens") + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
        completion_tokens=_count(told, "output_tokens"),
        reasoning_tokens=_count(told.get("output_tokens_details"), "thinking_tokens"),
    )


def _count(told: Any, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
        return int(value)
    return 0
