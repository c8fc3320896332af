"""Live events: each watcher sees each piece once, wherever it begins; memory is bounded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from stead.core.errors import BadRequest
from stead.core.nouns import Step
from stead.core.place import BEGINNING, Place
from stead.core.states import StepState
from stead.core.wire import Event
from stead.flow import live as live_room
from stead.flow.live import Live, Seen


def tokens(*texts: str, first: int = 1) -> list[Event]:
    return [Event(seq, "token", text) for seq, text in enumerate(texts, first)]


async def texts(live: Live, job: str, after: Place = BEGINNING) -> list[str]:
    """All that a watcher sees until the job's end, adjacent pieces of text joined."""
    found: list[str] = []
    joins = False
    async for seen in live.watch(job, after):
        if seen is not None:
            if joins and seen.type == "token":
                found[-1] += seen.text
            else:
                found.append(seen.text)
            joins = seen.type == "token"
    return found


def told_again(text: str, at: int) -> Event:
    """Text with its place, as a node says it."""
    return Event(0, "token", text, at=at)


async def take(watcher: AsyncIterator[Seen | None], count: int) -> list[Seen]:
    got: list[Seen] = []
    async with asyncio.timeout(60):
        while len(got) < count:
            seen = await anext(watcher)
            if seen is not None:
                got.append(seen)
    return got


def watch(
    live: Live, job: str, after: Place = BEGINNING, beat_s: float = 15.0
) -> AsyncIterator[Seen | None]:
    return aiter(live.watch(job, after, beat_s))


async def test_a_watcher_sees_each_piece_as_it_comes() -> None:
    """What is published is seen at once, in order, until the end."""
    live = Live()
    watcher = watch(live, "j")
    first = asyncio.create_task(take(watcher, 1))
    await asyncio.sleep(0)
    live.publish("j", 1, tokens("a", "b"))
    assert [seen.text for seen in await first] == ["ab"]
    live.publish("j", 1, tokens("c", first=3))
    live.end("j")
    assert [seen.text for seen in await take(watcher, 1)] == ["c"]
    with pytest.raises(StopAsyncIteration):
        await anext(watcher)


async def test_only_what_is_for_people_is_shown() -> None:
    """Tokens, tools and notes are shown; steps and empty texts are not."""
    live = Live()
    step = Step(1, "tool:clock", "h", StepState.DONE)
    live.publish(
        "j", 1,
        [
            Event(1, "step", step=step), Event(2, "token", ""), Event(3, "tool", "looks"),
            Event(4, "note", "waits"), Event(5, "token", "done"), Event(6, "other", "x"),
        ],
    )  # fmt: skip
    live.end("j")
    seen = [one async for one in live.watch("j") if one is not None]
    assert [(one.type, one.text) for one in seen] == [
        ("tool", "looks"), ("note", "waits"), ("token", "done"),
    ]  # fmt: skip


async def test_from_the_middle() -> None:
    """Who comes back with the last id it saw gets what came after it, once."""
    live = Live()
    live.publish("j", 1, tokens("a", "b", "c"))
    (seen,) = await take(watch(live, "j"), 1)
    live.publish("j", 1, [Event(4, "tool", "looks"), *tokens("d", "e", first=5)])
    live.end("j")
    assert (seen.text, str(seen.place)) == ("abc", "1.3")
    assert await texts(live, "j", after=seen.place) == ["looks", "de"]
    assert await texts(live, "j", after=Place(1, 1)) == ["bc", "looks", "de"]
    assert await texts(live, "j") == ["abc", "looks", "de"]
    (_, tool, last) = [one async for one in live.watch("j") if one is not None]
    assert await texts(live, "j", after=tool.place) == ["de"]
    assert Place.parse(str(tool.place)) == tool.place
    assert await texts(live, "j", after=last.place) == []


async def test_two_watchers_do_not_disturb_each_other() -> None:
    """A slow watcher and a quick one both see everything."""
    live = Live()
    quick = asyncio.create_task(texts(live, "j"))

    async def slowly() -> list[str]:
        got = []
        async for seen in live.watch("j"):
            await asyncio.sleep(0.001)
            got.append(seen.text if seen else "")
        return ["".join(got)]

    slow = asyncio.create_task(slowly())
    for n in range(30):
        await asyncio.sleep(0)
        live.publish("j", 1, tokens(str(n), first=n + 1))
    live.end("j")
    assert await quick == await slow == ["".join(str(n) for n in range(30))]


async def test_a_batch_that_comes_twice() -> None:
    """A report that a node sends again shows nothing again, however it overlaps."""
    live = Live()
    live.publish("j", 1, tokens("a", "b"))
    live.publish("j", 1, tokens("a", "b"))
    live.publish("j", 1, tokens("b", "c", first=2))
    live.end("j")
    assert await texts(live, "j") == ["abc"]


