"""What decides about a step's outcome, as hashes; and what of it has changed since, in words.

A resumed job may meet another model, another prompt or another version of a tool: on a second
node, or after an upgrade. The journal keeps one hash for each part of a step's input, so that the
owner can be told what is different, and not only that something is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from stead.core.nouns import Step

GONE = "gone"
"""Stands for the fingerprint of a tool that is not there."""

_WORDS = {
    "model": "the model",
    "messages": "what it is told (prompt, history or results)",
    "tools": "the tools it is offered",
    "schema": "the tools it is offered",
    "max_tokens": "the limits of its answer",
    "temperature": "the limits of its answer",
    "tool": "the tool (its version, its arguments' schema or its rule)",
    "args": "its arguments",
}


def input_hash(value: object) -> str:
    """SHA-256 of canonical JSON (UTF-8, sorted keys, no spaces)."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def digest(inputs: Mapping[str, object]) -> tuple[str, str]:
    """One hash for all, and ``name=hash name=hash ...`` with the first 12 digits of each part's."""
    hashes = {name: input_hash(value) for name, value in inputs.items()}
    parts = " ".join(f"{name}={value[:12]}" for name, value in hashes.items())
    return input_hash(hashes), parts


def differences(past: Step, now: Step) -> str:
    """What has changed between two journal entries of one step, in words; empty: nothing."""
    if past.input_hash == now.input_hash:
        return ""
    before, after = _parts(past), _parts(now)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if "tool" in names and after.get("tool") == input_hash(GONE)[:12]:
        return "the tool is not there any more"
    words = dict.fromkeys(_WORDS.get(name, name) for name in names)
    return ", ".join(words) or "its input"


def _parts(step: Step) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in step.parts.split())
