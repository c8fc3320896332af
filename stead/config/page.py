"""Checks of the settings of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stead.config.page_settings import PageSection

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*)(?::(\d{1,5}))?")


def check_page(page: PageSection) -> Iterator[tuple[str, str]]:
    """What browsers write as an origin (RFC 6454, section 6.1), and nothing else."""
    for index, origin in enumerate(page.origins):
        path = f"page.origins[{index}]"
        found = _ORIGIN.fullmatch(origin)
        if found is None:
            yield path, f"{origin!r} is not https://NAME or http://NAME:PORT, in lower case"
        elif found[3] and not 1 <= int(found[3]) <= 65535:
            yield path, f"{origin!r} has no port that can be"
        elif found[3] and int(found[3]) == (443 if origin.startswith("https") else 80):
            yield path, f"{origin!r}: browsers leave that port out; so must you"