async def test_a_new_attempt_begins_anew() -> None:
    """After a reset the answer starts again; late pieces of the old attempt are not shown."""
    live = Live()
    live.publish("j", 1, tokens("old", "er"))
    watcher = watch(live, "j")
    assert [seen.text for seen in await take(watcher, 1)] == ["older"]
    live.reset("j", 1, "starting again")
    live.publish("j", 2, tokens("new"))
    live.publish("j", 1, tokens("late", first=3))
    live.end("j")
    assert [(one.type, one.text) for one in await take(watcher, 2)] == [
        ("reset", "starting again"), ("token", "new"),
    ]  # fmt: skip
    assert await texts(live, "j") == ["new"]
    assert await texts(live, "j", after=Place(1, 2)) == ["starting again", "new"]
    live.reset("nobody", 1, "nothing to start again")
    assert live._feeds == {}


async def test_an_attempt_that_failed_again() -> None:
    """Each new attempt is told of once, with its reason, also if the one before said nothing."""
    live = Live()
    live.publish("j", 1, tokens("old"))
    watcher = watch(live, "j")
    await take(watcher, 1)
    live.reset("j", 1, "first reason")
    assert [one.text for one in await take(watcher, 1)] == ["first reason"]
    live.publish("j", 2, [Event(1, "step", step=Step(1, "model:main", "h", StepState.INTENT))])
    live.reset("j", 2, "second reason")
    live.reset("j", 1, "an old one")
    live.publish("j", 3, tokens("new"))
    live.end("j")
    assert [one.text for one in await take(watcher, 2)] == ["second reason", "new"]


# --- restarts ----------------------------------------------------------------------


async def test_text_is_asked_for_after_a_restart() -> None:
    """A gateway that has restarted does not show text with a gap: it says what it has, is told
    the rest again, and each watcher goes on where it was."""
    before, after = Live(), Live()
    before.publish("j", 1, [told_again("abc", 0), told_again("def", 3)])
    (seen,) = await take(watch(before, "j"), 1)
    assert (seen.text, before.have("j", 1)) == ("abcdef", 6)
    old = watch(after, "j", seen.place)
    new = watch(after, "j")
    early = watch(after, "j", Place(1, 2))
    after.publish("j", 1, [told_again("ghi", 6)])
    assert (after.have("j", 1), after.have("j", 2), after.have("k", 1)) == (0, -1, -1)
    after.publish("j", 1, [told_again("abcdefghi", 0), told_again("ghi", 6), told_again("j", 9)])
    assert after.have("j", 1) == 10
    after.end("j")
    assert [(await take(one, 1))[0].text for one in (old, new, early)] == [
        "ghij", "abcdefghij", "cdefghij",
    ]  # fmt: skip
    assert after.have("j", 1) == -1


async def test_another_attempt_after_a_restart() -> None:
    """Who saw text of an attempt that is void now is told so once; who saw none is not."""
    live = Live()
    live.reached("j", 2)
    live.reached("j", 1)
    old, none = watch(live, "j", Place(1, 57)), watch(live, "j", Place(1, 0))
    live.publish("j", 2, [told_again("new", 0)])
    live.end("j")
    assert [(one.type, one.text) for one in await take(old, 2)] == [
        ("reset", "the answer begins anew"), ("token", "new"),
    ]  # fmt: skip
    assert [one.text for one in await take(none, 1)] == ["new"]


async def test_a_watcher_that_is_ahead() -> None:
    """A gateway that has not heard of an attempt yet shows nothing of the one before it."""
    live = Live()
    live.publish("j", 1, tokens("old"))
    ahead = watch(live, "j", Place(2, 1))
    live.publish("j", 2, [told_again("new", 0)])
    live.end("j")
    assert [one.text for one in await take(ahead, 1)] == ["ew"]


@pytest.mark.parametrize(
    "text", ["x", "1", "1.", ".5", "1.2.3.4", "-1.5", "1.5 ", "१.५x", "1" * 40]
)
def test_no_place(text: str) -> None:
    """What is no event's id is refused in words; nothing is the beginning."""
    with pytest.raises(BadRequest, match="Last-Event-ID"):
        Place.parse(text)
    assert Place.parse("") == Place.parse(None) == BEGINNING


async def test_signs_of_life() -> None:
    """While nothing happens a watcher gets a sign of life now and then."""
    live = Live()
    watcher = watch(live, "j", beat_s=0.005)
    assert [await anext(watcher), await anext(watcher)] == [None, None]
    live.publish("j", 1, tokens("a"))
    assert [seen.text for seen in await take(watcher, 1)] == ["a"]


async def test_a_job_that_is_over_is_not_waited_for() -> None:
    """Who asks for a job that has just ended is let go at once, however many ended since."""
    live = Live()
    for n in range(1000):
        live.end(f"j{n}")
    async with asyncio.timeout(1):
        assert await texts(live, "j0") == await texts(live, "j999") == []


async def test_a_job_that_goes_on() -> None:
    """A waiting job that was answered, or a dead one that was revived, is shown again."""
    live = Live()
    live.publish("j", 1, tokens("Shall I?"))
    live.end("j")
    live.again("j")
    live.publish("j", 2, tokens("Done."))
    live.end("j")
    assert await texts(live, "j") == ["Done."]
    assert await texts(live, "j", after=Place(1, 8)) == ["the answer begins anew", "Done."]
    live.again("never seen")
    live.note("never seen", "it goes on")
    live.end("never seen")
    assert await texts(live, "never seen") == ["it goes on"]


