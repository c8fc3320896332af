"""Rules in words, for the owner."""

from __future__ import annotations

from stead.core.permits import PermitRule

_SAY = {"allow": "allows", "ask": "asks about", "deny": "forbids"}
_PARTS = (
    ("args", "with {}"), ("commands", "for the commands {}"), ("paths", "in {}"),
    ("reads", "reading {}"), ("writes", "writing {}"), ("hosts", "reaching {}"),
    ("credentials", "with the credentials {}"), ("sessions", "in the conversations {}"),
    ("persons", "asked for by {}"), ("channels", "by the channels {}"), ("lanes", "in the lane {}"),
)  # fmt: skip


def rule_words(rule: PermitRule) -> str:
    """``allows shell for the commands git log *; also when foreign text was read``."""
    if rule.scope:
        return f"allows {', '.join(rule.tools)}, as you said “always”"
    parts = [f"{_SAY[rule.say]} {' or '.join(rule.tools) or 'every tool'}"]
    parts += [
        words.format(" or ".join(values))
        for name, words in _PARTS
        if (values := getattr(rule, name))
    ]
    return " ".join(parts) + _origin(rule)


def _origin(rule: PermitRule) -> str:
    read = {*rule.origin}
    if rule.say == "allow":
        if {"foreign", "private"} <= read:
            return "; also when both private data and foreign text were read"
        return "; also when foreign text was read" if "foreign" in read else ""
    told = {"foreign": "foreign text", "private": "private data"}
    words = " and ".join(told[one] for one in ("foreign", "private") if one in read)
    if words:
        return f"; once {words} was read"
    return "; as long as nothing foreign was read" if "owner" in read else ""
