"""The last change of each thing is told to whoever comes back, and who comes too late knows it."""

from __future__ import annotations

import asyncio

from stead.core.news import News


def test_what_changed_since_a_place() -> None:
    """Each thing once, in the order of its last change, of the topics that are asked for."""
    news = News()
    start = news.place
    for ident in ("a", "b", "a"):
        news.touch("job", ident)
    news.touch("node", "n")
    assert news.since(start, ["job"], 9) == (news.place, [("job", "b"), ("job", "a")])
    assert news.since(news.place, ["job", "node"], 9) == (news.place, [])


def test_a_place_grows_with_each_change() -> None:
    """However quickly one follows the other, a look between two tells the later one apart."""
    news, places = News(), []
    for n in range(200):
        places.append(news.place)
        news.touch("job", str(n))
    assert places == sorted(set(places))
    assert news.since(places[199], ["job"], 9)[1] == [("job", "199")]


def test_piece_by_piece() -> None:
    """What is too much at once comes in pieces that leave nothing out."""
    news = News()
    place, seen = news.place, []
    for n in range(25):
        news.touch("job", str(n))
    while True:
        place, some = news.since(place, ["job"], 10)
        if not some:
            break
        assert len(some) <= 10
        seen += [ident for _, ident in some]
    assert seen == [str(n) for n in range(25)]


def test_too_long_ago_is_known_for_it() -> None:
    """Also a place of an earlier or a later process."""
    news = News(most=3)
    start = news.place
    assert news.knows(start)
    for n in range(3):
        news.touch("job", str(n))
    assert news.knows(start) and len(news.since(start, ["job"], 9)[1]) == 3
    kept = news.place
    news.touch("job", "one more")
    assert not news.knows(start) and news.knows(kept)
    assert not news.knows(news.place + 10) and not news.knows(start - 10)


async def test_who_waits_is_woken() -> None:
    """By a change after its place, by the end; else it is told that nothing came."""
    news = News()
    assert not await news.wait(news.place, 0.01)
    waiting = [asyncio.create_task(news.wait(news.place, 60)) for _ in range(3)]
    await asyncio.sleep(0)
    news.touch("job", "a")
    assert await asyncio.gather(*waiting) == [True] * 3
    assert await news.wait(news.place - 1, 60)
    last = asyncio.create_task(news.wait(news.place, 60))
    await asyncio.sleep(0)
    news.close()
    assert await last and news.closed
