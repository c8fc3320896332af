"""What a browser is, in words: ``Firefox on Linux``."""

from __future__ import annotations

import re

#: In the order of looking: most browsers say that they are others too.
_BROWSERS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("Chrom", "Chrome"),
    ("Safari", "Safari"), ("Lynx", "Lynx"), ("w3m", "w3m"), ("curl", "curl"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
    ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"), ("Linux", "Linux"), ("BSD", "BSD"),
)  # fmt: skip


def in_words(agent: str) -> str:
    """Of the header ``User-Agent``, which may be anything."""
    browser = next((name for sign, name in _BROWSERS if sign in agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    if browser and system:
        return f"{browser} on {system}"
    known = browser or system
    if known:
        return known
    plain = re.sub(r"[^\x20-\x7e]+", " ", agent).strip()[:40]
    return plain or "a browser that does not say its name"
