"""The page as a browser gets it for the first time: bytes over the wire, requests, milliseconds."""

from __future__ import annotations

from statistics import median
from typing import Any

from bench.figures import Figure, Place, of_runs
from bench.house import house
from tests.story.browser import Screen, chromium

RUNS = 5
#: Of issue 7: the first load of a page.
AIM_KB, AIM_MS = 100.0, 300.0
_TIMES = "() => { const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd }"


def run(place: Place) -> list[Figure]:
    """Each room of the navigation in a browser that has never been here, ``RUNS`` times.

    KB are 1,000 bytes as they came over the wire, heads and all (CDP ``Network.loadingFinished``);
    the time is until the browser's load event. The heaviest room counts.
    """
    figures: list[Figure] = []
    with house(place) as stead:
        stead.gateway_up()
        with chromium(stead) as screen:
            first = screen.page("/")
            rooms = first.eval_on_selector_all(
                ".rail a:not(.brand)", "all => all.map((one) => one.getAttribute('href'))"
            )
            loads = {path: [_load(screen, path) for _ in range(RUNS)] for path in rooms}
    heaviest = max(loads, key=lambda path: median(one[0] for one in loads[path]))
    slowest = max(loads, key=lambda path: median(one[2] for one in loads[path]))
    most = median(one[1] for one in loads[heaviest])
    figures.append(
        of_runs(
            f"first load of the heaviest room ({heaviest})",
            [one[0] for one in loads[heaviest]],
            "KB",
            aim=AIM_KB,
            beside=f"{most:.0f} requests, {len(rooms)} rooms",
        )
    )
    figures.append(
        of_runs(
            f"first load of the slowest room ({slowest})",
            [one[2] for one in loads[slowest]],
            "ms",
            aim=AIM_MS,
        )
    )
    return figures


def _load(screen: Screen, path: str) -> tuple[float, int, float]:
    """KB, requests and milliseconds of one first load."""
    context = screen.context()
    page = context.new_page()
    devtools: Any = context.new_cdp_session(page)
    sizes: list[float] = []
    devtools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    devtools.send("Network.enable")
    page.goto(path, wait_until="load")
    took = float(page.evaluate(_TIMES))
    context.close()
    return sum(sizes) / 1000, len(sizes), took