async def test_a_stop_lets_every_watcher_go() -> None:
    """At the gateway's stop nobody is left waiting for the end of a job."""
    live = Live()
    tasks = [asyncio.create_task(texts(live, f"j{n % 2}")) for n in range(4)]
    await asyncio.sleep(0)
    live.close()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 60) == [[], [], [], []]


# --- memory ----------------------------------------------------------------------


async def test_one_job_keeps_a_bounded_text() -> None:
    """A flood of text lets go of the oldest. Who is within what is kept sees the rest without a
    gap; who is behind it sees no more, and gets the rest from the record at the end."""
    live = Live()
    for n in range(30_000):
        live.publish("j", 1, tokens(f"{n:049} ", first=n + 1))
    feed = live._feeds["j"]
    assert len(feed.events) < 2_000 and feed.chars <= live_room._KEEP_CHARS
    assert live.have("j", 1) == 1_500_000
    live.end("j")
    assert await texts(live, "j") == []
    assert await texts(live, "j", after=Place(1, feed.base - 1)) == []
    for begin in (feed.base, feed.base + 5, 1_499_950):
        (text,) = await texts(live, "j", after=Place(1, begin))
        assert len(text) == 1_500_000 - begin and text.endswith(f"{29_999:049} ")


async def test_one_huge_piece_is_kept() -> None:
    """A single piece longer than all that is kept is still shown."""
    live = Live()
    live.publish("j", 1, tokens("x" * 3_000_000))
    live.end("j")
    assert [len(text) for text in await texts(live, "j")] == [3_000_000]


async def test_ended_jobs_are_let_go() -> None:
    """However many jobs come and go, only the last few keep their events, and only names of the
    rest, of which there is an end too."""
    live = Live()
    for n in range(live_room._KEEP_NAMES + 500):
        live.publish(f"j{n}", 1, tokens("text"))
        live.end(f"j{n}")
    assert len(live._ended) == live_room._KEEP_ENDED
    assert len(live._over) == live_room._KEEP_NAMES
    assert live._feeds == {}


async def test_watching_leaves_nothing_behind() -> None:
    """A watcher of a job of which nothing is known takes no memory when it goes."""
    live = Live()
    watcher = live.watch("nobody", beat_s=0.001)
    assert await anext(watcher) is None
    assert "nobody" in live._feeds
    await watcher.aclose()  # type: ignore[attr-defined]
    assert live._feeds == {}


async def test_what_comes_after_the_end_is_dropped() -> None:
    """A piece or a note that comes too late brings no job back to memory."""
    live = Live()
    live.publish("j", 1, tokens("a"))
    live.end("j")
    live.publish("j", 1, tokens("b", first=2))
    live.note("j", "late")
    live.reset("j", 1, "late")
    live.reached("j", 2)
    live.end("j")
    assert live._feeds == {} and await texts(live, "j") == ["a"]


async def test_following_a_long_answer_costs_little() -> None:
    """Each new piece is found without looking through all those before it."""
    live = Live()
    watcher = watch(live, "j")
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    live.publish("j", 1, tokens(*("t" for _ in range(5_000))))
    seen = 0
    while seen < 5_000:
        seen += len((await take(watcher, 1))[0].text)
    sys.setprofile(count)
    try:
        for n in range(200):
            live.publish("j", 1, tokens("t", first=5_001 + n))
            await take(watcher, 1)
    finally:
        sys.setprofile(None)
    assert calls < 200 * 150


async def test_an_answer_whose_beginning_is_missing_is_not_shown_from_its_middle() -> None:
    """A gateway that was started in mid-answer passes on no tail of it; the whole comes when it is
    said again, or at the end. What is said beside the text is shown, and so is the next attempt."""
    live = Live()
    live.publish("j", 1, [told_again("ver window", 7), Event(8, "note", "still here")])
    live.publish("j", 1, [told_again(" and more", 17)])
    live.publish("j", 2, [told_again("The river", 0)])
    live.end("j")
    assert await texts(live, "j") == ["The river"]
    live = Live()
    live.publish("j", 1, [told_again("ver window", 7), Event(8, "note", "still here")])
    live.end("j")
    assert await texts(live, "j") == ["still here"]


async def test_a_watcher_that_leaves_before_the_first_word_does_not_keep_it_from_others() -> None:
    """Steps come before the text and are shown to nobody; who comes and goes meanwhile leaves the
    text whole for the next."""
    live = Live()
    step = Step(1, "model:main", "h", StepState.INTENT)
    live.publish("j", 1, [Event(1, "step", step=step)])
    watcher = watch(live, "j", beat_s=0.01)
    assert await anext(watcher) is None
    await watcher.aclose()  # type: ignore[attr-defined]
    live.publish("j", 1, [told_again("whole", 0)])
    live.end("j")
    assert await texts(live, "j") == ["whole"]
